import { Fifo } from '../../fifo.ts'
import { sharedScope } from '../../scope.ts'
import type { LogPosition, LogRecord } from '../log.ts'

/** The end of a log. */
export interface LogEnd { readonly last: LogRecord | undefined, readonly outcome: string | undefined }

/** Executes the appends of a queue. */
export interface AppendTarget {
  /** Appends the records in one step, and once, even if it must retry; resolves to the position of the last record. */
  append: (records: readonly LogRecord[], number: number, isWanted: () => boolean) => Promise<LogPosition>
  /** Ends the log; may be called several times. */
  end: (isWanted: () => boolean, end: LogEnd) => Promise<LogPosition>
  /** Creates the error of an append that timed out. */
  timeoutError: () => Error
  /** Milliseconds. */
  timeout: number
}

interface PendingAppend {
  /** The record; undefined for the end of the log. */
  record: LogRecord | undefined
  end?: LogEnd
  since: number
  /** Settles the caller's promise; undefined after that. */
  settle: { resolve: (position: LogPosition) => void, reject: (error: unknown) => void } | undefined
}

const MAX_RECORDS = 500
const MAX_CHARACTERS = 128 * 1024

/**
 * A queue of appends, and the end, in order. One batch is under way at a time; records added meanwhile form the next
 * batch. So a lost answer can be requested again by the number of its batch, and the higher the load, the lower the
 * cost of a record.
 */
export class AppendQueue {
  readonly #target: AppendTarget
  readonly #pending = new Fifo<PendingAppend>()
  #batch: PendingAppend[] = []
  #number = 0
  #sending = false
  #timer: NodeJS.Timeout | undefined

  constructor (target: AppendTarget) {
    this.#target = target
  }

  get empty (): boolean { return !this.#sending }

  add (record: LogRecord): Promise<LogPosition> { return this.#enqueue({ record }) }

  /** Ends the log after all records that were added before. */
  async end (last?: LogRecord, outcome?: string): Promise<void> {
    await this.#enqueue({ record: undefined, end: { last, outcome } })
  }

  #enqueue (work: Pick<PendingAppend, 'record' | 'end'>): Promise<LogPosition> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ ...work, since: performance.now(), settle: { resolve, reject } })
      // The timer and the batches serve many publishers, and run in no publisher's scope.
      this.#timer ??= sharedScope.runInAsyncScope(setTimeout, undefined, this.#onTimeout, this.#target.timeout)
      if (this.#sending) return
      this.#sending = true
      // Records appended in the same step join the batch.
      sharedScope.runInAsyncScope(queueMicrotask, undefined, this.#send)
    })
  }

  readonly #send = async (): Promise<void> => {
    while (this.#pending.size > 0) {
      const batch = this.#batch = this.#next()
      try {
        const isWanted = (): boolean => batch.some(({ settle }) => settle !== undefined)
        const records = batch.flatMap(({ record }) => record ?? [])
        const { end } = batch[0]!
        const { epoch, offset } = await (end === undefined
          ? this.#target.append(records, ++this.#number, isWanted)
          : this.#target.end(isWanted, end))
        for (const [index, { settle }] of batch.entries()) {
          settle?.resolve({ epoch, offset: offset - batch.length + 1 + index })
        }
      } catch (error) {
        for (const { settle } of batch) settle?.reject(error)
      }
    }
    this.#batch = []
    this.#sending = false
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Returns the records of the next batch, or an end alone. */
  #next (): PendingAppend[] {
    const batch = [this.#pending.shift()!]
    let size = batch[0]!.record?.data.length ?? Infinity
    while (this.#pending.first?.record !== undefined && batch.length < MAX_RECORDS && size < MAX_CHARACTERS) {
      const pending = this.#pending.shift()!
      size += pending.record!.data.length
      batch.push(pending)
    }
    return batch
  }

  /** Rejects all appends that timed out, whether under way or queued. Queued ones will not be sent. */
  readonly #onTimeout = (): void => {
    const now = performance.now()
    const isLate = ({ since }: PendingAppend): boolean => now - since >= this.#target.timeout - 1
    for (const pending of this.#batch) if (isLate(pending)) this.#timeOut(pending)
    while (this.#pending.size > 0 && isLate(this.#pending.first!)) this.#timeOut(this.#pending.shift()!)
    const next = this.#batch.find(({ settle }) => settle !== undefined) ?? this.#pending.first
    this.#timer = next === undefined
      ? undefined
      : setTimeout(this.#onTimeout, Math.max(1, next.since + this.#target.timeout - now))
  }

  #timeOut (pending: PendingAppend): void {
    pending.settle?.reject(this.#target.timeoutError())
    pending.settle = undefined
  }
}
