import type { Chunk } from './chunk.ts'
import { decodeCursor, encodeCursor, MAX_CHANNELS, type Cursor } from './cursor.ts'
import { encodeControl } from '../encode.ts'
import { FST_SSE_CHANNEL_EVENTS, FST_SSE_CHANNELS } from '../errors.ts'
import type { Contract } from '../events.ts'
import type { Feed } from './feed.ts'
import { Follower } from './follower.ts'
import type { Opening } from './opening.ts'
import type { Party } from './party.ts'
import { placed, type Selection } from './selection.ts'
import { kSubscribed, type Driver, type Followable } from '../source.ts'

/** One channel of a subscriber. */
export interface Subscribed {
  readonly feed: Feed
  readonly selection: Selection
  /** Where to begin when the client brings no position. */
  readonly after: string | undefined
  readonly signal: AbortSignal | undefined
}

/** Who takes the events: a stream, or a loop in this process. */
export interface Outlet {
  wants: () => boolean
  take: (event: unknown) => void
  /** Frames as they are, of so many events. Who has no use for them takes events. */
  write?: (frames: string | Chunk, events: number) => void
  /** There is nothing to come at all. */
  nothing: () => void
  ended: () => void
  lagging: (channel: string) => void
  /** The subscriber's own signal aborted, or the channel is closed. */
  done: () => void
  failed: (error: unknown) => void
}

/**
 * A subscriber of one channel or of several: its followers, and the one id that says where it stands in all of them.
 * Each channel keeps its order; between them there is none.
 */
export class Following implements Party<Follower>, Driver {
  readonly alone: boolean
  readonly write: ((frames: string | Chunk, events: number) => void) | undefined
  readonly #outlet: Outlet
  readonly #subscribed: readonly Subscribed[]
  readonly #followers: Follower[]
  readonly #running: Set<Follower>
  #begun = false
  #stopped = false

  /** Throws FST_SSE_CHANNELS: positions of one channel twice, or of very many, do not fit into one id. */
  constructor (subscribed: readonly Subscribed[], outlet: Outlet) {
    const feeds = new Set(subscribed.map(({ feed }) => feed))
    if (feeds.size > MAX_CHANNELS) throw new FST_SSE_CHANNELS(MAX_CHANNELS, feeds.size)
    if (feeds.size < subscribed.length) throw new FST_SSE_CHANNELS(MAX_CHANNELS, 'one of them twice')
    this.alone = subscribed.length === 1
    this.#outlet = outlet
    this.write = outlet.write?.bind(outlet)
    this.#subscribed = subscribed
    this.#followers = subscribed.map(({ feed, selection }) => new Follower(feed, selection, this))
    this.#running = new Set(this.#followers)
  }

  /** Whether its openings are out: a channel may be over. */
  get decided (): boolean { return this.#begun }

  /** Where it stands, once it has told the client. */
  get lastEventId (): string | undefined { return this.#begun ? this.id() : undefined }

  start (lastEventId: string | undefined): void {
    for (const { signal } of this.#subscribed) {
      if (signal?.aborted === true) {
        this.close()
        return
      }
      signal?.addEventListener('abort', this.close, { once: true })
    }
    const openings = this.#followers.map((follower, index) => begin(follower, cursorOf(lastEventId || this.#subscribed[index]!.after)))
    if (openings.some(opening => opening instanceof Promise)) Promise.all(openings).then(this.#open).catch(this.failed)
    else this.#open(openings as Opening[])
  }

  pull (): void {
    if (!this.#begun) return
    // Another one first each time: there may be room for one only.
    const [first] = this.#running
    if (first !== undefined && this.#running.delete(first)) this.#running.add(first)
    for (const follower of [...this.#running]) follower.pull()
  }

  /** An event that its map made, or its snapshot, is no good. */
  refuse (error: Error): void {
    this.failed(error)
  }

  stop (): void {
    if (this.#stopped) return
    this.#stopped = true
    for (const { signal } of this.#subscribed) signal?.removeEventListener('abort', this.close)
    for (const follower of this.#followers) follower.stop()
  }

  /** A frame with the position, when it is beyond what the client knows of; else nothing. */
  checkpoint (): string {
    if (!this.#followers.some(follower => follower.skipped > 0)) return ''
    for (const follower of this.#followers) follower.skipped = 0
    return encodeControl({ id: this.id() })
  }

  id (): string {
    const [first] = this.#followers
    if (this.alone) return `${first!.epoch}-${first!.position}`
    return encodeCursor(this.#followers.map(({ epoch, position }) => [epoch, position]))
  }

  label<D extends object> ({ feed }: Follower, data: D): D & { channel?: string } {
    return this.alone ? data : { ...data, channel: feed.settings.name }
  }

  wants (): boolean {
    return this.#outlet.wants()
  }

  take (event: unknown): void {
    if (!this.#stopped) this.#outlet.take(event)
  }

  announce (follower: Follower, opening: Opening): void {
    this.#say([follower], [opening])
  }

  lagging (channel: string): void {
    this.stop()
    this.#outlet.lagging(channel)
  }

  ended (follower: Follower): void {
    this.#running.delete(follower)
    if (this.#running.size > 0) return
    this.stop()
    this.#outlet.ended()
  }

  failed = (error: unknown): void => {
    if (this.#stopped) return
    this.stop()
    this.#outlet.failed(error)
  }

  readonly close = (): void => {
    this.stop()
    this.#outlet.done()
  }

  readonly #open = (openings: Opening[]): void => {
    if (this.#stopped) return
    if (openings.every(opening => opening.over)) {
      this.stop()
      this.#outlet.nothing()
      return
    }
    this.#say(this.#followers, openings)
    this.#begun = true
    for (const follower of this.#followers) follower.proceed()
  }

  /** What comes before the logs. Only the last of it carries the position: who does not get it all begins again. */
  #say (followers: readonly Follower[], openings: readonly Opening[]): void {
    const events: unknown[] = openings.flatMap(({ notice, snapshot }, index) => [
      ...(notice === undefined ? [] : [{ ...notice, data: this.label(followers[index]!, notice.data) }]),
      ...snapshot
    ])
    const last = events.pop() ?? {}
    for (const event of events) this.take(placed(event, undefined))
    this.take(placed(last, this.id()))
  }
}

/** What is behind the channels that a route serves: its own events, or made so by a map (C4). FST_SSE_CHANNEL_EVENTS for others. */
export function subscribedTo (channels: ReadonlyArray<Followable<unknown>>, contract: Contract): Subscribed[] {
  const all = channels.map(channel => channel[kSubscribed] as Subscribed)
  for (const { feed: { settings: { name, events } }, selection } of all) {
    if (selection.map === undefined && !contract.covers(events)) throw new FST_SSE_CHANNEL_EVENTS(name)
  }
  return all
}

/** One that cannot begin waits for the others, whose promises somebody has to hear. */
function begin (follower: Follower, cursor: Cursor | 'malformed' | undefined): Opening | Promise<Opening> {
  try {
    return follower.begin(cursor)
  } catch (error) {
    return Promise.reject(error)
  }
}

function cursorOf (id: string | undefined): Cursor | 'malformed' | undefined {
  return id === undefined || id === '' ? undefined : decodeCursor(id) ?? 'malformed'
}
