import { Fifo } from '../../fifo.ts'
import { sharedScope } from '../../scope.ts'
import type { KeyedPosition, LogPosition, LogRecord } from '../log.ts'
import { FST_SSE_CHANNEL_ENDED } from '../../errors.ts'
import type { AppendTimeouts } from './append-timeouts.ts'

/** The end of a log. */
export interface LogEnd { readonly last: LogRecord | undefined, readonly outcome: string | undefined }

/** A record, and its key if it is appended once per key. */
export interface QueuedRecord { readonly record: LogRecord, readonly key: string | undefined }

/** The position of the last record. */
export interface BatchPosition extends LogPosition {
  /**
   * If a record has a key, the offset of each record: negative if an earlier call has appended its key, and 0 if the
   * log had ended.
   */
  readonly offsets?: readonly number[] | undefined
}

/** Executes the appends of a queue, one call at a time. */
export interface AppendTarget {
  /** Called when records wait: takes them now or later, appends them in one step, and calls `settle` or `reject`. */
  append: () => void
  /** Ends the log; may be called several times. */
  end: (end: LogEnd) => Promise<LogPosition>
  /** Creates the error of an append that timed out. */
  timeoutError: () => Error
}

interface PendingAppend {
  /** Undefined for the end of the log. */
  readonly record: LogRecord | undefined
  readonly key: string | undefined
  readonly end: LogEnd | undefined
  /** Characters of its data. */
  readonly size: number
  readonly since: number
  readonly resolve: (position: LogPosition | KeyedPosition) => void
  readonly reject: (error: unknown) => void
  /** Whether the caller still waits. */
  waits: boolean
}

const MAX_RECORDS = 500
const MAX_CHARACTERS = 128 * 1024
const NONE: readonly PendingAppend[] = []

const waits = (append: PendingAppend): boolean => append.waits

/**
 * A queue of appends, and the end, in order. One batch is under way at a time; records added meanwhile form the next
 * batch: the higher the load, the lower the cost of a record.
 */
export class AppendQueue {
  readonly #target: AppendTarget
  readonly #timeouts: AppendTimeouts
  readonly #pending = new Fifo<PendingAppend>()
  /** The batch under way. */
  #batch = NONE
  #busy = false

  constructor (target: AppendTarget, timeouts: AppendTimeouts) {
    this.#target = target
    this.#timeouts = timeouts
  }

  get empty (): boolean { return !this.#busy }

  get since (): number { return (this.#batch.find(waits) ?? this.#pending.first)?.since ?? Infinity }

  /** Whether a caller still waits for the batch under way. */
  get isWanted (): boolean { return this.#batch.some(waits) }

  add (record: LogRecord): Promise<LogPosition> { return this.#enqueue(record, undefined, undefined) }

  addOnce (record: LogRecord, key: string): Promise<KeyedPosition> {
    return this.#enqueue(record, key, undefined) as Promise<KeyedPosition>
  }

  /** Ends the log after all records that were added before. */
  async end (last?: LogRecord, outcome?: string): Promise<void> {
    await this.#enqueue(undefined, undefined, { last, outcome })
  }

  #enqueue (record: LogRecord | undefined, key: string | undefined, end: LogEnd | undefined): Promise<LogPosition> {
    return new Promise((resolve, reject) => {
      const size = record?.data.length ?? 0
      this.#pending.push({ record, key, end, size, since: performance.now(), resolve, reject, waits: true })
      this.#timeouts.add(this)
      if (!this.#busy) this.#next()
    })
  }

  /** Returns the records of the next batch; none if all have timed out since `append` was called. */
  take (): readonly QueuedRecord[] {
    const batch: Array<PendingAppend & QueuedRecord> = []
    let size = 0
    while (this.#pending.first?.record !== undefined && batch.length < MAX_RECORDS && size < MAX_CHARACTERS) {
      const pending = this.#pending.shift() as PendingAppend & QueuedRecord
      size += pending.size
      batch.push(pending)
    }
    this.#batch = batch
    if (batch.length === 0) this.#next()
    return batch
  }

  /** Resolves the promises of the batch under way. */
  settle ({ epoch, offset, offsets }: BatchPosition): void {
    const batch = this.#batch
    for (let index = 0; index < batch.length; index++) {
      const { key, resolve, reject } = batch[index]!
      const own = offsets?.[index] ?? offset - batch.length + 1 + index
      if (own === 0 && offsets !== undefined) reject(new FST_SSE_CHANNEL_ENDED())
      else if (key === undefined) resolve({ epoch, offset: own })
      else resolve({ epoch, offset: Math.abs(own), appended: own > 0 })
    }
    this.#next()
  }

  /** Rejects the promises of the batch under way. */
  reject (error: unknown): void {
    for (const { reject } of this.#batch) reject(error)
    this.#next()
  }

  /** Rejects all appends of before that time, whether under way or queued. Queued ones will not be sent. */
  expire (before: number): void {
    for (const pending of this.#batch) if (pending.waits && pending.since < before) this.#expire(pending)
    while (this.#pending.first !== undefined && this.#pending.first.since < before) this.#expire(this.#pending.shift()!)
  }

  #expire (pending: PendingAppend): void {
    pending.waits = false
    pending.reject(this.#target.timeoutError())
  }

  #next (): void {
    this.#batch = NONE
    const { first } = this.#pending
    this.#busy = first !== undefined
    if (first === undefined) {
      this.#timeouts.delete(this)
    } else if (first.end === undefined) {
      this.#target.append()
    } else {
      this.#batch = [this.#pending.shift()!]
      // It serves many publishers, and runs in no publisher's scope.
      const ended = sharedScope.runInAsyncScope(this.#target.end, this.#target, first.end)
      ended.then(position => this.settle(position), (error: unknown) => this.reject(error))
    }
  }
}
