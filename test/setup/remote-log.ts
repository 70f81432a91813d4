import { chances } from './chances.ts'
import type {
  HeldMembers, HistoryLimits, LogBatch, LogPosition, LogRecord, LogState, LogStatus,
  MemberLog, RunLog
} from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'

export const HISTORY: HistoryLimits = { maxEvents: 1_000, maxBytes: 1_000_000, maxAge: Infinity }

/** The record of a number. */
export const numbered = (n: number): LogRecord => ({ event: 'message', data: String(n), json: true })

/** Random numbers for a remote log, the same ones for the same seed. */
export const dice = chances
export type Dice = ReturnType<typeof chances>

/**
 * A log on another machine, simulated in memory. With dice, answers are promises and take time, each in the order of
 * the calls; batches of the tail are delivered late, in order, independently of the answers. Without dice everything is
 * synchronous. After `lose()` another epoch starts.
 */
export class RemoteLog implements RunLog, MemberLog {
  readonly #history: HistoryLimits
  readonly #dice: Dice | undefined
  readonly #listeners = new Set<(batch: LogBatch) => void>()
  #log!: RunLog & MemberLog
  #requests: Promise<unknown> = Promise.resolve()
  #answered: Promise<unknown> = Promise.resolve()
  #deliveries: Promise<unknown> = Promise.resolve()

  constructor (history: Partial<HistoryLimits> = {}, dice?: Dice) {
    this.#history = { ...HISTORY, ...history }
    this.#dice = dice
    this.#start()
  }

  /** The current state, without delay. */
  get now (): LogState { return this.#log.state() as LogState }

  /** The number of listeners. */
  get listeners (): number { return this.#listeners.size }

  /** Resolves when all batches so far were delivered. */
  get delivered (): Promise<unknown> { return this.#deliveries }

  append (record: LogRecord): LogPosition | Promise<LogPosition> {
    return this.#answer(() => this.#log.append(record) as LogPosition)
  }

  read (after: number, limit: number): LogBatch | Promise<LogBatch> {
    return this.#answer(() => this.#log.read(after, limit) as LogBatch)
  }

  state (): LogState | Promise<LogState> {
    return this.#answer(() => this.now)
  }

  end (last?: LogRecord, outcome?: string): void | Promise<void> {
    return this.#answer(() => {
      this.#log.end(last, outcome)
    })
  }

  peek (): LogStatus | undefined | Promise<LogStatus | undefined> {
    return this.#answer(() => this.#log.peek() as LogStatus)
  }

  lease (owner: string, duration: number): boolean | Promise<boolean> {
    return this.#answer(() => this.#log.lease(owner, duration) as boolean)
  }

  hold (holder: string, change: HeldMembers, duration: number): boolean | Promise<boolean> {
    return this.#answer(() => this.#log.hold(holder, change, duration) as boolean)
  }

  members (): readonly string[] | Promise<readonly string[]> {
    return this.#answer(() => this.#log.members() as readonly string[])
  }

  tail (listener: (batch: LogBatch) => void): () => void {
    const delivered = (batch: LogBatch): void => listener(batch)
    this.#listeners.add(delivered)
    return () => { this.#listeners.delete(delivered) }
  }

  isIdle (): boolean { return this.#listeners.size === 0 }

  /** Each node closes its own side. The log itself continues. */
  close (): void {}

  /** Loses all entries: another epoch starts, which the tail delivers. */
  lose (): void | Promise<void> {
    return this.#answer(() => {
      this.#log.close()
      this.#start()
      const { epoch, newest, ended } = this.now
      this.#deliver({ epoch, newest, ended, entries: [] })
    })
  }

  #start (): void {
    this.#log = memoryLog()('', this.#history) as RunLog & MemberLog
    this.#log.tail(batch => this.#deliver(batch))
  }

  #answer<T> (make: () => T): T | Promise<T> {
    if (this.#dice === undefined) return make()
    const result = this.#requests.then(() => this.#pause()).then(make)
    this.#requests = result.catch(() => {})
    // The result is of the time of the request, and arrives later.
    const answer = this.#answered.then(() => this.#pause()).then(() => result)
    this.#answered = answer.catch(() => {})
    return answer
  }

  #deliver (batch: LogBatch): void {
    const deliver = (): void => { for (const listener of this.#listeners) listener(batch) }
    if (this.#dice === undefined) deliver()
    else this.#deliveries = this.#deliveries.then(() => this.#pause()).then(deliver)
  }

  /** Waits a few microtasks, or turns of the event loop. */
  async #pause (): Promise<void> {
    const kind = this.#dice!(3)
    for (let count = this.#dice!(4); count > 0; count--) await (kind === 0 ? new Promise(setImmediate) : undefined)
  }
}
