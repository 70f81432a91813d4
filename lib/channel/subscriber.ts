import type { FrameBatch } from './frame-batch.ts'
import { cursorForEpoch, parseCursor, encodeCursor, MAX_CHANNELS } from '../wire/cursor.ts'
import { diagnostics, publishForSubscriber } from '../metrics/diagnostics.ts'
import { encodePositionFrame, LIVE_LINE, REPLAY_LINE } from '../wire/encode.ts'
import { FST_SSE_CHANNEL_EVENTS, FST_SSE_CHANNELS } from '../errors.ts'
import type { Contract } from '../contract/contract.ts'
import type { Feed } from './feed.ts'
import { ChannelReader } from './channel-reader.ts'
import { onAbort } from '../listeners.ts'
import { GAP_EVENT } from '../wire/protocol.ts'
import type { LogState } from '../log/log.ts'
import type { Notice, StartPosition } from './start-position.ts'
import type { SubscriberSink, SubscriberContext } from './subscriber-context.ts'
import { placed, scoped, type Projection } from './projection.ts'
import { kSubscribed, type SourceDriver, type ChannelSource, type ChannelLag } from '../source/source.ts'

/** One channel of a subscriber. */
export interface ResolvedSubscription {
  readonly feed: Feed
  readonly projection: Projection
  /** Where to begin when the client brings no position. */
  readonly after: string | undefined
  readonly signal: AbortSignal | undefined
}

/**
 * A subscriber of one channel or of several: its followers, and the one id that says where it stands in all of them.
 * Each channel keeps its order; between them there is none.
 */
export class Subscriber implements SubscriberContext<ChannelReader>, SourceDriver {
  readonly alone: boolean
  unreported = 0
  readonly writes: boolean
  readonly #sink: SubscriberSink
  readonly #subscriptions: readonly ResolvedSubscription[]
  /** Functions that remove the listeners of the user's signals. */
  #leave: Array<() => void> | undefined
  readonly #readers: ChannelReader[]
  #running: readonly ChannelReader[]
  /** Those who have not seen the end of their history yet, of a client that waits for the word on it. */
  #behind: Set<ChannelReader> | undefined
  #begun = false
  /** The last beat at which the client had its position. */
  #reportedAt = Infinity
  #stopped = false

  /** Throws FST_SSE_CHANNELS: positions of one channel twice, or of very many, do not fit into one id. */
  constructor (subscribed: readonly ResolvedSubscription[], outlet: SubscriberSink) {
    const feeds = new Set(subscribed.map(({ feed }) => feed))
    if (feeds.size > MAX_CHANNELS) throw new FST_SSE_CHANNELS(MAX_CHANNELS, feeds.size)
    if (feeds.size < subscribed.length) throw new FST_SSE_CHANNELS(MAX_CHANNELS, 'one of them twice')
    this.alone = subscribed.length === 1
    this.#sink = outlet
    this.writes = outlet.writeFrames !== undefined
    this.#subscriptions = subscribed
    this.#readers = subscribed.map(({ feed, projection: selection }) => new ChannelReader(feed, scoped(selection), this))
    this.#running = this.#readers
  }

  /** Whether its openings are out: a channel may be over. */
  get hasAnswer (): boolean { return this.#begun }
  /** Where it stands, once it has told the client. */
  get lastEventId (): string | undefined { return this.#begun ? this.#where() : undefined }

  get channelLags (): ChannelLag[] {
    return this.#readers.map(({ feed, lag }) => ({ channel: feed.settings.name, lag }))
  }

  start (lastEventId: string | undefined): void {
    for (const { signal } of this.#subscriptions) {
      if (signal?.aborted === true) {
        this.close()
        return
      }
      if (signal !== undefined) (this.#leave ??= []).push(onAbort(signal, this.close))
    }
    const heads = this.#readers.map(follower => attempt(() => follower.attach()))
    this.#together(heads, heads => this.#begin(heads, lastEventId))
  }

  pull (): void {
    if (!this.#begun) return
    // Another one first each time: there may be room for one only.
    if (!this.alone) this.#running = [...this.#running.slice(1), ...this.#running.slice(0, 1)]
    for (const follower of this.#running) follower.pull()
  }

  /** An event that its map made, or its snapshot, is no good. */
  rejectEvent (error: Error): void {
    this.fail(error)
  }

  stop (): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#leave?.forEach(leave => leave())
    for (const follower of this.#readers) follower.stop()
  }

  flush (): void {
    for (const { feed } of this.#readers) feed.flush()
  }

  checkpoint (): string {
    return this.unreported === 0 ? '' : encodePositionFrame(this.id())
  }

  /** Entries that were passed over also leave the history by their age, without any new event. */
  tick (now: number): void {
    if (this.unreported === 0 || this.#reportedAt === Infinity) this.#reportedAt = now
    else if (now - this.#reportedAt >= Math.min(...this.#readers.map(({ feed }) => feed.settings.history.maxAge)) / 2) this.write({ id: this.id() })
  }

  id (): string {
    this.unreported = 0
    return this.#where()
  }

  hasRoom (): boolean { return this.#sink.hasRoom() }

  write (event: unknown, before = ''): boolean {
    if (this.#stopped) return false
    const taken = this.#sink.write(event, before)
    // The client got neither the event nor the position before it: its distance is unknown.
    if (!taken) this.unreported = 1
    return taken
  }

  writeFrames (frames: string | FrameBatch, events: number): void { this.#sink.writeFrames!(frames, events) }

  arrived (follower: ChannelReader): void {
    if (this.#behind?.delete(follower) !== true || this.#behind.size > 0) return
    this.#behind = undefined
    if (this.writes) this.writeFrames(`${LIVE_LINE}\n`, 0)
  }

  gap (follower: ChannelReader, dropped: number, position: number): void {
    this.#dropped(follower.feed, dropped)
    const before = this.checkpoint()
    follower.position = position
    this.write({ event: GAP_EVENT, data: this.#label(follower, { dropped }), id: this.id() }, before)
  }

  announce (follower: ChannelReader, opening: StartPosition, before: string): void {
    this.#say([follower], [opening], before)
  }

  fellBehind ({ feed }: ChannelReader): void {
    this.stop()
    this.#dropped(feed, undefined)
    this.#sink.fellBehind(feed.settings.name)
  }

  channelEnded (follower: ChannelReader): void {
    this.#running = this.#running.filter(other => other !== follower)
    if (this.#running.length > 0) return this.arrived(follower)
    this.stop()
    this.#sink.channelEnded()
  }

  /** Without a number: it loses the stream. */
  #dropped ({ settings: { name }, statistics }: Feed, dropped: number | undefined): void {
    if (dropped !== undefined) {
      statistics.gaps++
      statistics.dropped += dropped
    }
    if (diagnostics.drop.hasSubscribers) publishForSubscriber(this.#sink.record, diagnostics.drop, { channel: name, dropped })
  }

  fail (error: unknown): void {
    if (this.#stopped) return
    this.stop()
    this.#sink.fail(error)
  }

  readonly close = (): void => {
    this.stop()
    this.#sink.complete()
  }

  /** Reads the position after all logs have answered: only then is it known which part belongs to none of them. */
  #begin (heads: readonly LogState[], lastEventId: string | undefined): void {
    if (this.#stopped) return
    const epochs = new Set(heads.map(({ epoch }) => epoch))
    const openings = this.#readers.map((follower, index) => {
      const cursor = parseCursor(lastEventId || this.#subscriptions[index]!.after)
      return attempt(() => follower.open(heads[index]!, cursorForEpoch(cursor, heads[index]!.epoch, epochs)))
    })
    this.#together(openings, openings => this.#open(openings))
  }

  /** At once where all answers are there, else when they are. */
  #together<T> (those: Array<T | Promise<T>>, step: (all: T[]) => void): void {
    if (those.some(each => each instanceof Promise)) Promise.all(those).then(step).catch(error => this.fail(error))
    else step(those as T[])
  }

  #open (openings: StartPosition[]): void {
    if (this.#stopped) return
    if (openings.every(opening => opening.over)) {
      this.stop()
      return this.#sink.respondNoContent()
    }
    const current = this.#readers.every(({ atEnd }) => atEnd)
    if (!current) this.#behind = new Set(this.#readers)
    this.#say(this.#readers, openings, current ? LIVE_LINE : REPLAY_LINE)
    this.#begun = true
    for (const follower of this.#readers) follower.start()
  }

  #noticed (feed: Feed, { data }: Notice): void {
    if ('dropped' in data) return this.#dropped(feed, data.dropped)
    feed.statistics.resets++
    if (diagnostics.reset.hasSubscribers) publishForSubscriber(this.#sink.record, diagnostics.reset, { channel: feed.settings.name, reason: data.reason })
  }

  /** In company, what is said of a channel says of which. */
  #label<D extends object> ({ feed }: ChannelReader, data: D): D & { channel?: string } {
    return this.alone ? data : { ...data, channel: feed.settings.name }
  }

  #where (): string {
    const [first] = this.#readers
    if (this.alone) return `${first!.epoch}-${first!.position}`
    return encodeCursor(this.#readers.map(({ epoch, position }) => [epoch, position]))
  }

  /**
   * What comes before the logs, and `before` with the first of it that goes out. Only the last carries the position: who does not
   * get it all begins again. Where that was refused, the position comes by itself.
   */
  #say (followers: readonly ChannelReader[], openings: readonly StartPosition[], before: string): void {
    for (const [index, { notice }] of openings.entries()) if (notice !== undefined) this.#noticed(followers[index]!.feed, notice)
    const events: unknown[] = openings.flatMap(({ notice, snapshot }, index) => [
      ...(notice === undefined ? [] : [{ ...notice, data: this.#label(followers[index]!, notice.data) }]),
      ...snapshot
    ])
    const last = events.pop() ?? {}
    for (const event of events) if (this.write(placed(event, undefined), before)) before = ''
    if (!this.write(placed(last, this.id()), before)) this.write({ id: this.id() }, before)
  }
}

/** What is behind the channels that a route serves: its own events, or made so by a map (C4). FST_SSE_CHANNEL_EVENTS for others. */
export function resolveSubscriptions (channels: ReadonlyArray<ChannelSource<unknown>>, contract: Contract): ResolvedSubscription[] {
  const all = channels.map(channel => channel[kSubscribed] as ResolvedSubscription)
  for (const { feed: { settings: { name, events } }, projection: selection } of all) {
    if (selection.map === undefined && !contract.declaresAll(events)) throw new FST_SSE_CHANNEL_EVENTS(name)
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
