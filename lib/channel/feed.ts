import type { FastifyBaseLogger } from 'fastify'
import { FrameBatch, decodedEventOf, type DecodedEvent, type ReviewedEntry } from './frame-batch.ts'
import { now } from '../clock.ts'
import { diagnostics } from '../metrics/diagnostics.ts'
import { LatestByKey } from './latest-by-key.ts'
import { logSafely } from '../log-safely.ts'
import { Broadcast } from './broadcast.ts'
import { freeContract, type Contract } from '../contract/contract.ts'
import { FAILURE } from '../schema/fingerprint.ts'
import type { EventLog, LogBatch, LogEntry, LogState } from '../log/log.ts'
import { EntryReview } from './entry-review.ts'
import { sharedScope } from '../scope.ts'
import { keyOf } from './projection.ts'
import type { ChannelSettings } from './settings.ts'
import { isThenable } from '../source/source.ts'
import { Statistics } from '../metrics/statistics.ts'
import { yieldToLoop, budgetSpent } from '../source/loop-budget.ts'

/** One that reads a feed, from wherever it stands. */
export interface FeedReader {
  /** What was published in the last turn. Does not throw. */
  deliver: (chunk: FrameBatch) => void
  /** The log has more to tell than events: it ended, or it began anew. Does not throw. */
  onStateChange: () => void
  /** The channel is closed in this process. */
  close: () => void
}

// What is published in one turn leaves as one chunk, up to this size in characters.
const MAX_CHUNK = 32 * 1024
// So many readers are handed a chunk in one turn of the loop, two or three milliseconds: then it is the others' turn.
const SHARE = 256
// What a slow reader is given of the latest events at once, in characters.
const MAX_LATEST = 32 * 1024
// What its name, id and field names make of an event at least: an empty one is not nothing.
const OVERHEAD = 32

/**
 * The live side of a channel in this process: its log, and those who follow it. It knows of its readers only who of
 * them stands at the end of the log: these get what is published, as one chunk after the other. All others read the log.
 *
 * A large audience does not hold up the process: a chunk goes round it, and gives way to the event loop after every `SHARE` readers. What is published
 * until it is done goes round next, as one chunk: the more there is to do, the less each event costs.
 */
export class Feed {
  readonly settings: ChannelSettings
  readonly log: EventLog
  readonly statistics: Statistics
  readonly #logger: FastifyBaseLogger
  readonly #review: EntryReview
  epoch = ''
  /** The last offset that is known of. */
  newest = 0
  ended = false
  /** The latest events by key, for slow readers, where the channel has that policy. */
  readonly latest: LatestByKey | undefined
  /** All who read it, wherever they stand. */
  readonly #readers = new Set<FeedReader>()
  readonly #live = new Set<FeedReader>()
  #stopTail: (() => void) | undefined
  #broadcast: Broadcast | undefined
  #pending: ReviewedEntry[] = []
  #size = 0
  /** When the first of them came. */
  #since = 0
  #scheduled = false
  /** The log ended or began anew: those at its end have more to learn than what is in a chunk. */
  #stateChanged = false

  constructor (settings: ChannelSettings, log: EventLog, logger: FastifyBaseLogger, statistics = new Statistics(), contract: Contract = freeContract) {
    const { history, slowConsumer: slow } = settings
    this.settings = settings
    this.log = log
    this.#logger = logger
    this.statistics = statistics
    this.#review = new EntryReview(contract, settings.name, statistics, logger)
    if (typeof slow === 'object') this.latest = new LatestByKey(history, entry => keyOf(this.received(entry), slow.compactBy))
  }

  /** Whether an event is the error that the channel ended with, of which its map knows nothing. */
  isFailure ({ fingerprint }: ReviewedEntry): boolean { return fingerprint === FAILURE }
  /** An entry of the log, as this process sends it. */
  review (entry: LogEntry, epoch: string): ReviewedEntry { return this.#review.of(entry, epoch) }

  get readers (): number { return this.#readers.size }

  /** Those who do not stand at the end. */
  get lagging (): number { return this.#readers.size - this.#live.size }

  received (entry: LogEntry): DecodedEvent {
    return decodedEventOf(entry, `${this.epoch}-${entry.offset}`)
  }

  /** One reader more. It listens to the log before it looks at it: nothing falls between. */
  add (reader: FeedReader): LogState | Promise<LogState> {
    this.#readers.add(reader)
    if (this.#stopTail !== undefined) return this.state()
    this.#stopTail = sharedScope.runInAsyncScope(this.log.tail, this.log, this.#arrived)
    const head = this.state()
    // A log that cannot be read is its readers' trouble.
    if (this.latest !== undefined) Promise.resolve(head).then(() => this.#seed()).catch(() => {})
    return head
  }

  remove (reader: FeedReader): void {
    this.#live.delete(reader)
    if (!this.#readers.delete(reader) || this.#readers.size > 0) return
    this.#stopTail?.()
    this.#stopTail = undefined
    this.#forget()
  }

  state (): LogState | Promise<LogState> {
    const asked = this.epoch
    const head = this.log.state()
    if (!isThenable(head)) return this.#seen(head)
    // The log may have begun anew while the answer was on its way: then it is that of before.
    return Promise.resolve(head).then(head => this.epoch !== asked && this.epoch !== head.epoch ? this.state() : this.#seen(head))
  }

  /** What is left for one who fell off the log: the latest events after its position, and how many are gone that came before the last of them. */
  leftOf ({ epoch, position }: { readonly epoch: string, readonly position: number }, newest: number): { kept: LogEntry[], dropped: number } {
    // What there is of another epoch has offsets of its own.
    const kept = epoch === this.epoch ? this.latest?.after(position, MAX_LATEST) ?? [] : []
    return { kept, dropped: (kept.at(-1)?.offset ?? newest) - position - kept.length }
  }

  /** The reader stands at the end of the log, and is told from now on. */
  attachLive (reader: FeedReader): void {
    this.#live.add(reader)
  }

  /** The reader goes its own way. */
  detachLive (reader: FeedReader): void {
    this.#live.delete(reader)
  }

  /** Hands on at once what was published before: the chunk on its way, and what is pending. What is published by those who are told is not. */
  flush (): void {
    if (this.#broadcast !== undefined) this.#deliverPending(Infinity)
    this.#deliverPending(Infinity)
  }

  close (): void {
    this.flush()
    for (const reader of this.#readers) reader.close()
  }

  readonly #seen = (head: LogState): LogState => {
    this.#advance(head)
    return head
  }

  #advance ({ epoch, newest, ended }: Omit<LogBatch, 'entries'>): void {
    if (epoch !== this.epoch) {
      this.epoch = epoch
      this.newest = newest
      this.ended = ended
      this.#forget()
      // Whoever finds out: those at the end of the old one have to learn it.
      if (this.#live.size > 0) {
        this.#stateChanged = true
        this.#schedule()
      }
    } else {
      this.newest = Math.max(this.newest, newest)
      this.ended ||= ended
    }
  }

  readonly #arrived = (batch: LogBatch): void => {
    // What was appended and cannot be told any more is found out by reading.
    const beyond = batch.entries.length === 0 && batch.newest > this.newest
    this.#advance(batch)
    if (batch.ended || beyond) this.#stateChanged = true
    for (const written of batch.entries) {
      const entry = this.review(written, batch.epoch)
      this.#remember(entry)
      if (this.#live.size === 0) continue
      const last = this.#pending.at(-1)
      if (this.#size >= MAX_CHUNK || (last !== undefined && last.offset + 1 !== entry.offset)) this.flush()
      if (this.#pending.length === 0) this.#since = now()
      this.#pending.push(entry)
      this.#size += entry.data.length + OVERHEAD
    }
    if (this.#pending.length > 0 || this.#stateChanged) this.#schedule()
  }

  #schedule (): void {
    if (this.#scheduled) return
    // Ticks run when the microtasks are done: whatever is published now joins the chunk, and nothing waits for a timer.
    this.#scheduled = true
    // Whoever publishes what it receives would keep the ticks busy for ever.
    // In no publisher's scope: under load each turn starts the next one.
    sharedScope.runInAsyncScope(budgetSpent() ? yieldToLoop : process.nextTick, undefined, this.#settle)
  }

  /** Hands the chunk on its way, or the next one, to so many readers. Says how many more it could have been; 0: it is still on its way. */
  #deliverPending (most: number): number {
    const round = this.#broadcast ??= this.#next()
    if (round === undefined) return most
    const left = round.go(most)
    // One of those who were told may have published so much that it went round within.
    if (left > 0 && this.#broadcast === round) this.#finish(round)
    return left
  }

  #next (): Broadcast | undefined {
    const entries = this.#pending.splice(0)
    this.#size = 0
    return entries.length === 0 ? undefined : new Broadcast(new FrameBatch(this.epoch, entries), this.#live, this.#since)
  }

  #finish ({ batch: chunk, subscribers, since }: Broadcast): void {
    this.#broadcast = undefined
    const latency = now() - since
    this.statistics.latency.record(latency)
    if (!diagnostics.deliver.hasSubscribers) return
    diagnostics.deliver.publish({ channel: this.settings.name, epoch: chunk.epoch, from: chunk.from + 1, to: chunk.to, subscribers, latency })
  }

  readonly #settle = (): void => {
    // Scheduled until it is done: what is published by those who are told goes round from here, within the same share.
    for (let left = SHARE; this.#broadcast !== undefined || this.#pending.length > 0;) {
      left = this.#deliverPending(left)
      if (left > 0) continue
      yieldToLoop(this.#settle)
      return
    }
    this.#scheduled = false
    if (!this.#stateChanged) return
    this.#stateChanged = false
    // Of a copy: who goes on at the end comes back into the set, and would be told for ever.
    for (const reader of [...this.#live]) reader.onStateChange()
  }

  #forget (): void {
    this.#broadcast = undefined
    this.#pending = []
    this.#size = 0
    this.latest?.clear()
  }

  /** The key is the user's function, whose errors are nobody else's. */
  #remember (entry: ReviewedEntry): void {
    if (this.latest === undefined || entry.omitted === true) return
    try {
      sharedScope.runInAsyncScope(this.latest.add, this.latest, entry)
    } catch (err) {
      logSafely(this.#logger, 'error', { err, channel: this.settings.name }, 'sse key of an event could not be made')
    }
  }

  /** What is there already may leave the log before a slow reader has it, too. */
  async #seed (): Promise<void> {
    const { epoch, entries } = await this.log.read(0, this.settings.history.maxEvents)
    if (epoch !== this.epoch) return
    for (const entry of entries) this.#remember(this.review(entry, epoch))
  }
}
