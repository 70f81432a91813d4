import type { FastifyInstance, FastifyRequest } from 'fastify'
import { now } from '../clock.ts'
import type { OpenStream } from '../server/sse-server.ts'
import type { Stats } from '../metrics/statistics.ts'
import { cut, type ChannelRow, type StreamRow, type Totals } from './report.ts'

/** A stream with what one look alone does not tell. */
export interface CountedStream {
  readonly stream: OpenStream
  readonly id: number
  /** When it opened, in milliseconds since 1970. */
  readonly since: number
  readonly eventRate: number
  readonly byteRate: number
  /** Of all its channels. */
  readonly lag: number
}

/** What one look found. */
export interface Sample {
  readonly at: number
  readonly totals: Totals
  readonly streams: readonly CountedStream[]
  readonly channels: readonly ChannelRow[]
}

/** What is known of a stream between two looks. */
interface Known { readonly id: number, readonly since: number, events: number, bytes: number, at: number }

/** Looks at all that is open, and compares it with the look before: what is a rate is one over the time between them. */
export class Sampler {
  readonly #sse: Pick<FastifyInstance['sse'], 'stats' | 'streams'>
  readonly #watching: (channel: string) => number
  /** By request, which is the stream's alone: `request.id` may be what a client sent, or begin anew. */
  readonly #known = new WeakMap<FastifyRequest, Known>()
  #ids = 0
  #before: Stats | undefined
  #lookedAt = now()

  /** `watching`: how many of a channel's subscribers are our own. */
  constructor (sse: Pick<FastifyInstance['sse'], 'stats' | 'streams'>, watching: (channel: string) => number) {
    this.#sse = sse
    this.#watching = watching
  }

  sample (): Sample {
    const at = now()
    const passed = Math.max(1, at - this.#lookedAt) / 1_000
    const stats = this.#sse.stats()
    const before = this.#before ?? stats
    this.#before = stats
    this.#lookedAt = at
    return {
      at: Date.now(),
      totals: totalsOf(stats, before, passed),
      streams: this.#sse.streams().map(stream => this.#count(stream, at)),
      channels: Object.entries(stats.channels).map(([id, { subscribers, lagging, newest }]) => {
        const others = subscribers - this.#watching(id)
        // A channel that is new here has no rate as yet: its log may be older than this process.
        const grown = newest - (before.channels[id]?.newest ?? newest)
        return { id, subscribers: others, lagging: Math.min(lagging, others), newest, rate: rounded(Math.max(0, grown) / passed) }
      })
    }
  }

  /** The open stream of that number. */
  find (id: number): OpenStream | undefined {
    return this.#sse.streams().find(({ request }) => this.#known.get(request)?.id === id)
  }

  #count (stream: OpenStream, at: number): CountedStream {
    const { request, age, events, bytes, channels } = stream
    let known = this.#known.get(request)
    if (known === undefined) {
      known = { id: ++this.#ids, since: Math.round(Date.now() - age), events: 0, bytes: 0, at: at - age }
      this.#known.set(request, known)
    }
    const passed = Math.max(1, at - known.at) / 1_000
    const [eventRate, byteRate] = [rounded((events - known.events) / passed), rounded((bytes - known.bytes) / passed)]
    Object.assign(known, { events, bytes, at })
    const lag = channels.reduce((sum, place) => sum + place.lag, 0)
    return { stream, id: known.id, since: known.since, eventRate, byteRate, lag }
  }
}

export function rowOf ({ stream, ...counted }: CountedStream): StreamRow {
  const { request, route, key, events, bytes, stalled, channels } = stream
  return {
    ...counted,
    route,
    path: cut(pathOf(request)),
    key: key === undefined ? null : cut(key),
    // Undefined when its socket is gone, whatever the type says.
    ip: (request.ip as string | undefined) ?? null,
    events,
    bytes,
    stalled,
    channels: cut(channels.map(({ channel }) => channel).join(', '))
  }
}

/** Without its query, which may hold a token. */
export function pathOf (request: FastifyRequest): string {
  return request.url.replace(/\?.*$/s, '')
}

function totalsOf (stats: Stats, before: Stats, passed: number): Totals {
  const { streams: { open, stalled, opened, events, bytes, closed }, rejected, published, dropped, gaps, resets, latency: { buckets } } = stats
  const rate = (count: number, earlier: number): number => rounded((count - earlier) / passed)
  return {
    open,
    stalled,
    opened,
    events,
    eventRate: rate(events, before.streams.events),
    bytes,
    byteRate: rate(bytes, before.streams.bytes),
    published,
    publishRate: rate(published, before.published),
    dropped,
    gaps,
    resets,
    closed,
    rejected,
    latency: {
      bounds: buckets.slice(0, -1).map(({ le }) => le),
      counts: buckets.map(({ count }, index) => count - (buckets[index - 1]?.count ?? 0))
    }
  }
}

/** To a tenth: what does not change to the eye is not told again. */
const rounded = (rate: number): number => Math.round(rate * 10) / 10
