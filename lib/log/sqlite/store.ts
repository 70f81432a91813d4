import { now as monotonic, setImmediate } from '../../clock.ts'
import { FST_SSE_CHANNEL_ENDED, FST_SSE_LOG_UNAVAILABLE } from '../../errors.ts'
import { Fifo } from '../../fifo.ts'
import { sharedScope } from '../../scope.ts'
import type { HistoryLimits } from '../log.ts'
import type { Rows, SqliteDatabase, SqliteStatement, SqliteValue } from './database.ts'
import { prepare } from './rows.ts'
import { EVENT_COLUMNS, insertEvents } from './statements.ts'
import { toLogError } from './sqlite-error.ts'
import { StoredLog } from './stored-log.ts'

// Milliseconds that the steps of one turn may take: the rest waits for the next turn.
const TURN = 5
// Steps between two readings of the clock.
const STEPS = 32
// Events per statement: each call of a driver has a price.
const ROWS = 16

interface Job {
  readonly log: StoredLog
  readonly step: () => unknown
  readonly resolve: (value: never) => void
  readonly reject: (error: unknown) => void
}

/**
 * Executes the steps of all logs of one database. The steps of one turn of the event loop form one transaction, whose
 * promises settle after its commit.
 */
export class Store implements Rows {
  readonly #database: SqliteDatabase
  readonly #statements = new Map<string, SqliteStatement>()
  readonly #logs = new Map<string, StoredLog>()
  readonly #jobs = new Fifo<Job>()
  readonly #rows: SqliteValue[] = []
  readonly #startedAt: number
  #lastId: number
  #scheduled = false
  #closed = false

  constructor (database: SqliteDatabase) {
    this.#database = database
    this.#startedAt = Date.now() - monotonic()
    this.#lastId = Number(this.get('SELECT max(id) AS id FROM channels')?.id ?? 0)
  }

  /** The time in milliseconds: of the machine at the start, and never back within this process. */
  get now (): number { return Math.floor(this.#startedAt + monotonic()) }

  /** Returns an id for another channel. */
  newId (): number { return ++this.#lastId }

  /** Returns the log of that name. All its users share it. */
  log (name: string, history: HistoryLimits): StoredLog {
    let log = this.#logs.get(name)
    if (log === undefined) this.#logs.set(name, log = new StoredLog(name, history, this))
    return log
  }

  /** Whether a log of that name is in memory. */
  has (name: string): boolean { return this.#logs.has(name) }

  /** Removes a log from memory, unless it has users or steps. */
  release (log: StoredLog): void {
    if (log.users === 0 && log.steps === 0) this.#logs.delete(log.name)
  }

  run (sql: string, ...values: SqliteValue[]): void {
    this.#statement(sql).run(...values)
  }

  /** Returns the first row. */
  get (sql: string, ...values: SqliteValue[]): Record<string, unknown> | undefined {
    return this.#statement(sql).get(...values) as Record<string, unknown> | undefined
  }

  /** Executes a step in the transaction of this turn. Rejects with a coded error if the step, or the commit, fails. */
  enqueue<T> (log: StoredLog, step: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed) return reject(new FST_SSE_LOG_UNAVAILABLE(log.name, 'is closed'))
      log.steps++
      this.#jobs.push({ log, step, resolve, reject })
      this.#schedule()
    })
  }

  /** Adds a row of `events` to this transaction. */
  insert (...row: SqliteValue[]): void {
    this.#rows.push(...row)
    if (this.#rows.length === ROWS * EVENT_COLUMNS) this.run(insertEvents(ROWS), ...this.#rows.splice(0))
  }

  /** Executes a step in a transaction. Throws its error, or that of SQLite. */
  transaction<T> (step: () => T): T {
    this.run('BEGIN IMMEDIATE')
    try {
      const value = step()
      this.run('COMMIT')
      return value
    } catch (error) {
      this.#rows.length = 0
      try {
        this.run('ROLLBACK')
      } catch {
        // SQLite has rolled back by itself.
      }
      throw error
    }
  }

  /** Executes all steps that wait, and accepts no more. */
  close (): void {
    while (this.#jobs.size > 0) this.#turn()
    this.#closed = true
  }

  #statement (sql: string): SqliteStatement {
    let statement = this.#statements.get(sql)
    if (statement === undefined) this.#statements.set(sql, statement = prepare(this.#database, sql))
    return statement
  }

  #schedule (): void {
    if (this.#scheduled) return
    this.#scheduled = true
    // After the callbacks of this turn: the steps of all of them form one transaction, and run in no caller's scope.
    sharedScope.runInAsyncScope(setImmediate, undefined, this.#onTurn)
  }

  readonly #onTurn = (): void => {
    this.#scheduled = false
    if (this.#jobs.size > 0) this.#turn()
    if (this.#jobs.size > 0) this.#schedule()
  }

  #turn (): void {
    const jobs: Job[] = []
    const logs = new Set<StoredLog>()
    let settle: Array<() => void> = []
    try {
      settle = this.transaction(() => this.#steps(jobs, logs))
      for (const log of logs) log.committed()
    } catch (cause) {
      // The transaction has not begun: the database is closed, for example.
      if (jobs.length === 0) jobs.push(...this.#jobs.clear())
      for (const log of logs) log.rolledBack()
      settle = jobs.map(({ log, reject }) => () => reject(toLogError(log.name, cause)))
    }
    for (const each of settle) each()
    for (const { log } of jobs) log.steps--
    for (const { log } of jobs) this.release(log)
  }

  /** Executes the next steps. Returns the calls that settle their promises. */
  #steps (jobs: Job[], logs: Set<StoredLog>): Array<() => void> {
    const settle: Array<() => void> = []
    const end = monotonic() + TURN
    while (this.#jobs.size > 0 && (jobs.length % STEPS !== 0 || jobs.length === 0 || monotonic() < end)) {
      const job = this.#jobs.shift()!
      const { log, step, resolve, reject } = job
      jobs.push(job)
      if (!logs.has(log)) {
        log.begin()
        logs.add(log)
      }
      try {
        const value = step()
        settle.push(() => resolve(value as never))
      } catch (error) {
        // No other step depends on it.
        if (!(error instanceof FST_SSE_CHANNEL_ENDED)) throw error
        settle.push(() => reject(error))
      }
    }
    for (const log of logs) log.insertEntries()
    if (this.#rows.length > 0) this.run(insertEvents(this.#rows.length / EVENT_COLUMNS), ...this.#rows.splice(0))
    for (const log of logs) log.settle()
    return settle
  }
}
