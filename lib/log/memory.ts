import { FST_SSE_CHANNEL_ENDED, FST_SSE_CLOSING } from '../errors.ts'
import { Fifo } from '../fifo.ts'
import { newEpoch } from './epoch.ts'
import { KeyedAppends } from './keyed-appends.ts'
import { logEntry } from './log-entry.ts'
import type {
  EventLogFactory, HeldMembers, HistoryLimits, KeyedPosition, LogBatch, LogEntry, LogPosition, LogRecord,
  LogState, LogStatus, MemberLog, RunLog
} from './log.ts'
import { MemberTable } from './member-table.ts'

/** Returns a factory of logs in the memory of this process: for one node, and lost when it exits. */
export function memoryLog (): EventLogFactory {
  const names = new Map<string, string>()
  const open = (name: string, history: HistoryLimits): RunLog => {
    const log = new MemoryLog(history, names)
    names.set(log.epoch, name)
    return log
  }
  return Object.assign(open, { locate: (epoch: string) => names.get(epoch) })
}

interface StoredEntry { entry: LogEntry, size: number, at: number }

class MemoryLog implements RunLog, MemberLog {
  readonly epoch = newEpoch()
  readonly #history: HistoryLimits
  /** Undefined before the first listener. */
  #listeners: Set<(batch: LogBatch) => void> | undefined
  readonly #stored = new Fifo<StoredEntry>()
  #bytes = 0
  #newest = 0
  #ended = false
  #closed = false
  #outcome: string | undefined
  /** The first owner of the lease. */
  #owner: string | undefined
  #lease: { owner: string, until: number } | undefined
  /** The members, once there was one. */
  #members: MemberTable | undefined
  /** Undefined before the first append with a key. */
  #keyed: KeyedAppends | undefined
  /** The names of the open logs, by epoch. */
  readonly #names: Map<string, string>
  /**
   * The time of the last append, removal of a listener or read of the state: a client with that position may reconnect.
   */
  #usedAt = -Infinity

  constructor (history: HistoryLimits, names: Map<string, string>) {
    this.#history = history
    this.#names = names
  }

  append (record: LogRecord): LogPosition {
    if (this.#closed) throw new FST_SSE_CLOSING()
    if (this.#ended) throw new FST_SSE_CHANNEL_ENDED()
    const entry = this.#store(record)
    this.#notify([entry])
    return { epoch: this.epoch, offset: entry.offset }
  }

  appendOnce (record: LogRecord, key: string): KeyedPosition {
    if (this.#closed) throw new FST_SSE_CLOSING()
    const now = performance.now()
    const keyed = this.#keyed ??= new KeyedAppends()
    const first = keyed.find(key, now)
    if (first !== undefined) return { epoch: this.epoch, offset: first, appended: false }
    if (this.#ended) throw new FST_SSE_CHANNEL_ENDED()
    const entry = this.#store(record)
    // Before the delivery: a listener may publish with this key.
    keyed.add(key, entry.offset, now)
    this.#notify([entry])
    return { epoch: this.epoch, offset: entry.offset, appended: true }
  }

  #store ({ event, data, json, fingerprint }: LogRecord): LogEntry {
    const at = this.#usedAt = performance.now()
    const entry = logEntry(++this.#newest, event, data, json, fingerprint)
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
    const listeners = this.#listeners ??= new Set()
    listeners.add(own)
    return () => {
      listeners.delete(own)
      this.#usedAt = performance.now()
    }
  }

  end (last?: LogRecord, outcome?: string): void {
    if (this.#ended) return
    const entries = last === undefined ? [] : [this.#store(last)]
    this.#ended = true
    this.#outcome = outcome
    this.#members = undefined
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

  hold (holder: string, change: HeldMembers, duration: number): boolean {
    if (this.#ended) throw new FST_SSE_CHANNEL_ENDED()
    const now = this.#usedAt = performance.now()
    this.#members ??= new MemberTable()
    const left = this.#members.expire(now)
    const { held, records } = this.#members.hold(holder, change, now + duration)
    this.#appendAll([...left, ...records])
    return held
  }

  members (): readonly string[] {
    if (this.#members === undefined) return []
    this.#appendAll(this.#members.expire(performance.now()))
    return this.#members.members
  }

  #appendAll (records: readonly LogRecord[]): void {
    if (records.length > 0) this.#notify(records.map(record => this.#store(record)))
  }

  /**
   * Returns true when all keys have expired, and all entries by age, also those entries that a client may have missed.
   */
  isIdle (): boolean {
    const now = performance.now()
    this.#evict(now)
    if (this.#keyed?.isEmpty(now) === true) this.#keyed = undefined
    const listeners = this.#listeners?.size ?? 0
    const isUsed = this.#keyed !== undefined || listeners > 0 || this.members().length > 0
    return !isUsed && now - this.#usedAt >= this.#history.maxAge
  }

  close (): void {
    this.#closed = true
    this.#listeners?.clear()
    this.#stored.clear()
    this.#members = undefined
    this.#names.delete(this.epoch)
  }

  get #oldest (): number { return this.#newest - this.#stored.size + 1 }

  #batch (entries: readonly LogEntry[]): LogBatch {
    return { epoch: this.epoch, newest: this.#newest, ended: this.#ended, entries }
  }

  #notify (entries: readonly LogEntry[]): void {
    if (this.#listeners === undefined) return
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
