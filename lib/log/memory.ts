import { FST_SSE_CHANNEL_ENDED } from '../errors.ts'
import { Fifo } from '../fifo.ts'
import { newEpoch } from './epoch.ts'
import type {
  EventLogFactory, HistoryLimits, LogBatch, LogEntry, LogPosition, LogRecord, LogState,
  LogStatus, RunLog
} from './log.ts'

/** Returns a factory of logs in the memory of this process: for one node, and lost when it exits. */
export function memoryLog (): EventLogFactory {
  const names = new Map<string, string>()
  const open = (name: string, history: HistoryLimits): RunLog => {
    const log = new MemoryLog(history, epoch => names.delete(epoch))
    names.set(log.epoch, name)
    return log
  }
  return Object.assign(open, { locate: (epoch: string) => names.get(epoch) })
}

interface StoredEntry { entry: LogEntry, size: number, at: number }

class MemoryLog implements RunLog {
  readonly epoch = newEpoch()
  readonly #history: HistoryLimits
  readonly #listeners = new Set<(batch: LogBatch) => void>()
  readonly #stored = new Fifo<StoredEntry>()
  #bytes = 0
  #newest = 0
  #ended = false
  #outcome: string | undefined
  /** The first owner of the lease. */
  #owner: string | undefined
  #lease: { owner: string, until: number } | undefined
  readonly #onClose: (epoch: string) => void
  /**
   * The time of the last append, removal of a listener or read of the state: a client with that position may reconnect.
   */
  #usedAt = -Infinity

  constructor (history: HistoryLimits, onClose: (epoch: string) => void) {
    this.#history = history
    this.#onClose = onClose
  }

  append (record: LogRecord): LogPosition {
    if (this.#ended) throw new FST_SSE_CHANNEL_ENDED()
    const entry = this.#store(record)
    this.#notify([entry])
    return { epoch: this.epoch, offset: entry.offset }
  }

  #store ({ event, data, json, fingerprint }: LogRecord): LogEntry {
    const at = this.#usedAt = performance.now()
    const plain = { offset: ++this.#newest, event, data, json }
    const entry = fingerprint === undefined ? plain : { ...plain, fingerprint }
    const size = Buffer.byteLength(event) + Buffer.byteLength(data)
    this.#stored.push({ entry, size, at })
    this.#bytes += size
    this.#evict(at)
    return entry
  }

  read (after: number, limit: number): LogBatch {
    this.#evict(performance.now())
    const first = Math.max(0, after + 1 - this.#oldest)
    return this.#batch(this.#stored.slice(first, first + limit).map(stored => stored.entry))
  }

  state (): LogState {
    this.#evict(this.#usedAt = performance.now())
    return { epoch: this.epoch, oldest: this.#oldest, newest: this.#newest, ended: this.#ended }
  }

  tail (listener: (batch: LogBatch) => void): () => void {
    // One function may be added twice: each call returns its own removal.
    const own = (batch: LogBatch): void => listener(batch)
    this.#listeners.add(own)
    return () => {
      this.#listeners.delete(own)
      this.#usedAt = performance.now()
    }
  }

  end (last?: LogRecord, outcome?: string): void {
    if (this.#ended) return
    const entries = last === undefined ? [] : [this.#store(last)]
    this.#ended = true
    this.#outcome = outcome
    this.#usedAt = performance.now()
    this.#notify(entries)
  }

  peek (): LogStatus {
    const leased = !this.#ended && this.#lease !== undefined && this.#lease.until > performance.now()
    return {
      epoch: this.epoch,
      newest: this.#newest,
      ended: this.#ended,
      outcome: this.#outcome,
      owner: this.#owner,
      leased
    }
  }

  lease (owner: string, duration: number): boolean {
    const now = performance.now()
    const lease = this.#lease
    if (this.#ended || (lease !== undefined && lease.owner !== owner && lease.until > now)) return false
    if (duration === 0) {
      this.#lease = undefined
      return true
    }
    this.#usedAt = now
    this.#owner ??= owner
    this.#lease = { owner, until: now + duration }
    return true
  }

  /** Returns true when all entries have expired by age, also those entries that a client may have missed. */
  isIdle (): boolean {
    const now = performance.now()
    this.#evict(now)
    return this.#listeners.size === 0 && now - this.#usedAt >= this.#history.maxAge
  }

  close (): void {
    this.#listeners.clear()
    this.#stored.clear()
    this.#onClose(this.epoch)
  }

  get #oldest (): number { return this.#newest - this.#stored.size + 1 }

  #batch (entries: readonly LogEntry[]): LogBatch {
    return { epoch: this.epoch, newest: this.#newest, ended: this.#ended, entries }
  }

  #notify (entries: readonly LogEntry[]): void {
    const batch = this.#batch(entries)
    for (const listener of this.#listeners) listener(batch)
  }

  #evict (now: number): void {
    const { maxEvents: events, maxBytes: bytes, maxAge: age } = this.#history
    for (let oldest = this.#stored.first; oldest !== undefined; oldest = this.#stored.first) {
      if (this.#stored.size <= events && this.#bytes <= bytes && now - oldest.at < age) return
      this.#bytes -= oldest.size
      this.#stored.shift()
    }
  }
}
