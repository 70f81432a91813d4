import type { FastifyInstance, FastifyRequest } from 'fastify'
import { now } from '../clock.ts'
import type { OpenStream } from '../server/sse-server.ts'
import type { Stats } from '../metrics/statistics.ts'
import { truncate, type ChannelRow, type StreamRow, type Totals } from './report.ts'

/** A stream, with the figures that need two samples. */
export interface SampledStream {
  readonly stream: OpenStream
  readonly id: number
  /** The time when it opened, in milliseconds since 1970. */
  readonly since: number
  readonly eventRate: number
  readonly byteRate: number
  /** The sum over its channels. */
  readonly lag: number
}

/** The streams, channels and totals at one time. */
export interface Sample {
  readonly at: number
  readonly totals: Totals
  readonly streams: readonly SampledStream[]
  readonly channels: readonly ChannelRow[]
}

/** The figures of a stream in the sample before. */
interface LastFigures { readonly id: number, readonly since: number, events: number, bytes: number, at: number }

/** Samples a registration, and computes rates over the time since the sample before. */
export class Sampler {
  readonly #sse: Pick<FastifyInstance['sse'], 'stats' | 'streams' | 'channels'>
  readonly #ownSubscribers: (channel: string) => number
  /** Figures by request object, which belongs to one stream. `request.id` may be chosen by a client, or repeat. */
  readonly #lastFigures = new WeakMap<FastifyRequest, LastFigures>()
  #lastId = 0
  #lastStats: Stats | undefined
  #lastOffsets: ReadonlyMap<string, number> | undefined
  #lastAt = now()

  /** `ownSubscribers`: the number of a channel's subscribers that belong to the inspector. */
  constructor (
    sse: Pick<FastifyInstance['sse'], 'stats' | 'streams' | 'channels'>,
    ownSubscribers: (channel: string) => number
  ) {
    this.#sse = sse
    this.#ownSubscribers = ownSubscribers
  }

  sample (): Sample {
    const at = now()
    const seconds = Math.max(1, at - this.#lastAt) / 1_000
    const stats = this.#sse.stats()
    const before = this.#lastStats ?? stats
    const channels = this.#sse.channels()
    const offsets = this.#lastOffsets
    this.#lastStats = stats
    this.#lastOffsets = new Map(channels.map(({ name, newest }) => [name, newest]))
    this.#lastAt = at
    return {
      at: Date.now(),
      totals: totalsOf(stats, before, seconds),
      streams: this.#sse.streams().map(stream => this.#sampleStream(stream, at)),
      channels: channels.map(({ name: id, subscribers, lagging, newest }) => {
        const others = subscribers - this.#ownSubscribers(id)
        // A channel that is new here has no rate yet: its log may be older than this process.
        const published = newest - (offsets?.get(id) ?? newest)
        return {
          id,
          subscribers: others,
          lagging: Math.min(lagging, others),
          newest,
          rate: toTenth(Math.max(0, published) / seconds)
        }
      })
    }
  }

  /** Returns the open stream with this id. */
  find (id: number): OpenStream | undefined {
    return this.#sse.streams().find(({ request }) => this.#lastFigures.get(request)?.id === id)
  }

  #sampleStream (stream: OpenStream, at: number): SampledStream {
    const { request, age, events, bytes, channels } = stream
    let last = this.#lastFigures.get(request)
    if (last === undefined) {
      last = { id: ++this.#lastId, since: Math.round(Date.now() - age), events: 0, bytes: 0, at: at - age }
      this.#lastFigures.set(request, last)
    }
    const seconds = Math.max(1, at - last.at) / 1_000
    const [eventRate, byteRate] = [toTenth((events - last.events) / seconds), toTenth((bytes - last.bytes) / seconds)]
    Object.assign(last, { events, bytes, at })
    const lag = channels.reduce((sum, channel) => sum + channel.lag, 0)
    return { stream, id: last.id, since: last.since, eventRate, byteRate, lag }
  }
}

export function streamRow ({ stream, ...figures }: SampledStream): StreamRow {
  const { request, route, key, events, bytes, stalled, channels } = stream
  return {
    ...figures,
    route,
    path: truncate(pathOf(request)),
    key: key === undefined ? null : truncate(key),
    // Undefined once the socket is destroyed, despite its type.
    ip: (request.ip as string | undefined) ?? null,
    events,
    bytes,
    stalled,
    channels: truncate(channels.map(({ channel }) => channel).join(', '))
  }
}

/** Returns the path without the query, which may contain a token. */
export function pathOf (request: FastifyRequest): string {
  return request.url.replace(/\?.*$/s, '')
}

function totalsOf (stats: Stats, before: Stats, seconds: number): Totals {
  const {
    streams: { open, stalled, opened, events, bytes, closed }, rejected, published, dropped, gaps, resets,
    latency: { buckets }
  } = stats
  const rate = (count: number, earlier: number): number => toTenth((count - earlier) / seconds)
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

/** Rounds to a tenth. A row that then has not changed visibly is not sent again. */
const toTenth = (rate: number): number => Math.round(rate * 10) / 10
