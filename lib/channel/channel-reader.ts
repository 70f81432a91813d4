import { frameOf, decodedEventOf, type FrameBatch, type DecodedEvent, type ReviewedEntry } from './frame-batch.ts'
import type { Cursor } from '../wire/cursor.ts'
import type { Feed, FeedReader } from './feed.ts'
import type { LogBatch, LogState } from '../log/log.ts'
import { resolveStart, type StartPosition } from './start-position.ts'
import type { SubscriberContext } from './subscriber-context.ts'
import { choose, placed, type Projection } from './projection.ts'
import { AT_RISK, shareOf } from './settings.ts'
import { isThenable } from '../source/source.ts'
import { yieldToLoop, budgetSpent } from '../source/loop-budget.ts'

// Entries per look at the log, at most: about as many as there was room for at the last one, since the others are read again.
const BATCH = 64
// A log that cannot give yet what it told of is asked again after so many milliseconds.
const RETRY = 10

/**
 * One subscriber's way through one channel, and all that is kept of it: a position. It reads the log from there; at its
 * end it joins the live ones, who are handed what is published; whoever has no room for it, or stands elsewhere,
 * goes back to reading the log. The position alone says what comes next, so nothing is lost, doubled or out of order (R2).
 */
export class ChannelReader implements FeedReader {
  readonly feed: Feed
  epoch = ''
  /** The offset of the last event that was passed on, or passed over. */
  position = 0
  readonly #projection: Projection
  readonly #subscriber: SubscriberContext<ChannelReader>
  /** Whether an event is looked at, or handed over as an object. */
  readonly #decodes: boolean
  /** Whether frames made for everybody will do. */
  readonly #plain: boolean
  #limit = BATCH
  #live = false
  /** It has read nothing yet. */
  #fresh = true
  #busy = true
  #stopped = false

  constructor (feed: Feed, selection: Projection, party: SubscriberContext<ChannelReader>) {
    this.feed = feed
    this.#projection = selection
    this.#subscriber = party
    this.#decodes = !party.writes || selection.filter !== undefined || selection.map !== undefined
    this.#plain = party.alone && !this.#decodes
  }

  /** Whether it stands at the end of the log, as far as that is known. */
  get atEnd (): boolean { return this.epoch === this.feed.epoch && this.position >= this.feed.newest }

  /** How many events it is behind, as far as that is known: none while it is handed what is published. */
  get lag (): number {
    if (this.#live) return 0
    return this.epoch === this.feed.epoch ? Math.max(0, this.feed.newest - this.position) : this.feed.newest
  }

  /** Listens to the log, and asks for its head. A follower that was stopped before would listen for ever. */
  attach (): LogState | Promise<LogState> { return this.#stopped ? new Promise(() => {}) : this.feed.add(this) }
  /** Takes its stand. Nothing is read before `proceed()`. */
  open (head: LogState, cursor: Cursor | 'malformed' | undefined): StartPosition | Promise<StartPosition> {
    // An earlier snapshot may have ended the stream.
    if (this.#stopped) return new Promise(() => {})
    const opening = resolveStart(this.feed, head, this.#projection, cursor)
    return opening instanceof Promise ? opening.then(late => this.#moveTo(late)) : this.#moveTo(opening)
  }

  /** Goes on, when the opening is out. */
  start (): void {
    this.#busy = false
    this.pull()
  }

  stop (): void {
    if (this.#stopped) return
    this.#stopped = true
    this.feed.remove(this)
  }

  close (): void { this.#subscriber.close() }
  /** There may be room again. Does not throw. */
  pull (): void { this.#attempt(() => this.#read()) }
  onStateChange (): void { this.#attempt(() => this.#backToReplay()) }
  deliver (chunk: FrameBatch): void {
    try {
      this.#receive(chunk)
    } catch (error) {
      this.#failed(error)
    }
  }

  /** Filters and maps are functions of the user. */
  #attempt (step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#failed(error)
    }
  }

  #read (): void {
    while (!this.#busy && !this.#live && !this.#stopped && this.#subscriber.hasRoom()) {
      if (this.atEnd) {
        // The position first: its write may have made room, and the follower may have read on from here.
        this.#subscriber.unreported > 0 ? this.#tell() : this.#arrive()
      } else if (budgetSpent()) this.#later(0)
      else this.#take(this.feed.log.read(this.position, this.#limit))
    }
    // The age of the dropped entries is unknown here, and so is the time until the next read.
    if (!this.#live && !this.#stopped && this.#subscriber.unreported > 0) this.#tell()
  }

  #take (batch: LogBatch | Promise<LogBatch>): void {
    if (!isThenable(batch)) return this.#replay(batch)
    this.#busy = true
    batch.then(late => this.#onBatch(late), error => this.#failed(error))
  }

  /** Sends the position alone: a client that reconnects skips the dropped entries, and begins inside the history. */
  #tell (): void { this.#subscriber.write({ id: this.#subscriber.id() }) }

  /** Goes on in another turn of the loop. */
  #later (delay: number): void {
    this.#busy = true
    delay === 0 ? yieldToLoop(() => this.start()) : setTimeout(() => this.start(), delay)
  }

  /** At the end of the log, which may be the end of the channel. */
  #arrive (): void {
    if (this.feed.ended) {
      this.stop()
      this.#subscriber.channelEnded(this)
      return
    }
    this.#fresh = false
    this.#live = true
    this.feed.attachLive(this)
    this.#subscriber.arrived(this)
  }

  #replay (batch: LogBatch): void {
    if (batch.epoch !== this.epoch) return this.#restart()
    const first = batch.entries[0]?.offset ?? batch.newest + 1
    if (batch.entries.length === 0 && first <= this.position + 1) return this.#later(RETRY)
    if (first > this.position + 1) {
      if (!this.#fresh) return this.#onEvicted(batch.newest)
      // It went while the opening was on its way: nobody was slow.
      this.#subscriber.gap(this, first - 1 - this.position, first - 1)
    }
    this.#fresh = false
    for (const [taken, entry] of batch.entries.entries()) {
      this.#limit = Math.max(1, taken)
      // The first full write opens the stream, which asks for more at once: then that has read on from here.
      if (this.#stopped || entry.offset !== this.position + 1 || !this.#subscriber.hasRoom()) return
      this.#pass(this.feed.review(entry, this.epoch))
    }
    this.#limit = Math.min(BATCH, this.#limit * 2 + 2)
  }

  #receive (chunk: FrameBatch): void {
    if (this.#stopped || (chunk.to <= this.position && chunk.epoch === this.epoch)) return
    // Who has no room now reads it in the log when there is; who is elsewhere in it, too.
    if (chunk.epoch !== this.epoch || chunk.from > this.position || !this.#subscriber.hasRoom()) return this.#backToReplay()
    if (this.#plain && chunk.whole && chunk.from === this.position) {
      this.position = chunk.to
      this.#subscriber.writeFrames(chunk, chunk.entries.length)
      return
    }
    for (const [index, entry] of chunk.entries.entries()) {
      // Who came in the middle of the turn stands in the middle of the chunk.
      if (this.#stopped || entry.offset <= this.position) continue
      if (!this.#subscriber.hasRoom()) return this.#backToReplay()
      this.#pass(entry, this.#decodes ? chunk.received[index] : undefined)
    }
    if (!this.#stopped && this.#subscriber.unreported >= AT_RISK) this.#tell()
  }

  #backToReplay (): void {
    this.#live = false
    this.feed.detachLive(this)
    this.#read()
  }

  /** Passes an event on, or over. */
  #pass (entry: ReviewedEntry, received?: DecodedEvent): void {
    const party = this.#subscriber
    // How the channel failed is for everybody: no filter or map knows of that event.
    const chosen = this.#decodes && entry.omitted === undefined && !this.feed.isFailure(entry)
    if (this.#decodes) received ??= decodedEventOf(entry, `${this.epoch}-${entry.offset}`)
    const { epoch } = this
    const event = chosen ? choose(received!, this.#projection) : received
    // A filter or map that publishes, or ends it all, may have brought us further than this.
    if (this.#stopped || this.epoch !== epoch || entry.offset <= this.position) return
    // Only now: where a filter fails, the client is not told that it is past the event.
    if (entry.omitted === true || (chosen && (event === undefined || event === null))) return this.#passOver(entry.offset, entry.event.length + entry.data.length)
    this.#passOver(entry.offset - 1, 0)
    const before = party.checkpoint()
    this.position = entry.offset
    if (party.writes && (!chosen || this.#projection.map === undefined)) party.writeFrames(before + frameOf(entry, party.id()), 1)
    else party.write(party.alone && event === received ? event : placed(event, party.id()), before)
  }

  /** Nothing more up to there is for this subscriber. */
  #passOver (offset: number, characters: number): void {
    if (offset > this.position) this.#subscriber.unreported += shareOf(this.feed.settings.history, offset - this.position, characters)
    this.position = offset
  }

  /** The events after the position are gone (R5). */
  #onEvicted (newest: number): void {
    const { settings } = this.feed
    if (settings.slowConsumer === 'disconnect') {
      this.stop()
      this.#subscriber.fellBehind(this)
      return
    }
    const { kept, dropped } = this.feed.leftOf(this, newest)
    // The id is where it stands without what follows.
    if (dropped > 0) this.#subscriber.gap(this, dropped, kept.length === 0 ? newest : this.position)
    for (const entry of kept) {
      if (!this.#stopped && entry.offset > this.position) this.#pass(entry)
    }
  }

  /** The log lost its history: what follows is another sequence. */
  #restart (): void {
    const cursor = new Map([[this.epoch, this.position]])
    this.#busy = true
    Promise.resolve(resolveStart(this.feed, this.feed.state(), this.#projection, cursor)).then(opening => {
      if (this.#stopped) return
      // What was read is of another epoch, and of that the log does not know yet, or no more.
      if (opening.epoch === this.epoch) return this.#later(RETRY)
      const before = this.#subscriber.checkpoint()
      this.#moveTo(opening)
      this.#subscriber.announce(this, opening, before)
      this.start()
    }).catch(error => this.#failed(error))
  }

  #moveTo (opening: StartPosition): StartPosition {
    this.epoch = opening.epoch
    this.position = opening.position
    this.#fresh = true
    return opening
  }

  #onBatch (batch: LogBatch): void {
    this.#busy = false
    if (this.#stopped) return
    this.#attempt(() => {
      this.#replay(batch)
      this.#read()
    })
  }

  #failed (error: unknown): void {
    if (this.#stopped) return
    this.stop()
    this.#subscriber.fail(error)
  }
}
