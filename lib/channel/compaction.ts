import type { DecodedEvent, ReviewedEntry } from './frame-batch.ts'
import { LatestByKey } from './latest-by-key.ts'
import type { HistoryLimits, LogBatch, LogEntry } from '../log/log.ts'
import { keyOf } from './projection.ts'
import { sharedScope } from '../scope.ts'

// A slow reader receives at most this many characters of the latest events at once.
const MAX_LATEST = 32 * 1024

/** The part of a feed that a compaction needs. */
export interface CompactedFeed {
  readonly epoch: string
  /** The last known offset. */
  readonly newest: number
  readonly settings: { readonly history: HistoryLimits }
  readonly log: { readonly read: (after: number, limit: number) => LogBatch | Promise<LogBatch> }
  review: (entry: LogEntry, epoch: string) => ReviewedEntry
  decode: (entry: LogEntry) => DecodedEvent
  /** Whether an event is the error that the channel ended with, which its map does not declare. */
  isFailure: (entry: ReviewedEntry) => boolean
  logError: (error: unknown, text: string) => void
}

/** Receives the entries of a compaction as they are added: a pacer. */
export interface CompactionFollower {
  /** `key`: of the entry, or unique to it if the entry has no key. */
  add: (key: unknown, entry: ReviewedEntry, isKeyed: boolean) => void
  /** Called for an entry that no subscriber receives. */
  pass: (offset: number) => void
  /** Called when the entries up to an offset were not added. */
  skipTo: (offset: number) => void
  /** Called when the log has ended. */
  end: () => void
  /** Called when the log began a new epoch. */
  reset: (epoch: string, newest: number) => void
}

/** Entries of a log without those that a later one of their key replaces. */
export interface CompactedBatch extends LogBatch {
  /** The number of entries before the first that left the limits, and that no later one replaces. */
  readonly lost: number
  /** The offset of a reader that has received the entries. */
  readonly to: number
}

/**
 * The log of a channel, compacted by the keys of one function: the latest event of each key, and all events without a
 * key. Slow readers and paced readers read it in place of the log.
 */
export class Compaction<F extends CompactionFollower = CompactionFollower> {
  readonly key: (event: DecodedEvent) => unknown
  readonly pacers = new Set<F>()
  readonly #feed: CompactedFeed
  readonly #option: string
  readonly #latest: LatestByKey
  /** All entries after this offset were added; Infinity: none were. */
  #from = Infinity
  /** The offset of the last entry that was added; -1: none yet. */
  #to = -1
  #loading: Promise<boolean> | undefined

  /** `option`: the name of the option with the key function, for messages. */
  constructor (feed: CompactedFeed, key: (event: DecodedEvent) => unknown, option: string) {
    this.#feed = feed
    this.key = key
    this.#option = option
    this.#latest = new LatestByKey(feed.settings.history)
  }

  /** The offset of the last entry that was added. */
  get to (): number { return this.#to }

  /** Begins at the end of the log, unless it has begun. */
  begin (): void {
    if (this.#to < 0) this.startAt(this.#feed.newest)
  }

  /** Begins anew: entries up to this offset are read from the log. */
  startAt (offset: number): void {
    for (const pacer of this.pacers) pacer.skipTo(offset)
    this.#latest.clear()
    this.#from = this.#to = offset
  }

  /** Begins anew in another epoch. */
  restart (epoch: string, newest: number): void {
    for (const pacer of this.pacers) pacer.reset(epoch, newest)
    this.startAt(newest)
  }

  /** Drops all entries, when the tail stops. `begin` begins anew. */
  stop (): void {
    this.startAt(-1)
    this.#from = Infinity
  }

  /** Adds an entry that the tail has delivered. */
  add (entry: ReviewedEntry): void {
    const omitted = entry.omitted === true
    const key = omitted ? undefined : this.#keyOf(entry)
    // A key function that publishes has already added later entries.
    if (entry.offset <= this.#to) return
    if (entry.offset !== this.#to + 1) this.startAt(entry.offset - 1)
    this.#to = entry.offset
    if (omitted) {
      for (const pacer of this.pacers) pacer.pass(entry.offset)
      return
    }
    const isKeyed = key !== undefined && key !== null
    const own = isKeyed ? key : Symbol('no key')
    this.#latest.add(own, entry)
    for (const pacer of this.pacers) pacer.add(own, entry, isKeyed)
  }

  /** Called after a batch of the tail without entries, or with the end of the log. */
  reach (newest: number, ended: boolean): void {
    if (newest > this.#to) this.startAt(newest)
    if (ended) for (const pacer of this.pacers) pacer.end()
  }

  /** Loads the history if entries after the offset are missing: later, they may be evicted. */
  cover (offset: number): void {
    // A reader that needs the entries loads them again, and reports the error.
    if (offset < this.#from) this.#load().catch(() => {})
  }

  /** Returns entries after the position of a reader, up to an offset. */
  read (
    { epoch, position }: { readonly epoch: string, readonly position: number },
    limit: number,
    upTo: number
  ): LogBatch | CompactedBatch | Promise<CompactedBatch | LogBatch> {
    // The log has another epoch, or will have it at once. Or it has entries that the tail has not delivered yet.
    if (epoch !== this.#feed.epoch || position >= this.#to) return this.#feed.log.read(position, limit)
    if (position >= this.#from) return this.#take(position, limit, Math.min(upTo, this.#to))
    return this.#load().then(isLoaded =>
      isLoaded ? this.#take(position, limit, Math.min(upTo, this.#to)) : this.#feed.log.read(position, limit)
    )
  }

  #take (position: number, limit: number, upTo: number): CompactedBatch {
    const { entries, to } = this.#latest.between(position, upTo, limit, MAX_LATEST)
    // Entries before the first known one left the log before this process read them.
    const known = Math.max(position, Math.min(this.#from, upTo))
    const lost = known - position + this.#latest.lostBetween(known, upTo)
    return { epoch: this.#feed.epoch, newest: upTo, ended: false, entries, lost, to }
  }

  /** Resolves to false if the compaction began anew meanwhile, or the log has another epoch. */
  #load (): Promise<boolean> {
    this.#loading ??= this.#readHistory().finally(() => { this.#loading = undefined })
    return this.#loading
  }

  /** Adds the stored entries before those that the tail has delivered. */
  async #readHistory (): Promise<boolean> {
    const { epoch, log, settings: { history } } = this.#feed
    const from = this.#from
    let stored: LogEntry[] = []
    for (let last = 0; last < from;) {
      // A log may return fewer entries than it has.
      const { epoch: read, entries } = await log.read(last, Math.max(1, history.maxEvents))
      if (read !== epoch || this.#feed.epoch !== epoch || this.#from !== from) return false
      if (entries.length === 0) break
      // Entries were evicted between two reads.
      if (entries[0]!.offset !== last + 1) stored = []
      stored.push(...entries.filter(({ offset }) => offset <= from))
      last = entries.at(-1)!.offset
    }
    if (stored.length === 0) return true
    const older = stored.map(entry => this.#feed.review(entry, epoch)).filter(({ omitted }) => omitted === undefined)
    this.#latest.prepend(older.map(entry => [this.#keyOf(entry) ?? Symbol('no key'), entry]))
    this.#from = stored[0]!.offset - 1
    return true
  }

  /** Returns the key of an entry. It is a function of the user: if it fails, the event has no key, so none is lost. */
  #keyOf (entry: ReviewedEntry): unknown {
    if (this.#feed.isFailure(entry)) return undefined
    try {
      return sharedScope.runInAsyncScope(keyOf, undefined, this.#feed.decode(entry), this.key, this.#option)
    } catch (err) {
      this.#feed.logError(err, `sse ${this.#option} failed`)
      return undefined
    }
  }
}
