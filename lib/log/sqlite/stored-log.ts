import { FST_SSE_CHANNEL_ENDED } from '../../errors.ts'
import { newEpoch } from '../epoch.ts'
import { logEntry } from '../log-entry.ts'
import {
  KEY_DURATION, type HistoryLimits, type KeyedPosition, type LogBatch, type LogEntry, type LogPosition,
  type LogRecord, type LogState, type LogStatus
} from '../log.ts'
import type { Rows } from './database.ts'
import { newHead, readEvents, readHead, type Head } from './rows.ts'
import * as sql from './statements.ts'
import { StoredMembers } from './stored-members.ts'

// Evicted entries leave the file when they are so many, or have so many bytes; and so many leave it in one turn.
const MAX_GARBAGE = 64
const MAX_GARBAGE_BYTES = 65_536
const CHUNK = 2_000
// Bytes, after which a read returns no further entry: SQLite answers with one text of limited length.
const READ_BYTES = 16_777_216

interface FreshEntry { readonly entry: LogEntry, readonly size: number, readonly before: number, readonly at: number }

/** A log in memory. It reads the file at once, and its steps run in the transactions of the store. */
export class StoredLog {
  readonly name: string
  /** The number of open logs of that name, and of steps that wait. */
  users = 0
  steps = 0
  readonly listeners = new Set<(batch: LogBatch) => void>()
  readonly #history: HistoryLimits
  readonly #store: Rows
  /** Undefined before the first use. */
  #members: StoredMembers | undefined
  #head: Head | undefined
  #saved: Head | undefined
  /** Entries of this transaction. */
  #fresh: FreshEntry[] = []
  #changed = false
  /** The time of the last use that keeps the channel: a peek and an open log do not. */
  #usedAt: number
  /** That time in the file. */
  #savedUse: number

  constructor (name: string, history: HistoryLimits, store: Rows) {
    this.name = name
    this.#history = history
    this.#store = store
    const found = readHead(store, name)
    this.#head = found?.head
    this.#usedAt = this.#savedUse = found?.used ?? 0
  }

  /** Undefined: the file has no log of that name. */
  get head (): Head | undefined { return this.#head }

  /** Whether the file has an earlier time of the last use. */
  get hasUse (): boolean { return this.#head !== undefined && this.#usedAt > this.#savedUse }

  /** Returns the state of a log that `create` has created. */
  state (): LogState {
    const head = this.#head!
    this.#usedAt = this.#store.now
    this.#evict(head)
    const { epoch, oldest, newest, ended } = head
    return { epoch, oldest, newest, ended }
  }

  read (after: number, limit: number): LogBatch {
    const { epoch, oldest, newest, ended } = this.state()
    if (after >= newest || oldest > newest) return { epoch, newest, ended, entries: [] }
    const first = Math.max(oldest, after + 1)
    const { id, total, oldestBefore } = this.#head!
    const end = total - oldestBefore > READ_BYTES
      ? this.#store.get(sql.READ_END, id, first, first + limit, READ_BYTES, id, first)?.number
      : undefined
    const count = end === undefined ? limit : Number(end) - first
    return { epoch, newest, ended, entries: readEvents(this.#store, id, first, count) }
  }

  status (): LogStatus | undefined {
    if (this.#head === undefined) return undefined
    const { epoch, newest, ended, outcome, owner, until } = this.#head
    return { epoch, newest, ended, outcome, owner, leased: !ended && until > this.#store.now }
  }

  // Steps.

  create (): Head {
    if (this.#head !== undefined) return this.#head
    const now = this.#usedAt = this.#savedUse = this.#store.now
    const [id, epoch] = [this.#store.newId(), newEpoch()]
    this.#store.run(sql.INSERT_CHANNEL, id, this.name, epoch, now, this.#age, now, this.#expires)
    this.#head = newHead(id, epoch, now)
    return this.#head
  }

  /** Returns the state of a log that has not ended, created if there is none. */
  open (): Head {
    const head = this.create()
    if (head.ended) throw new FST_SSE_CHANNEL_ENDED()
    return head
  }

  append (record: LogRecord): LogPosition {
    const head = this.open()
    this.#add(head, record)
    return { epoch: head.epoch, offset: head.newest }
  }

  appendOnce (record: LogRecord, key: string): KeyedPosition {
    const { id, epoch } = this.create()
    const { now } = this.#store
    const found = this.#store.get(sql.FIND_KEY, id, key, now - KEY_DURATION)
    if (found !== undefined) return { epoch, offset: Number(found.number), appended: false }
    const { offset } = this.append(record)
    this.#store.run(sql.INSERT_KEY, id, key, offset, now)
    return { epoch, offset, appended: true }
  }

  end (last: LogRecord | undefined, outcome: string | undefined): void {
    const head = this.create()
    if (head.ended) return
    if (last !== undefined) this.#add(head, last)
    Object.assign(head, { ended: true, outcome, holder: undefined, until: 0 })
    this.#changed = true
  }

  lease (owner: string, duration: number): boolean {
    const head = this.create()
    const { now } = this.#store
    if (head.ended || (head.holder !== undefined && head.holder !== owner && head.until > now)) return false
    this.#usedAt = now
    this.#changed = true
    if (duration > 0) head.owner ??= owner
    head.holder = duration > 0 ? owner : undefined
    head.until = duration > 0 ? now + duration : 0
    return true
  }

  get members (): StoredMembers {
    this.#members ??= new StoredMembers(this, this.#store)
    return this.#members
  }

  /** A step: saves the time of the last use. */
  saveUse (): void {
    this.#changed = true
  }

  // The transaction: begin, steps, insertEntries, settle, then committed or rolledBack.

  begin (): void {
    this.#saved = this.#head === undefined ? undefined : { ...this.#head }
  }

  insertEntries (): void {
    const head = this.#head
    if (head === undefined) return
    const kept = head.newest - this.#history.maxEvents
    for (const { entry, size, before, at } of this.#fresh) {
      const { offset, event, data, json, fingerprint = null } = entry
      // An entry that is evicted in the same turn has no row, and its channel counts it.
      if (offset <= kept) this.#changed = true
      else this.#store.insert(head.id, offset, event, data, json ? 1 : 0, fingerprint, size, before, at)
    }
  }

  settle (): void {
    const head = this.#head
    if (head === undefined) return
    this.#evict(head)
    if (head.oldest - head.first >= MAX_GARBAGE || head.oldestBefore - head.firstBefore >= MAX_GARBAGE_BYTES) {
      this.collect(2 * this.#fresh.length)
    }
    if (!this.#changed) return
    const { id, oldest, newest, total, at, ended, outcome = null, owner = null, holder = null, until } = head
    this.#savedUse = this.#usedAt
    this.#store.run(sql.UPDATE_CHANNEL, oldest, newest, total, at, ended ? 1 : 0, outcome, owner, holder, until,
      this.#age, this.#usedAt, this.#expires, id)
  }

  committed (): void {
    const { ended: before = false } = this.#saved ?? {}
    const fresh = this.#fresh
    this.#fresh = []
    this.#changed = false
    const head = this.#head
    if (head === undefined || (fresh.length === 0 && head.ended === before)) return
    const { epoch, newest, ended } = head
    const batch = { epoch, newest, ended, entries: fresh.map(({ entry }) => entry) }
    for (const listener of this.listeners) listener(batch)
  }

  rolledBack (): void {
    this.#members?.rolledBack()
    this.#head = this.#saved
    this.#fresh = []
    this.#changed = false
    this.#savedUse = 0
  }

  /** Whether evicted entries are in the file. Evicts those that have expired. */
  get hasGarbage (): boolean {
    const head = this.#head
    if (head === undefined) return false
    this.#evict(head)
    return head.oldest > head.first
  }

  /** Deletes evicted entries from the file, up to a number beyond the given one. */
  collect (more = 0): void {
    const head = this.#head!
    const first = Math.min(head.oldest, head.first + CHUNK + more)
    this.#store.run(sql.DELETE_EVENTS, head.id, first)
    head.first = first
    if (first === head.oldest) head.firstBefore = head.oldestBefore
    this.#changed = true
  }

  /** A step: appends records to a log that has not ended. */
  appendAll (records: readonly LogRecord[]): void {
    for (const record of records) this.append(record)
  }

  #add (head: Head, { event, data, json, fingerprint }: LogRecord): void {
    const size = Buffer.byteLength(event) + Buffer.byteLength(data)
    // The times of entries never decrease: the limits are searched by them.
    const at = head.at = this.#usedAt = Math.max(head.at, this.#store.now)
    const before = head.total
    if (head.oldest > head.newest) Object.assign(head, { oldestBefore: before, oldestAt: at })
    head.newest++
    head.total += size
    this.#fresh.push({ entry: logEntry(head.newest, event, data, json, fingerprint), size, before, at })
  }

  #evict (head: Head): void {
    const { maxEvents, maxBytes, maxAge } = this.#history
    const { oldest, newest, total, oldestBefore, oldestAt } = head
    if (oldest > newest) return
    const { now } = this.#store
    const least = newest - maxEvents + 1
    if (oldest >= least && total - oldestBefore <= maxBytes && now - oldestAt < maxAge) return
    const since = maxAge === Infinity ? -1 : now - maxAge
    const kept = this.#store.get(sql.FIRST_KEPT, head.id, Math.max(oldest, least), Math.max(0, total - maxBytes), since)
    head.oldest = Number(kept?.number ?? newest + 1)
    head.oldestBefore = Number(kept?.before ?? total)
    head.oldestAt = Number(kept?.at ?? head.at)
  }

  get #age (): number | null {
    const { maxAge } = this.#history
    return maxAge === Infinity ? null : Math.ceil(maxAge)
  }

  get #expires (): number | null { return this.#age === null ? null : this.#usedAt + this.#age }
}
