import type { FastifyBaseLogger } from 'fastify'
import { Broadcast, type LiveReader } from './broadcast.ts'
import type { ResetReason } from '../contract/event-types.ts'
import { diagnostics, publishForSubscriber } from '../metrics/diagnostics.ts'
import type { RequestScope } from './subscriber-context.ts'
import { decodeEntry, type DecodedEvent, type ReviewedEntry } from './frame-batch.ts'
import { LatestByKey } from './latest-by-key.ts'
import { logSafely } from '../log-safely.ts'
import { freeContract, type Contract } from '../contract/contract.ts'
import { FAILURE } from '../schema/fingerprint.ts'
import type { EventLog, LogBatch, LogEntry, LogState } from '../log/log.ts'
import { EntryReview } from './entry-review.ts'
import { sharedScope } from '../scope.ts'
import { compactionKey } from './projection.ts'
import type { ChannelSettings } from './settings.ts'
import { isThenable } from '../source/source.ts'
import { Statistics } from '../metrics/statistics.ts'

/** A reader of a feed, at any position. */
export interface FeedReader extends LiveReader {
  /** Called when the channel is closed in this process. */
  close: () => void
}

// A slow reader receives at most this many characters of the latest events at once.
const MAX_LATEST = 32 * 1024

/**
 * The live side of a channel in this process: its log and its readers. It knows only which readers are at the end of
 * the log: these receive published events from the broadcast. All others read the log.
 */
export class Feed {
  readonly settings: ChannelSettings
  readonly log: EventLog
  readonly statistics: Statistics
  readonly #logger: FastifyBaseLogger
  readonly #review: EntryReview
  readonly #broadcast: Broadcast
  epoch = ''
  /** The last known offset. */
  newest = 0
  ended = false
  /** The latest events by key, for slow readers; undefined without `compactBy`. */
  readonly latest: LatestByKey | undefined
  /** All readers, at any position. */
  readonly #readers = new Set<FeedReader>()
  #stopTail: (() => void) | undefined

  constructor (
    settings: ChannelSettings,
    log: EventLog,
    logger: FastifyBaseLogger,
    statistics = new Statistics(),
    contract: Contract = freeContract
  ) {
    const { name, history, slowConsumer } = settings
    this.settings = settings
    this.log = log
    this.#logger = logger
    this.statistics = statistics
    this.#review = new EntryReview(contract, name, statistics, logger)
    this.#broadcast = new Broadcast(name, statistics.latency)
    if (typeof slowConsumer === 'object') {
      this.latest = new LatestByKey(history, entry => compactionKey(this.decode(entry), slowConsumer.compactBy))
    }
  }

  /** Whether an event is the error that the channel ended with, which its map does not declare. */
  isFailure ({ fingerprint }: ReviewedEntry): boolean { return fingerprint === FAILURE }
  /** Returns an entry of the log as this process sends it. */
  review (entry: LogEntry, epoch: string): ReviewedEntry { return this.#review.review(entry, epoch) }

  get readers (): number { return this.#readers.size }

  /** The number of readers that are not at the end of the log. */
  get lagging (): number { return this.#readers.size - this.#broadcast.size }

  decode (entry: LogEntry): DecodedEvent {
    return decodeEntry(entry, `${this.epoch}-${entry.offset}`)
  }

  /** Adds a reader. Tails the log before reading its state, so no event is lost in between. */
  add (reader: FeedReader): LogState | Promise<LogState> {
    this.#readers.add(reader)
    if (this.#stopTail !== undefined) return this.state()
    this.#stopTail = sharedScope.runInAsyncScope(this.log.tail, this.log, this.#onBatch)
    const state = this.state()
    // The readers report an unreadable log themselves.
    if (this.latest !== undefined) Promise.resolve(state).then(() => this.#loadLatest()).catch(() => {})
    return state
  }

  remove (reader: FeedReader): void {
    this.#broadcast.remove(reader)
    if (!this.#readers.delete(reader) || this.#readers.size > 0) return
    this.#stopTail?.()
    this.#stopTail = undefined
    this.#reset()
  }

  state (): LogState | Promise<LogState> {
    const epoch = this.epoch
    const state = this.log.state()
    if (!isThenable(state)) return this.#onState(state)
    // If the log began a new epoch during the request, the answer may be of the old one.
    return Promise.resolve(state).then(state =>
      this.epoch !== epoch && this.epoch !== state.epoch ? this.state() : this.#onState(state)
    )
  }

  /**
   * Returns the events that remain for a reader whose next entry was evicted: the latest events after its position.
   * `dropped` is the number of lost events before the last of them.
   */
  latestFor (
    { epoch, position }: { readonly epoch: string, readonly position: number },
    newest: number
  ): { entries: LogEntry[], dropped: number } {
    // Events of another epoch have other offsets.
    const entries = epoch === this.epoch ? this.latest?.after(position, MAX_LATEST) ?? [] : []
    return { entries, dropped: (entries.at(-1)?.offset ?? newest) - position - entries.length }
  }

  /** Counts events that a subscriber lost; undefined: it loses its stream. `record` is its request. */
  recordDrop (dropped: number | undefined, record: RequestScope | undefined): void {
    if (dropped !== undefined) {
      this.statistics.gaps++
      this.statistics.dropped += dropped
    }
    if (diagnostics.drop.hasSubscribers) {
      publishForSubscriber(record, diagnostics.drop, { channel: this.settings.name, dropped })
    }
  }

  /** Counts a subscriber that could not resume from its position. */
  recordReset (reason: ResetReason, record: RequestScope | undefined): void {
    this.statistics.resets++
    if (diagnostics.reset.hasSubscribers) {
      publishForSubscriber(record, diagnostics.reset, { channel: this.settings.name, reason })
    }
  }

  /** Starts live delivery to a reader at the end of the log. */
  attachLive (reader: FeedReader): void { this.#broadcast.add(reader) }
  /** Stops live delivery to a reader: it reads the log. */
  detachLive (reader: FeedReader): void { this.#broadcast.remove(reader) }
  /** Delivers at once the events published before the call. */
  flush (): void { this.#broadcast.flush() }

  close (): void {
    this.flush()
    for (const reader of this.#readers) reader.close()
  }

  readonly #onState = (state: LogState): LogState => {
    this.#advance(state)
    return state
  }

  #advance ({ epoch, newest, ended }: Omit<LogBatch, 'entries'>): void {
    if (epoch === this.epoch) {
      this.newest = Math.max(this.newest, newest)
      this.ended ||= ended
      return
    }
    this.epoch = epoch
    this.newest = newest
    this.ended = ended
    this.#reset()
    // Readers at the end of the old epoch must be notified.
    if (this.#broadcast.size > 0) {
      this.#broadcast.notifyStateChange()
      this.#broadcast.schedule()
    }
  }

  readonly #onBatch = (batch: LogBatch): void => {
    // Entries that the tail can no longer deliver: the readers find the gap in the log.
    const beyond = batch.entries.length === 0 && batch.newest > this.newest
    this.#advance(batch)
    if (batch.ended || beyond) this.#broadcast.notifyStateChange()
    for (const stored of batch.entries) {
      const entry = this.review(stored, batch.epoch)
      this.#addLatest(entry)
      this.#broadcast.push(entry)
    }
    this.#broadcast.schedule()
  }

  #reset (): void {
    this.#broadcast.reset(this.epoch)
    this.latest?.clear()
  }

  /** Adds an entry by its key. The key is a function of the user: its errors are logged and affect no reader. */
  #addLatest (entry: ReviewedEntry): void {
    if (this.latest === undefined || entry.omitted === true) return
    try {
      sharedScope.runInAsyncScope(this.latest.add, this.latest, entry)
    } catch (err) {
      logSafely(this.#logger, 'error', { err, channel: this.settings.name }, 'sse compactBy failed')
    }
  }

  /** Adds the stored history: its entries, too, may be evicted before a slow reader has received them. */
  async #loadLatest (): Promise<void> {
    const { epoch, entries } = await this.log.read(0, this.settings.history.maxEvents)
    if (epoch !== this.epoch) return
    for (const entry of entries) this.#addLatest(this.review(entry, epoch))
  }
}
