import { chances } from './chances.ts'
import type { EventLog, HistoryLimits, LogBatch, LogState, LogPosition, LogRecord } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'

export const HISTORY: HistoryLimits = { maxEvents: 1_000, maxBytes: 1_000_000, maxAge: Infinity }

/** The record of a number. */
export const numbered = (n: number): LogRecord => ({ event: 'message', data: String(n), json: true })

/** The pseudorandom delays of a remote log. */
export const dice = chances
export type Dice = ReturnType<typeof chances>

/**
 * An event log on another machine, simulated in memory. With dice, answers are delayed promises in the order of the
 * calls, and batches are delivered later, in order, independently of the answers. Without dice both are synchronous.
 * `lose()` simulates a loss of data, after which a new epoch begins.
 */
export class RemoteLog implements EventLog {
  readonly #history: HistoryLimits
  readonly #dice: Dice | undefined
  readonly #listeners = new Set<(batch: LogBatch) => void>()
  #log!: EventLog
  #asked: Promise<unknown> = Promise.resolve()
  #answered: Promise<unknown> = Promise.resolve()
  #told: Promise<unknown> = Promise.resolve()

  constructor (history: Partial<HistoryLimits> = {}, dice?: Dice) {
    this.#history = { ...HISTORY, ...history }
    this.#dice = dice
    this.#begin()
  }

  /** Its current state, without delay. */
  get now (): LogState { return this.#log.state() as LogState }

  /** The number of listeners. */
  get listeners (): number { return this.#listeners.size }

  /** Settles when all batches so far are delivered. */
  get told (): Promise<unknown> { return this.#told }

  append (record: LogRecord): LogPosition | Promise<LogPosition> { return this.#answer(() => this.#log.append(record) as LogPosition) }
  read (after: number, limit: number): LogBatch | Promise<LogBatch> { return this.#answer(() => this.#log.read(after, limit) as LogBatch) }
  state (): LogState | Promise<LogState> { return this.#answer(() => this.now) }
  end (): void | Promise<void> { return this.#answer(() => { this.#log.end() }) }

  tail (listener: (batch: LogBatch) => void): () => void {
    const told = (batch: LogBatch): void => listener(batch)
    this.#listeners.add(told)
    return () => { this.#listeners.delete(told) }
  }

  isIdle (): boolean { return this.#listeners.size === 0 }

  close (): void { this.#log.close() }

  /** Loses all data: a new epoch begins, which the listeners are notified of. */
  lose (): void | Promise<void> {
    return this.#answer(() => {
      this.#log.close()
      this.#begin()
      const { epoch, newest, ended } = this.now
      this.#tell({ epoch, newest, ended, entries: [] })
    })
  }

  #begin (): void {
    this.#log = memoryLog()('', this.#history)
    this.#log.tail(batch => this.#tell(batch))
  }

  #answer<T> (make: () => T): T | Promise<T> {
    if (this.#dice === undefined) return make()
    const made = this.#asked.then(() => this.#pause()).then(make)
    this.#asked = made.catch(() => {})
    // Computed when the request arrives there, and known here a while later.
    const answer = this.#answered.then(() => this.#pause()).then(() => made)
    this.#answered = answer.catch(() => {})
    return answer
  }

  #tell (batch: LogBatch): void {
    const tell = (): void => { for (const listener of this.#listeners) listener(batch) }
    if (this.#dice === undefined) tell()
    else this.#told = this.#told.then(() => this.#pause()).then(tell)
  }

  /** Waits a few microtasks, or turns of the event loop. */
  async #pause (): Promise<void> {
    const kind = this.#dice!(3)
    for (let count = this.#dice!(4); count > 0; count--) await (kind === 0 ? new Promise(setImmediate) : undefined)
  }
}
