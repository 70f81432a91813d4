import type { Chunk } from './frame-batch.ts'
import { claimed, cursorOf, encodeCursor, MAX_CHANNELS } from '../wire/cursor.ts'
import { diagnostics, tellOf } from '../metrics/diagnostics.ts'
import { encodePositionFrame } from '../wire/encode.ts'
import { FST_SSE_CHANNEL_EVENTS, FST_SSE_CHANNELS } from '../errors.ts'
import type { Contract } from '../contract/contract.ts'
import type { Feed } from './feed.ts'
import { Follower } from './channel-reader.ts'
import { listenTo } from '../listeners.ts'
import { LIVE, REPLAY } from '../wire/protocol.ts'
import type { LogHead } from '../log/log.ts'
import type { Notice, Opening } from './start-position.ts'
import type { Outlet, Party } from './subscriber-context.ts'
import { placed, scoped, type Selection } from './projection.ts'
import { kSubscribed, type Driver, type Followable, type Place } from '../source/source.ts'

/** One channel of a subscriber. */
export interface Subscribed {
  readonly feed: Feed
  readonly selection: Selection
  /** Where to begin when the client brings no position. */
  readonly after: string | undefined
  readonly signal: AbortSignal | undefined
}

/**
 * A subscriber of one channel or of several: its followers, and the one id that says where it stands in all of them.
 * Each channel keeps its order; between them there is none.
 */
export class Following implements Party<Follower>, Driver {
  readonly alone: boolean
  untold = 0
  readonly writes: boolean
  readonly #outlet: Outlet
  readonly #subscribed: readonly Subscribed[]
  /** Functions that remove the listeners of the user's signals. */
  #leave: Array<() => void> | undefined
  readonly #followers: Follower[]
  #running: readonly Follower[]
  /** Those who have not seen the end of their history yet, of a client that waits for the word on it. */
  #behind: Set<Follower> | undefined
  #begun = false
  /** The last beat at which the client had its position. */
  #toldAt = Infinity
  #stopped = false

  /** Throws FST_SSE_CHANNELS: positions of one channel twice, or of very many, do not fit into one id. */
  constructor (subscribed: readonly Subscribed[], outlet: Outlet) {
    const feeds = new Set(subscribed.map(({ feed }) => feed))
    if (feeds.size > MAX_CHANNELS) throw new FST_SSE_CHANNELS(MAX_CHANNELS, feeds.size)
    if (feeds.size < subscribed.length) throw new FST_SSE_CHANNELS(MAX_CHANNELS, 'one of them twice')
    this.alone = subscribed.length === 1
    this.#outlet = outlet
    this.writes = outlet.write !== undefined
    this.#subscribed = subscribed
    this.#followers = subscribed.map(({ feed, selection }) => new Follower(feed, scoped(selection), this))
    this.#running = this.#followers
  }

  /** Whether its openings are out: a channel may be over. */
  get decided (): boolean { return this.#begun }
  /** Where it stands, once it has told the client. */
  get lastEventId (): string | undefined { return this.#begun ? this.#where() : undefined }

  get places (): Place[] {
    return this.#followers.map(({ feed, lag }) => ({ channel: feed.settings.name, lag }))
  }

  start (lastEventId: string | undefined): void {
    for (const { signal } of this.#subscribed) {
      if (signal?.aborted === true) {
        this.close()
        return
      }
      if (signal !== undefined) (this.#leave ??= []).push(listenTo(signal, this.close))
    }
    const heads = this.#followers.map(follower => attempt(() => follower.enter()))
    this.#together(heads, heads => this.#begin(heads, lastEventId))
  }

  pull (): void {
    if (!this.#begun) return
    // Another one first each time: there may be room for one only.
    if (!this.alone) this.#running = [...this.#running.slice(1), ...this.#running.slice(0, 1)]
    for (const follower of this.#running) follower.pull()
  }

  /** An event that its map made, or its snapshot, is no good. */
  refuse (error: Error): void {
    this.failed(error)
  }

  stop (): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#leave?.forEach(leave => leave())
    for (const follower of this.#followers) follower.stop()
  }

  flush (): void {
    for (const { feed } of this.#followers) feed.flush()
  }

  checkpoint (): string {
    return this.untold === 0 ? '' : encodePositionFrame(this.id())
  }

  /** Entries that were passed over also leave the history by their age, without any new event. */
  tick (now: number): void {
    if (this.untold === 0 || this.#toldAt === Infinity) this.#toldAt = now
    else if (now - this.#toldAt >= Math.min(...this.#followers.map(({ feed }) => feed.settings.history.age)) / 2) this.take({ id: this.id() })
  }

  id (): string {
    this.untold = 0
    return this.#where()
  }

  wants (): boolean { return this.#outlet.wants() }

  take (event: unknown, before = ''): boolean {
    if (this.#stopped) return false
    const taken = this.#outlet.take(event, before)
    // The client got neither the event nor the position before it: its distance is unknown.
    if (!taken) this.untold = 1
    return taken
  }

  write (frames: string | Chunk, events: number): void { this.#outlet.write!(frames, events) }

  arrived (follower: Follower): void {
    if (this.#behind?.delete(follower) !== true || this.#behind.size > 0) return
    this.#behind = undefined
    if (this.writes) this.write(`${LIVE}\n`, 0)
  }

  gap (follower: Follower, dropped: number, position: number): void {
    this.#dropped(follower.feed, dropped)
    const before = this.checkpoint()
    follower.position = position
    this.take({ event: 'sse.gap', data: this.#label(follower, { dropped }), id: this.id() }, before)
  }

  announce (follower: Follower, opening: Opening, before: string): void {
    this.#say([follower], [opening], before)
  }

  lagging ({ feed }: Follower): void {
    this.stop()
    this.#dropped(feed, undefined)
    this.#outlet.lagging(feed.settings.name)
  }

  ended (follower: Follower): void {
    this.#running = this.#running.filter(other => other !== follower)
    if (this.#running.length > 0) return this.arrived(follower)
    this.stop()
    this.#outlet.ended()
  }

  /** Without a number: it loses the stream. */
  #dropped ({ settings: { name }, statistics }: Feed, dropped: number | undefined): void {
    if (dropped !== undefined) {
      statistics.gaps++
      statistics.dropped += dropped
    }
    if (diagnostics.drop.hasSubscribers) tellOf(this.#outlet.account, diagnostics.drop, { channel: name, dropped })
  }

  failed (error: unknown): void {
    if (this.#stopped) return
    this.stop()
    this.#outlet.failed(error)
  }

  readonly close = (): void => {
    this.stop()
    this.#outlet.done()
  }

  /** Reads the position after all logs have answered: only then is it known which part belongs to none of them. */
  #begin (heads: readonly LogHead[], lastEventId: string | undefined): void {
    if (this.#stopped) return
    const epochs = new Set(heads.map(({ epoch }) => epoch))
    const openings = this.#followers.map((follower, index) => {
      const cursor = cursorOf(lastEventId || this.#subscribed[index]!.after)
      return attempt(() => follower.begin(heads[index]!, claimed(cursor, heads[index]!.epoch, epochs)))
    })
    this.#together(openings, openings => this.#open(openings))
  }

  /** At once where all answers are there, else when they are. */
  #together<T> (those: Array<T | Promise<T>>, step: (all: T[]) => void): void {
    if (those.some(each => each instanceof Promise)) Promise.all(those).then(step).catch(error => this.failed(error))
    else step(those as T[])
  }

  #open (openings: Opening[]): void {
    if (this.#stopped) return
    if (openings.every(opening => opening.over)) {
      this.stop()
      return this.#outlet.nothing()
    }
    const current = this.#followers.every(({ atEnd }) => atEnd)
    if (!current) this.#behind = new Set(this.#followers)
    this.#say(this.#followers, openings, current ? LIVE : REPLAY)
    this.#begun = true
    for (const follower of this.#followers) follower.proceed()
  }

  #noticed (feed: Feed, { data }: Notice): void {
    if ('dropped' in data) return this.#dropped(feed, data.dropped)
    feed.statistics.resets++
    if (diagnostics.reset.hasSubscribers) tellOf(this.#outlet.account, diagnostics.reset, { channel: feed.settings.name, reason: data.reason })
  }

  /** In company, what is said of a channel says of which. */
  #label<D extends object> ({ feed }: Follower, data: D): D & { channel?: string } {
    return this.alone ? data : { ...data, channel: feed.settings.name }
  }

  #where (): string {
    const [first] = this.#followers
    if (this.alone) return `${first!.epoch}-${first!.position}`
    return encodeCursor(this.#followers.map(({ epoch, position }) => [epoch, position]))
  }

  /**
   * What comes before the logs, and `before` with the first of it that goes out. Only the last carries the position: who does not
   * get it all begins again. Where that was refused, the position comes by itself.
   */
  #say (followers: readonly Follower[], openings: readonly Opening[], before: string): void {
    for (const [index, { notice }] of openings.entries()) if (notice !== undefined) this.#noticed(followers[index]!.feed, notice)
    const events: unknown[] = openings.flatMap(({ notice, snapshot }, index) => [
      ...(notice === undefined ? [] : [{ ...notice, data: this.#label(followers[index]!, notice.data) }]),
      ...snapshot
    ])
    const last = events.pop() ?? {}
    for (const event of events) if (this.take(placed(event, undefined), before)) before = ''
    if (!this.take(placed(last, this.id()), before)) this.take({ id: this.id() }, before)
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
function attempt<T> (step: () => T | Promise<T>): T | Promise<T> {
  try {
    return step()
  } catch (error) {
    return Promise.reject(error)
  }
}
