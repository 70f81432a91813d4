import { FST_SSE_CHANNEL_ENDED } from '../errors.ts'
import { Fifo } from '../fifo.ts'
import { newEpoch } from './epoch.ts'
import type { EventLog, HistoryLimits, LogBatch, LogEntry, LogState, LogPosition, LogRecord, EventLogFactory } from './log.ts'

/** Logs in the memory of this process: for one node, gone with it. */
export function memoryLog (): EventLogFactory {
  return (_name, history) => new MemoryLog(history)
}

interface Kept { entry: LogEntry, size: number, at: number }

class MemoryLog implements EventLog {
  readonly #epoch = newEpoch()
  readonly #history: HistoryLimits
  readonly #listeners = new Set<(batch: LogBatch) => void>()
  readonly #kept = new Fifo<Kept>()
  #bytes = 0
  #newest = 0
  #ended = false
  /** When somebody last wrote, stopped listening, or was told the position: whoever has one may come back with it. */
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
    this.#kept.push({ entry, size, at })
    this.#bytes += size
    this.#evict(at)
    this.#tell([entry])
    return { epoch: this.#epoch, offset: entry.offset }
  }

  read (after: number, limit: number): LogBatch {
    this.#evict(performance.now())
    const first = Math.max(0, after + 1 - this.#oldest)
    return this.#batch(this.#kept.slice(first, first + limit).map(kept => kept.entry))
  }

  state (): LogState {
    this.#evict(this.#usedAt = performance.now())
    return { epoch: this.#epoch, oldest: this.#oldest, newest: this.#newest, ended: this.#ended }
  }

  tail (listener: (batch: LogBatch) => void): () => void {
    // One function may listen twice, and each of the two stops by itself.
    const told = (batch: LogBatch): void => listener(batch)
    this.#listeners.add(told)
    return () => {
      this.#listeners.delete(told)
      this.#usedAt = performance.now()
    }
  }

  end (): void {
    if (this.#ended) return
    this.#ended = true
    this.#usedAt = performance.now()
    this.#tell([])
  }

  /** Its events are gone by their age, and so would be those that a client missed. */
  isIdle (): boolean {
    const now = performance.now()
    this.#evict(now)
    return this.#listeners.size === 0 && now - this.#usedAt >= this.#history.maxAge
  }

  close (): void {
    this.#listeners.clear()
    this.#kept.clear()
  }

  get #oldest (): number { return this.#newest - this.#kept.size + 1 }

  #batch (entries: readonly LogEntry[]): LogBatch {
    return { epoch: this.#epoch, newest: this.#newest, ended: this.#ended, entries }
  }

  #tell (entries: readonly LogEntry[]): void {
    const batch = this.#batch(entries)
    for (const listener of this.#listeners) listener(batch)
  }

  #evict (now: number): void {
    const { maxEvents: events, maxBytes: bytes, maxAge: age } = this.#history
    for (let oldest = this.#kept.first; oldest !== undefined; oldest = this.#kept.first) {
      if (this.#kept.size <= events && this.#bytes <= bytes && now - oldest.at < age) return
      this.#bytes -= oldest.size
      this.#kept.shift()
    }
  }
}
