import { decodeEntry, type FrameBatch, type DecodedEvent, type ReviewedEntry } from './frame-batch.ts'
import type { Cursor } from '../wire/cursor.ts'
import type { Feed, FeedReader } from './feed.ts'
import type { LogBatch, LogEntry, LogState } from '../log/log.ts'
import { changedStart, renewedStart, resolveStart, type StartPosition } from './start-position.ts'
import type { FrameSink, SubscriberContext } from './subscriber-context.ts'
import { project, withPosition, type Projection } from './projection.ts'
import { REPORT_SHARE, historyShare } from './settings.ts'
import { isThenable } from '../source/source.ts'
import { yieldToLoop, budgetSpent } from '../source/loop-budget.ts'

// Entries per read, at most. The limit adapts to the room at the last read, because the others are read again.
const MAX_ENTRIES = 64
// Milliseconds until the log is read again, if it cannot return an entry yet that its tail or state announced.
const RETRY_DELAY = 10

/**
 * Reads one channel for one subscriber. Its only state is a position. It reads the log from there; at the end of the
 * log it joins the live readers. If the subscriber has no room, or is not at the position of a live batch, it reads the
 * log again. The position alone decides which event is next, so no event is lost, duplicated or out of order (R2).
 */
export class ChannelReader implements FeedReader {
  readonly feed: Feed
  epoch = ''
  /** The offset of the last event that was sent or dropped. */
  position = 0
  readonly #projection: Projection
  protected readonly subscriber: SubscriberContext<ChannelReader>
  readonly #frames: FrameSink | undefined
  /** Whether each event is decoded: for a filter, a map, or a subscriber without frames. */
  readonly #decodes: boolean
  /** Whether the subscriber can use the shared frames of a batch. */
  sharesFrames: boolean
  /** The name of the last event that was sent. */
  #lastName = ''
  #limit = MAX_ENTRIES
  #live = false
  /** Whether nothing was read yet. */
  protected isFresh = true
  #busy = true
  protected stopped = false

  constructor (feed: Feed, projection: Projection, subscriber: SubscriberContext<ChannelReader>) {
    this.feed = feed
    this.#projection = projection
    this.subscriber = subscriber
    this.#frames = subscriber.frames
    this.#decodes = subscriber.frames === undefined || projection.filter !== undefined || projection.map !== undefined
    this.sharesFrames = subscriber.singleChannel && !this.#decodes
  }

  /** Whether the reader is at the end of the log, as far as this process knows. */
  get atEnd (): boolean { return this.epoch === this.feed.epoch && this.position >= this.end }
  /** The offset of the live readers. */
  protected get end (): number { return this.feed.newest }
  /** Whether no event follows those up to the end. */
  protected get ended (): boolean { return this.feed.ended }
  /** Whether the last event was an error, of `channel.end(error)`. */
  get failed (): boolean { return this.#lastName === 'error' }

  /** The number of events that the reader is behind, as far as this process knows; 0 while it receives live events. */
  get lag (): number {
    if (this.#live) return 0
    return this.epoch === this.feed.epoch ? Math.max(0, this.feed.newest - this.position) : this.feed.newest
  }

  /**
   * Adds the reader to the feed, and reads the log's state. Never settles for a stopped reader: the feed would keep it.
   */
  attach (): LogState | Promise<LogState> { return this.stopped ? new Promise(() => {}) : this.feed.add(this) }
  /** Sets the start position. Nothing is read before `start()`. */
  open (state: LogState, cursor: Cursor | 'malformed' | undefined): StartPosition | Promise<StartPosition> {
    // The snapshot of another channel may have ended the stream.
    if (this.stopped) return new Promise(() => {})
    const start = resolveStart(this.feed, state, this.#projection, cursor)
    return start instanceof Promise ? start.then(late => this.moveTo(late)) : this.moveTo(start)
  }

  /** Starts reading, after the start position was sent. */
  start (): void {
    this.#busy = false
    this.pull()
  }

  stop (): void {
    if (this.stopped) return
    this.stopped = true
    this.feed.remove(this)
  }

  /** Delivers at once the events published before the call. */
  flush (): void { this.feed.flush() }
  close (): void { this.subscriber.close() }
  /** Continues to read: the subscriber may have room again. Does not throw. */
  pull (): void { this.#attempt(this.#read) }
  onStateChange (): void { this.#attempt(this.#backToReplay) }
  deliver (batch: FrameBatch): void { this.#attempt(this.#receive, batch) }

  /** Filters and maps are functions of the user and may throw. A bound step would cost an object per delivery. */
  #attempt<T = undefined> (step: (batch: T) => void, batch?: T): void {
    try {
      step.call(this, batch as T)
    } catch (error) {
      this.#fail(error)
    }
  }

  #read (): void {
    while (!this.#busy && !this.#live && !this.stopped && this.subscriber.hasRoom()) {
      if (this.atEnd) {
        // Send the position first: its write may have made room, and the reader may have advanced within the call.
        this.subscriber.droppedShare > 0 ? this.subscriber.writePosition() : this.#attachLive()
      } else if (budgetSpent()) this.resumeLater(0)
      else this.#onRead(this.readNext(this.#limit))
    }
    if (this.#live || this.stopped) return
    this.whileBehind()
    // The age of the dropped entries is unknown here, and so is the time until the next read.
    if (this.subscriber.droppedShare > 0) this.subscriber.writePosition()
  }

  protected readNext (limit: number): LogBatch | Promise<LogBatch> { return this.feed.log.read(this.position, limit) }
  /** Called when nothing more can be read for now. */
  protected whileBehind (): void {}

  #onRead (batch: LogBatch | Promise<LogBatch>): void {
    if (!isThenable(batch)) return this.replay(batch)
    this.#busy = true
    batch.then(late => this.#attempt(this.#onBatch, late), error => this.#fail(error))
  }

  #onBatch (batch: LogBatch): void {
    this.#busy = false
    if (this.stopped) return
    this.replay(batch)
    this.#read()
  }

  /** Continues in a later turn of the event loop. */
  protected resumeLater (delay = RETRY_DELAY): void {
    this.#busy = true
    delay === 0 ? yieldToLoop(() => this.start()) : setTimeout(() => this.start(), delay)
  }

  /** Starts live delivery at the end of the log, or stops if the channel has ended. */
  #attachLive (): void {
    if (this.ended) return this.subscriber.channelEnded(this)
    this.isFresh = false
    this.#live = true
    this.join()
    this.subscriber.caughtUp(this)
  }

  protected join (): void { this.feed.attachLive(this) }
  protected leave (): void { this.feed.detachLive(this) }

  protected replay (batch: LogBatch): void {
    if (batch.epoch !== this.epoch) return this.#restart(changedStart)
    const first = batch.entries[0]?.offset ?? batch.newest + 1
    if (batch.entries.length === 0 && first <= this.position + 1) return this.resumeLater()
    if (first > this.position + 1) {
      if (!this.isFresh) return this.onEvicted(batch.newest)
      // The entries were evicted before the first read: the subscriber was not slow.
      this.subscriber.gap(this, first - 1 - this.position, first - 1)
    }
    this.forwardAll(batch.entries)
  }

  /** Sends entries while there is room for them. Returns whether all of them were sent. */
  protected forwardAll (entries: readonly LogEntry[]): boolean {
    this.isFresh = false
    for (const [index, entry] of entries.entries()) {
      this.#limit = Math.max(1, index)
      // The first write that fills the buffer opens the stream, which reads on at once: then this position has moved.
      if (this.stopped || entry.offset <= this.position || !this.subscriber.hasRoom()) return false
      this.#forward(this.feed.review(entry, this.epoch))
    }
    this.#limit = Math.min(MAX_ENTRIES, this.#limit * 2 + 2)
    return !this.stopped
  }

  #receive (batch: FrameBatch): void {
    if (this.stopped || (batch.to <= this.position && batch.epoch === this.epoch)) return
    // If the subscriber has no room or the reader is at another position, it reads this batch from the log later.
    const continues = batch.epoch === this.epoch && batch.from <= this.position
    if (!continues || !this.subscriber.hasRoom()) return this.#backToReplay()
    if (this.sharesFrames && batch.whole && batch.from === this.position) return this.share(batch)
    for (const [index, entry] of batch.entries.entries()) {
      // A reader that attached in the middle of a turn starts in the middle of the batch.
      if (this.stopped || entry.offset <= this.position) continue
      if (!this.subscriber.hasRoom()) return this.#backToReplay()
      this.#forward(entry, this.#decodes ? batch.decoded[index] : undefined)
    }
    if (!this.stopped && this.subscriber.droppedShare >= REPORT_SHARE) this.subscriber.writePosition()
  }

  /** Sends the shared frames of a batch. */
  protected share (batch: FrameBatch): void {
    this.position = batch.to
    this.#lastName = batch.entries.at(-1)!.event
    this.#frames!.writeFrames(batch.in(this.subscriber.format), batch.entries.length)
  }

  #backToReplay (): void {
    this.#live = false
    this.leave()
    this.#read()
  }

  /** Sends an event to the subscriber, or drops it. */
  #forward (entry: ReviewedEntry, decoded?: DecodedEvent): void {
    const subscriber = this.subscriber
    // Every subscriber receives the error of the channel: no filter or map applies to it.
    const projected = this.#decodes && entry.omitted === undefined && !this.feed.isFailure(entry)
    if (this.#decodes) decoded ??= decodeEntry(entry, `${this.epoch}-${entry.offset}`)
    const { epoch } = this
    const event = projected ? project(decoded!, this.#projection) : decoded
    // A filter or map that publishes, or stops the reader, may have advanced it beyond this entry.
    if (this.stopped || this.epoch !== epoch || entry.offset <= this.position) return
    // Advance the position only now: if the filter throws, the client must not have a position after the event.
    const isDropped = entry.omitted === true || (projected && (event === undefined || event === null))
    if (entry.offset > this.position + 1) this.jump(entry.offset - 1)
    if (isDropped) return this.#skip(entry.offset, entry.event.length + entry.data.length)
    const before = subscriber.checkpoint()
    this.position = entry.offset
    this.#lastName = entry.event
    const asStored = !projected || this.#projection.map === undefined
    const frames = asStored ? this.#frames : undefined
    if (frames !== undefined) frames.writeFrames(before + subscriber.format.entry(entry, subscriber.id()), 1)
    else if (subscriber.singleChannel && event === decoded) subscriber.write(event, before)
    else subscriber.write(withPosition(event, subscriber.id()), before)
  }

  /** Moves to an offset: later entries replace those up to there. */
  protected jump (offset: number): void { this.#skip(offset, 0) }

  /** Moves to an offset: the entries up to there are not for this subscriber. */
  #skip (offset: number, characters: number): void {
    this.subscriber.droppedShare += historyShare(this.feed.settings.history, offset - this.position, characters)
    this.position = offset
  }

  protected onEvicted (newest: number): void { this.continueAfter(newest - this.position, newest) }

  /** Continues after lost events, by the policy for slow consumers (R5). Returns whether it did so with a gap alone. */
  protected continueAfter (lost: number, position: number): boolean {
    const { feed: { settings: { slowConsumer } }, subscriber } = this
    const isGap = slowConsumer !== 'disconnect' &&
      (slowConsumer !== 'snapshot' || this.#projection.snapshot === undefined)
    if (isGap) subscriber.gap(this, lost, position)
    else slowConsumer === 'snapshot' ? this.#restart(renewedStart) : subscriber.fellBehind(this)
    return isGap
  }

  /** Continues at another position: the log lost its history, or the subscriber gets a new snapshot. */
  #restart (resolve: typeof changedStart): void {
    this.#busy = true
    resolve(this, this.#projection).then(start => {
      if (this.stopped) return
      if (start === undefined) return this.resumeLater()
      const before = this.subscriber.checkpoint()
      this.moveTo(start)
      this.subscriber.announce(this, start, before)
      this.start()
    }).catch(error => this.#fail(error))
  }

  protected moveTo (start: StartPosition): StartPosition {
    this.epoch = start.epoch
    this.position = start.position
    this.isFresh = true
    return start
  }

  #fail (error: unknown): void {
    if (this.stopped) return
    this.stop()
    this.subscriber.fail(error)
  }
}
