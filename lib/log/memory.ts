import { FST_SSE_CHANNEL_ENDED } from '../errors.ts'
import { Fifo } from '../fifo.ts'
import { newEpoch } from './epoch.ts'
import type { EventLog, HistoryLimits, LogBatch, LogEntry, LogState, LogPosition, LogRecord, EventLogFactory } from './log.ts'

/** Logs in the memory of this process: for one node, gone with it. */
export function memoryLog (): EventLogFactory {
  return (_name, history) => new MemoryLog(history)
}

interface StoredEntry { entry: LogEntry, size: number, at: number }

class MemoryLog implements EventLog {
  readonly #epoch = newEpoch()
  readonly #history: HistoryLimits
  readonly #listeners = new Set<(batch: LogBatch) => void>()
  readonly #stored = new Fifo<StoredEntry>()
  #bytes = 0
  #newest = 0
  #ended = false
  /** When somebody last wrote, stopped listening, or was own the position: whoever has one may come back with it. */
  #usedAt = -Infinity

  constructor (history: HistoryLimits) {
    this.#history = history
  }

  append ({ event, data, json, fingerprint }: LogRecord): LogPosition {
    if (this.#ended) throw new FST_SSE_CHANNEL_ENDED()
    const at = this.#usedAt = performance.now()
    const plain = { offset: ++this.#newest, event, data, json }
    const entry = fingerprint === undefined ? plain : { ...plain, fingerprint }
    const size = Buffer.byteLength(event) + Buffer.byteLength(data)
    this.#stored.push({ entry, size, at })
    this.#bytes += size
    this.#evict(at)
    this.#notify([entry])
    return { epoch: this.#epoch, offset: entry.offset }
  }

  read (after: number, limit: number): LogBatch {
    this.#evict(performance.now())
    const first = Math.max(0, after + 1 - this.#oldest)
    return this.#batch(this.#stored.slice(first, first + limit).map(stored => stored.entry))
  }

  state (): LogState {
    this.#evict(this.#usedAt = performance.now())
    return { epoch: this.#epoch, oldest: this.#oldest, newest: this.#newest, ended: this.#ended }
  }

  tail (listener: (batch: LogBatch) => void): () => void {
    // One function may listen twice, and each of the two stops by itself.
    const own = (batch: LogBatch): void => listener(batch)
    this.#listeners.add(own)
    return () => {
      this.#listeners.delete(own)
      this.#usedAt = performance.now()
    }
  }

  end (): void {
    if (this.#ended) return
    this.#ended = true
    this.#usedAt = performance.now()
    this.#notify([])
  }

  /** Its events are gone by their age, and so would be those that a client missed. */
  isIdle (): boolean {
    const now = performance.now()
    this.#evict(now)
    return this.#listeners.size === 0 && now - this.#usedAt >= this.#history.maxAge
  }

  close (): void {
    this.#listeners.clear()
    this.#stored.clear()
  }

  get #oldest (): number { return this.#newest - this.#stored.size + 1 }

  #batch (entries: readonly LogEntry[]): LogBatch {
    return { epoch: this.#epoch, newest: this.#newest, ended: this.#ended, entries }
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
