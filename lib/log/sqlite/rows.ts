import { logEntry } from '../log-entry.ts'
import type { LogEntry } from '../log.ts'
import type { Rows, SqliteDatabase, SqliteStatement } from './database.ts'
import * as sql from './statements.ts'

/** Reads rows of the file. */
export type Reader = Pick<Rows, 'get'>

/** The state of a log that is in the file. */
export interface Head {
  readonly id: number
  readonly epoch: string
  newest: number
  /** The bytes of all entries, also of evicted ones, and the time of the last one. */
  total: number
  at: number
  /** The first entry that can be read, the bytes before it, and its time. */
  oldest: number
  oldestBefore: number
  oldestAt: number
  /** The first entry in the file, and the bytes before it. */
  first: number
  firstBefore: number
  ended: boolean
  outcome: string | undefined
  /** The first owner of the lease, and the present one until a time. */
  owner: string | undefined
  holder: string | undefined
  until: number
}

/** Prepares a statement. */
export const prepare = (database: SqliteDatabase, sql: string): SqliteStatement =>
  database.prepare(sql) as SqliteStatement

/** Returns the state of a log without entries. */
export const newHead = (id: number, epoch: string, at: number): Head => ({
  id,
  epoch,
  newest: 0,
  total: 0,
  at,
  oldest: 1,
  oldestBefore: 0,
  oldestAt: at,
  first: 1,
  firstBefore: 0,
  ended: false,
  outcome: undefined,
  owner: undefined,
  holder: undefined,
  until: 0
})

const optional = (value: unknown): string | undefined => value === null ? undefined : String(value)

/** Returns the state of a channel, and the time of its last use in the file; undefined if there is none. */
export function readHead (store: Reader, name: string): { head: Head, used: number } | undefined {
  const row = store.get(sql.FIND_CHANNEL, name)
  if (row === undefined) return undefined
  const id = Number(row.id)
  const first = store.get(sql.FIRST_EVENT, id)
  const last = store.get(sql.LAST_EVENT, id)
  // The channel counts up to the last deletion.
  const { newest, total, at } = last !== undefined && Number(last.number) > Number(row.newest)
    ? { ...last, newest: last.number }
    : row
  const lowest = Number(first?.number ?? Number(newest) + 1)
  const head: Head = {
    id,
    epoch: String(row.epoch),
    newest: Number(newest),
    total: Number(total),
    at: Number(at),
    oldest: Math.max(Number(row.oldest), lowest),
    oldestBefore: Number(first?.before ?? total),
    oldestAt: Number(first?.at ?? at),
    first: lowest,
    firstBefore: Number(first?.before ?? total),
    ended: Number(row.ended) === 1,
    outcome: optional(row.outcome),
    owner: optional(row.owner),
    holder: optional(row.holder),
    until: Number(row.until)
  }
  return { head, used: Number(row.used) }
}

/** Returns the entries from a number on. */
export function readEvents (store: Reader, channel: number, from: number, limit: number): LogEntry[] {
  const row = store.get(sql.READ_EVENTS, channel, from, limit)
  return (JSON.parse(String(row?.entries)) as EventRow[]).map(toEntry)
}

type EventRow = [offset: number, event: string, data: string, json: 0 | 1, fingerprint: string | null]

const toEntry = ([offset, event, data, json, fingerprint]: EventRow): LogEntry =>
  logEntry(offset, event, data, json === 1, fingerprint)
