import { cursorForEpoch, parseCursor, encodeCursor, MAX_CHANNELS } from '../wire/cursor.ts'
import { EVENT_STREAM, type WireFormat } from '../wire/format.ts'
import { FST_SSE_CHANNELS } from '../errors.ts'
import type { ChannelReader } from './channel-reader.ts'
import { onAbort } from '../listeners.ts'
import { GAP_EVENT } from '../wire/protocol.ts'
import type { LogState } from '../log/log.ts'
import type { Notice, StartPosition } from './start-position.ts'
import type { FrameSink, RequestScope, SubscriberSink, SubscriberContext } from './subscriber-context.ts'
import { withPosition } from './projection.ts'
import { readerOf, type ResolvedSubscription } from './resolved-subscription.ts'
import type { ChannelLag, SourceDriver } from '../source/source.ts'

const DONE: readonly ResolvedSubscription[] = []

/**
 * A subscriber of one or several channels: their readers, and one id for all of their positions. Events of one channel
 * are in order; between channels there is no order.
 */
export class Subscriber implements SubscriberContext<ChannelReader>, SourceDriver {
  readonly singleChannel: boolean
  droppedShare = 0
  readonly frames: FrameSink | undefined
  readonly format: WireFormat
  readonly #sink: SubscriberSink
  /** Empty after the members are present. */
  #subscriptions: readonly ResolvedSubscription[]
  /** Functions that remove the listeners of the user's signals, and end the members. */
  #onStop: Array<() => void> | undefined
  readonly #readers: ChannelReader[]
  #openReaders: readonly ChannelReader[]
  /** The readers that have not reached the end of the history yet, of a sink that waits for it. */
  #replaying: Set<ChannelReader> | undefined
  #started = false
  /** The last tick at which the client had its position. */
  #reportedAt = Infinity
  /** The shortest `maxAge` of the channels, in milliseconds. */
  readonly #shortestAge: number
  #stopped = false

  /**
   * Throws FST_SSE_CHANNELS for two subscriptions to one channel, or for too many channels: their positions do not fit
   * into one id.
   */
  constructor (subscriptions: readonly ResolvedSubscription[], sink: SubscriberSink) {
    const feeds = new Set(subscriptions.map(({ feed }) => feed))
    if (feeds.size > MAX_CHANNELS) throw new FST_SSE_CHANNELS(MAX_CHANNELS, feeds.size)
    if (feeds.size < subscriptions.length) throw new FST_SSE_CHANNELS(MAX_CHANNELS, 'one of them twice')
    this.singleChannel = subscriptions.length === 1
    this.#sink = sink
    this.format = sink.format ?? EVENT_STREAM
    this.frames = sink.writeFrames === undefined ? undefined : sink as SubscriberSink & FrameSink
    this.#subscriptions = subscriptions
    this.#readers = subscriptions.map(subscription => readerOf(subscription, this))
    this.#openReaders = this.#readers
    this.#shortestAge = Math.min(...this.#readers.map(({ feed }) => feed.settings.history.maxAge))
  }

  /** Whether the start positions were sent. Until then, all channels may turn out to have ended. */
  get hasAnswer (): boolean { return this.#started }
  get compress (): boolean { return this.#readers.every(({ feed }) => feed.settings.compress) }
  get sharesFrames (): boolean { return this.#readers[0]!.sharesFrames }
  /** The current position, after the client has received its start position. */
  get lastEventId (): string | undefined { return this.#started ? this.#currentId() : undefined }

  get record (): RequestScope | undefined { return this.#sink.record }
  get omitsPositions (): boolean { return this.#sink.omitsPositions === true }

  get channelLags (): ChannelLag[] {
    return this.#readers.map(({ feed, lag }) => ({ channel: feed.settings.name, lag }))
  }

  start (lastEventId: string | undefined): void {
    for (const { signal } of this.#subscriptions) {
      if (signal?.aborted === true) return this.close()
      if (signal !== undefined) (this.#onStop ??= []).push(onAbort(signal, () => this.close()))
    }
    const states = this.#readers.map(reader => attempt(() => reader.attach()))
    this.#whenAll(states, states => this.#resolveStarts(states, lastEventId))
  }

  /** Makes the members present: the channels have answered, and a stream has its head. */
  opened (): void {
    if (!this.#started || this.#stopped || this.#sink.isOpen === false) return
    try {
      for (const { join } of this.#subscriptions) if (join !== undefined) (this.#onStop ??= []).push(join())
      this.#subscriptions = DONE
    } catch (error) {
      this.fail(error)
    }
  }

  pull (): void {
    if (!this.#started) return
    // Start with another reader each time: there may be room for one event only.
    if (!this.singleChannel) this.#openReaders = [...this.#openReaders.slice(1), ...this.#openReaders.slice(0, 1)]
    for (const reader of this.#openReaders) reader.pull()
  }

  /** Fails, because the event of a map or a snapshot is invalid. */
  rejectEvent (error: Error): void { this.fail(error) }

  stop (): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#onStop?.forEach(step => step())
    for (const reader of this.#readers) reader.stop()
  }

  flush (): void { for (const reader of this.#readers) reader.flush() }

  checkpoint (): string {
    return this.droppedShare === 0 || this.omitsPositions ? '' : this.format.control({ id: this.id() })
  }

  /** Sends the position of dropped entries before they leave the history by their age, which needs no new event. */
  tick (now: number): void {
    if (this.droppedShare === 0 || this.#reportedAt === Infinity) this.#reportedAt = now
    else if (now - this.#reportedAt >= this.#shortestAge / 2) this.writePosition()
  }

  id (): string {
    this.droppedShare = 0
    return this.#currentId()
  }

  hasRoom (): boolean { return this.#sink.hasRoom() }

  /** Sends the position without an event. */
  writePosition (before = ''): void {
    const id = this.id()
    if (!this.omitsPositions) this.write({ id }, before)
    else if (before !== '') this.frames?.writeFrames(`${before}\n`, 0)
  }

  write (event: unknown, before = ''): boolean {
    if (this.#stopped) return false
    const accepted = this.#sink.write(event, before)
    // The client received neither the event nor the position before it: the share of dropped entries is unknown.
    if (!accepted) this.droppedShare = 1
    return accepted
  }

  caughtUp (reader: ChannelReader): void {
    if (this.#replaying?.delete(reader) !== true || this.#replaying.size > 0) return
    this.#replaying = undefined
    if (this.format.live !== '') this.frames?.writeFrames(`${this.format.live}\n`, 0)
    this.#sink.caughtUp?.()
  }

  gap (reader: ChannelReader, dropped: number, position: number): void {
    reader.feed.recordDrop(dropped, this.#sink.record)
    const before = this.checkpoint()
    reader.position = position
    this.write({ event: GAP_EVENT, data: this.#withChannel(reader, { dropped }), id: this.id() }, before)
  }

  announce (reader: ChannelReader, start: StartPosition, before: string): void {
    this.#writeStart([reader], [start], before)
  }

  fellBehind ({ feed }: ChannelReader): void {
    this.stop()
    feed.recordDrop(undefined, this.#sink.record)
    this.#sink.fellBehind(feed.settings.name)
  }

  channelEnded (reader: ChannelReader): void {
    reader.stop()
    this.#openReaders = this.#openReaders.filter(other => other !== reader)
    if (this.#openReaders.length > 0) return this.caughtUp(reader)
    this.stop()
    this.#sink.channelEnded(this.#readers.some(({ failed }) => failed))
  }

  fail (error: unknown): void {
    if (this.#stopped) return
    this.stop()
    this.#sink.fail(error)
  }

  close (): void {
    this.stop()
    this.#sink.complete()
  }

  /** Decodes the position after all logs have answered: only then it is known which part belongs to none of them. */
  #resolveStarts (states: readonly LogState[], lastEventId: string | undefined): void {
    if (this.#stopped) return
    const epochs = new Set(states.map(({ epoch }) => epoch))
    const starts = this.#readers.map((reader, index) => {
      const cursor = parseCursor(lastEventId || this.#subscriptions[index]!.after)
      return attempt(() => reader.open(states[index]!, cursorForEpoch(cursor, states[index]!.epoch, epochs)))
    })
    this.#whenAll(starts, starts => this.#startReaders(starts))
  }

  /** Runs the step synchronously if all values are there, else when they are. */
  #whenAll<T> (values: Array<T | Promise<T>>, step: (all: T[]) => void): void {
    if (values.some(value => value instanceof Promise)) Promise.all(values).then(step).catch(error => this.fail(error))
    else step(values as T[])
  }

  #startReaders (starts: StartPosition[]): void {
    if (this.#stopped) return
    if (starts.every(start => start.complete)) {
      this.stop()
      return this.#sink.respondNoContent()
    }
    const current = this.#readers.every(({ atEnd }) => atEnd)
    if (!current || this.#sink.caughtUp !== undefined) this.#replaying = new Set(this.#readers)
    this.#writeStart(this.#readers, starts, current ? this.format.live : this.format.replay)
    this.#started = true
    this.opened()
    for (const reader of this.#readers) reader.start()
  }

  #recordNotice ({ feed }: ChannelReader, { data }: Notice): void {
    if ('dropped' in data) feed.recordDrop(data.dropped, this.#sink.record)
    else feed.recordReset(data.reason, this.#sink.record)
  }

  /** Adds the channel's name to the data if there are several channels. */
  #withChannel<D extends object> ({ feed }: ChannelReader, data: D): D & { channel?: string } {
    return this.singleChannel ? data : { ...data, channel: feed.settings.name }
  }

  #currentId (): string {
    const [first] = this.#readers
    if (this.singleChannel) return `${first!.epoch}-${first!.position}`
    return encodeCursor(this.#readers.map(({ epoch, position }) => [epoch, position]))
  }

  /**
   * Writes the events before the logs, after the frames in `before`. Only the last event has the position: a client
   * that does not receive all of them starts again. If the last event was rejected, the position is sent alone.
   */
  #writeStart (readers: readonly ChannelReader[], starts: readonly StartPosition[], before: string): void {
    starts.forEach(({ notice }, index) => { if (notice !== undefined) this.#recordNotice(readers[index]!, notice) })
    const events: unknown[] = starts.flatMap(({ notice, snapshot }, index) => [
      ...(notice === undefined ? [] : [{ ...notice, data: this.#withChannel(readers[index]!, notice.data) }]),
      ...snapshot
    ])
    const last = events.pop()
    for (const event of events) if (this.write(withPosition(event, undefined), before)) before = ''
    if (last === undefined || !this.write(withPosition(last, this.id()), before)) this.writePosition(before)
  }
}

/** Turns an error into a rejection: the promises of the other readers must be handled too. */
function attempt<T> (step: () => T | Promise<T>): T | Promise<T> {
  try {
    return step()
  } catch (error) {
    return Promise.reject(error)
  }
}
