import { Broadcast, type LiveReader } from './broadcast.ts'
import type { ResetReason } from '../contract/event-types.ts'
import { diagnostics, publishForSubscriber } from '../metrics/diagnostics.ts'
import type { RequestScope } from './subscriber-context.ts'
import { decodeEntry, type DecodedEvent, type ReviewedEntry } from './frame-batch.ts'
import { Compaction, type CompactedFeed } from './compaction.ts'
import { Pacer } from './pacer.ts'
import type { Pace } from './pace.ts'
import { logSafely } from '../log-safely.ts'
import { freeContract, type Contract } from '../contract/contract.ts'
import { FAILURE } from '../schema/fingerprint.ts'
import type { EventLog, LogBatch, LogEntry, LogState } from '../log/log.ts'
import { EntryReview } from './entry-review.ts'
import { sharedScope } from '../scope.ts'
import type { ChannelLogger, ChannelSettings } from './settings.ts'
import { isThenable } from '../source/source.ts'
import { Statistics } from '../metrics/statistics.ts'

/** A reader of a feed, at any position. */
export interface FeedReader extends LiveReader {
  /** Called when the channel is closed in this process. */
  close: () => void
}

/**
 * The live side of a channel in this process: its log and its readers. It knows only which readers are at the end of
 * the log: these receive published events from the broadcast. All others read the log.
 */
export class Feed implements CompactedFeed {
  readonly settings: ChannelSettings
  readonly log: EventLog
  readonly statistics: Statistics
  readonly #logger: ChannelLogger
  readonly #review: EntryReview
  readonly #broadcast: Broadcast
  epoch = ''
  /** The last known offset. */
  newest = 0
  ended = false
  /** The compaction for slow readers; undefined without `compactBy`. */
  readonly compaction: Compaction<Pacer> | undefined
  /** All compactions, also those of pacers; undefined without any, so that an event costs nothing more. */
  #compactions: Array<Compaction<Pacer>> | undefined
  /** All readers, at any position. */
  readonly #readers = new Set<FeedReader>()
  #stopTail: (() => void) | undefined

  constructor (
    settings: ChannelSettings,
    log: EventLog,
    logger: ChannelLogger,
    statistics = new Statistics(),
    contract: Contract = freeContract
  ) {
    const { name, slowConsumer } = settings
    this.settings = settings
    this.log = log
    this.#logger = logger
    this.statistics = statistics
    this.#review = new EntryReview(contract, name, statistics, logger)
    this.#broadcast = new Broadcast(name, statistics.latency)
    if (typeof slowConsumer === 'object') {
      this.compaction = this.#compactionBy(slowConsumer.compactBy, 'slowConsumer.compactBy')
    }
  }

  /** Whether an event is the error that the channel ended with, which its map does not declare. */
  isFailure ({ fingerprint }: ReviewedEntry): boolean { return fingerprint === FAILURE }
  /** Returns an entry of the log as this process sends it. */
  review (entry: LogEntry, epoch: string): ReviewedEntry { return this.#review.review(entry, epoch) }

  /** Logs an error of a function of the user. */
  logError (err: unknown, text: string): void {
    logSafely(this.#logger, 'error', { err, channel: this.settings.name }, text)
  }

  get readers (): number { return this.#readers.size }

  /** The number of readers that are not at the end of the log. */
  get lagging (): number {
    let live = this.#broadcast.size
    for (const { pacers } of this.#compactions ?? []) for (const { size } of pacers) live += size
    return this.#readers.size - live
  }

  decode (entry: LogEntry): DecodedEvent {
    return decodeEntry(entry, `${this.epoch}-${entry.offset}`)
  }

  /** Adds a reader. Tails the log before reading its state, so no event is lost in between. */
  add (reader: FeedReader): LogState | Promise<LogState> {
    this.#readers.add(reader)
    if (this.#stopTail !== undefined) return this.state()
    this.#stopTail = sharedScope.runInAsyncScope(this.log.tail, this.log, this.#onBatch)
    return this.state()
  }

  remove (reader: FeedReader): void {
    this.#broadcast.remove(reader)
    if (!this.#readers.delete(reader) || this.#readers.size > 0) return
    this.#stopTail?.()
    this.#stopTail = undefined
    this.#broadcast.reset(this.epoch)
    for (const compaction of this.#compactions ?? []) compaction.stop()
  }

  /** Adds a subscriber to the pacer of its pace, which is made for the first one. */
  joinPacer ({ every, key }: Pace): Pacer {
    const compaction = this.#compactionBy(key, 'pace.key')
    let pacer = [...compaction.pacers].find(pacer => pacer.every === every)
    if (pacer === undefined) {
      const { epoch, settings: { name }, statistics: { latency } } = this
      pacer = new Pacer(every, { name, epoch, latency, compaction })
      compaction.pacers.add(pacer)
    }
    pacer.users++
    return pacer
  }

  /** Removes a subscriber from its pacer, and the pacer with its last subscriber. */
  leavePacer (pacer: Pacer): void {
    if (--pacer.users > 0) return
    const { compaction } = pacer
    pacer.stop()
    compaction.pacers.delete(pacer)
    if (compaction.pacers.size > 0 || compaction === this.compaction) return
    const others = this.#compactions!.filter(other => other !== compaction)
    this.#compactions = others.length > 0 ? others : undefined
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

  /** Counts events that a subscriber did not receive, because a later one of their key replaced them. */
  recordMerge (merged: number, record: RequestScope | undefined): void {
    this.statistics.merged += merged
    if (diagnostics.merge.hasSubscribers) {
      publishForSubscriber(record, diagnostics.merge, { channel: this.settings.name, merged })
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
    for (const { pacers } of this.#compactions ?? []) for (const pacer of pacers) pacer.flush()
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
    this.#broadcast.reset(epoch)
    for (const compaction of this.#compactions ?? []) compaction.restart(epoch, newest)
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
      if (this.#compactions !== undefined) this.#compact(entry)
      this.#broadcast.push(entry)
    }
    this.#broadcast.schedule()
    if (this.#compactions === undefined || (batch.entries.length > 0 && !batch.ended)) return
    for (const compaction of this.#compactions) compaction.reach(batch.newest, batch.ended)
  }

  #compact (entry: ReviewedEntry): void {
    for (const compaction of this.#compactions!) compaction.add(entry)
  }

  /** Returns the compaction by a key function, made if there is none. */
  #compactionBy (key: Pace['key'], option: string): Compaction<Pacer> {
    let compaction = this.#compactions?.find(other => other.key === key)
    if (compaction === undefined) {
      compaction = new Compaction<Pacer>(this, key, option)
      this.#compactions = [...this.#compactions ?? [], compaction]
    }
    return compaction
  }
}
