import { setTimeout as pause } from 'node:timers/promises'
import { Fifo } from '../../fifo.ts'
import { timely } from '../timely.ts'
import { rowsOf, type PostgresPool } from './client.ts'
import { EntrySeal } from './entry-seal.ts'
import { createLayout } from './layout.ts'
import { isMissing, isTransient } from './log-error.ts'

// Milliseconds between two attempts, doubled up to the maximum.
const RETRY_DELAYS = [20, 500] as const
// Milliseconds. A connection that does not answer within this time may be dead, whatever TCP reports.
const ATTEMPT_TIME = 5_000
// Connections of the pool that are left to the listener, and to calls that are not held up.
const SPARE = 2
// Creations of the layout within one call.
const MAX_CREATIONS = 3

type Rows = Array<Array<string | null>>

/**
 * Calls the functions of the schema, with retries. Calls wait here, and not in the pool: there, an attempt that was
 * given up would still be made, and the calls of ten thousand channels would never be answered in time.
 */
export class Database {
  readonly pool: PostgresPool
  readonly schema: string
  /** With the secret of the schema; undefined before the first call. */
  seal: EntrySeal | undefined
  readonly #attemptTime: number
  /** Resolves when the tables and functions exist. */
  #layout: Promise<void> | undefined
  /** The number of attempts that may begin, and the calls that wait for one. */
  #free: number
  readonly #waiting = new Fifo<() => void>()

  constructor (pool: PostgresPool, schema: string, attemptTime = ATTEMPT_TIME) {
    this.pool = pool
    this.schema = schema
    this.#attemptTime = attemptTime
    this.#free = Math.max(1, (pool.options?.max ?? 10) - SPARE)
  }

  /** Rejects if the tables and functions do not exist and cannot be created. */
  ready (): Promise<void> {
    this.#layout ??= this.#attempt(() => createLayout(this.pool, this.schema)).then(secret => {
      this.seal = new EntrySeal(secret)
    }).catch((error: unknown) => {
      this.#layout = undefined
      throw error
    })
    return this.#layout
  }

  /**
   * Calls a function: resolves with its rows. Rejects when PostgreSQL rejects the call, when the pool has ended, or
   * when `isWanted` returns false. `urgent`: other calls do not hold it up; its caller makes one at a time.
   */
  call (name: string, values: unknown[], isWanted: () => boolean, urgent = false): Promise<Rows> {
    const places = values.map((_, index) => `$${index + 1}`).join()
    return this.run(`SELECT * FROM "${this.schema}".${name}(${places})`, values, isWanted, urgent)
  }

  /** Runs a statement, as `call` does. */
  async run (text: string, values: unknown[], isWanted: () => boolean, urgent = false): Promise<Rows> {
    let delay: number = RETRY_DELAYS[0]
    for (let creations = 0; ;) {
      try {
        const query = (): Promise<Rows> => this.#query(text, values, isWanted)
        return await (urgent ? query() : this.#inTurn(query))
      } catch (error) {
        const missing = isMissing(error) && creations++ < MAX_CREATIONS
        if (missing) this.#layout = undefined
        if (!(missing || isTransient(error)) || this.pool.ending === true || !isWanted()) throw error
        await pause(delay)
        delay = Math.min(delay * 2, RETRY_DELAYS[1])
      }
    }
  }

  async #query (text: string, values: unknown[], isWanted: () => boolean): Promise<Rows> {
    if (!isWanted()) throw new Error('the caller no longer waits for the answer')
    await this.ready()
    return await this.#attempt(() => rowsOf(this.pool, text, values, this.#attemptTime))
  }

  async #inTurn<T> (step: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>(resolve => { this.#waiting.push(resolve) })
    try {
      return await step()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free++
      else next()
    }
  }

  #attempt<T> (step: () => Promise<T>): Promise<T> {
    return timely(step, this.#attemptTime, () => new Error(`no answer within ${this.#attemptTime} milliseconds`))
  }
}
