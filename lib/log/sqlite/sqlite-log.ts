import { now } from '../../clock.ts'
import { FST_SSE_CLOSING } from '../../errors.ts'
import type {
  EventLog, HeldMembers, HistoryLimits, KeyedPosition, LogBatch, LogPosition, LogRecord, LogState, LogStatus
} from '../log.ts'
import { toLogError } from './sqlite-error.ts'
import type { Store } from './store.ts'
import type { StoredLog } from './stored-log.ts'

// Milliseconds. An unused log is closed after this time at the latest; the next use opens it again.
const IDLE_AFTER = 300_000

/** One open log. All that are open by one name share the stored log. */
export class SqliteLog implements Required<Omit<EventLog, 'appendIn'>> {
  readonly #name: string
  readonly #store: Store
  readonly #log: StoredLog
  readonly #onClose: () => void
  readonly #listeners = new Set<(batch: LogBatch) => void>()
  readonly #idleAfter: number
  #usedAt = now()
  #collecting = false
  #closed = false

  constructor (name: string, history: HistoryLimits, store: Store, onClose: () => void) {
    this.#name = name
    this.#store = store
    this.#log = store.log(name, history)
    this.#log.users++
    this.#onClose = onClose
    this.#idleAfter = Math.min(history.maxAge, IDLE_AFTER)
  }

  append (record: LogRecord): Promise<LogPosition> { return this.#enqueue(() => this.#log.append(record)) }

  appendOnce (record: LogRecord, key: string): Promise<KeyedPosition> {
    return this.#enqueue(() => this.#log.appendOnce(record, key))
  }

  async read (after: number, limit: number): Promise<LogBatch> {
    if (this.#log.head === undefined) await this.#enqueue(() => this.#log.create())
    return this.#try(() => this.#log.read(after, limit))
  }

  async state (): Promise<LogState> {
    if (this.#log.head === undefined) await this.#enqueue(() => this.#log.create())
    return this.#try(() => this.#log.state())
  }

  tail (listener: (batch: LogBatch) => void): () => void {
    // One function may be added twice: each call returns its own removal.
    const own = (batch: LogBatch): void => listener(batch)
    if (!this.#closed) this.#log.listeners.add(own)
    this.#listeners.add(own)
    return () => {
      this.#usedAt = now()
      this.#listeners.delete(own)
      this.#log.listeners.delete(own)
    }
  }

  end (last?: LogRecord, outcome?: string): Promise<void> { return this.#enqueue(() => this.#log.end(last, outcome)) }

  async peek (): Promise<LogStatus | undefined> { return this.#try(() => this.#log.status()) }

  lease (owner: string, duration: number): Promise<boolean> {
    return this.#enqueue(() => this.#log.lease(owner, duration))
  }

  hold (holder: string, change: HeldMembers, duration: number): Promise<boolean> {
    return this.#enqueue(() => this.#log.members.hold(holder, change, duration))
  }

  members (): Promise<readonly string[]> { return this.#enqueue(() => this.#log.members.members()) }

  /** Returns true after a time without use: the file keeps the entries for clients that reconnect. */
  isIdle (): boolean {
    if (!this.#collecting && this.#log.hasGarbage) this.#collect()
    return this.#listeners.size === 0 && this.#log.steps === 0 && now() - this.#usedAt >= this.#idleAfter
  }

  close (): void {
    if (this.#closed) return
    this.#closed = true
    for (const listener of this.#listeners) this.#log.listeners.delete(listener)
    this.#listeners.clear()
    if (--this.#log.users === 0) {
      if (this.#log.hasUse) this.#store.enqueue(this.#log, () => this.#log.saveUse()).catch(() => {})
      this.#store.release(this.#log)
    }
    this.#onClose()
  }

  /** Deletes evicted entries from the file, a part of them per turn. */
  async #collect (): Promise<void> {
    this.#collecting = true
    try {
      while (!this.#closed && this.#log.hasGarbage) await this.#store.enqueue(this.#log, () => this.#log.collect())
    } catch {
      // The next call of isIdle tries it again.
    }
    this.#collecting = false
  }

  #enqueue<T> (step: () => T): Promise<T> {
    if (this.#closed) return Promise.reject(new FST_SSE_CLOSING())
    this.#usedAt = now()
    return this.#store.enqueue(this.#log, step)
  }

  /** Reads the file at once. */
  #try<T> (read: () => T): T {
    if (this.#closed) throw new FST_SSE_CLOSING()
    this.#usedAt = now()
    try {
      return read()
    } catch (error) {
      throw toLogError(this.#name, error)
    }
  }
}
