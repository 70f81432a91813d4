import { Fifo } from '../../fifo.ts'
import { sharedScope } from '../../scope.ts'
import type { KeyedPosition, LogPosition, LogRecord } from '../log.ts'
import { FST_SSE_CHANNEL_ENDED } from '../../errors.ts'

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

/** Executes the appends of a queue. */
export interface AppendTarget {
  /** Appends the records in one step, and once, even if it must retry. */
  append: (records: readonly QueuedRecord[], isWanted: () => boolean) => Promise<BatchPosition>
  /** Ends the log; may be called several times. */
  end: (isWanted: () => boolean, end: LogEnd) => Promise<LogPosition>
  /** Creates the error of an append that timed out. */
  timeoutError: () => Error
  /** Milliseconds. */
  timeout: number
}

interface PendingAppend {
  /** Undefined for the end of the log. */
  record: LogRecord | undefined
  key: string | undefined
  end: LogEnd | undefined
  since: number
  /** Settles the caller's promise; undefined after that. */
  settle: { resolve: (position: LogPosition | KeyedPosition) => void, reject: (error: unknown) => void } | undefined
}

/** Appends of records alone. */
type QueuedBatch = Array<PendingAppend & QueuedRecord>

const MAX_RECORDS = 500
const MAX_CHARACTERS = 128 * 1024

/**
 * A queue of appends, and the end, in order. One batch is under way at a time; records added meanwhile form the next
 * batch: the higher the load, the lower the cost of a record.
 */
export class AppendQueue {
  readonly #target: AppendTarget
  readonly #pending = new Fifo<PendingAppend>()
  #batch: PendingAppend[] = []
  #sending = false
  #timer: NodeJS.Timeout | undefined

  constructor (target: AppendTarget) {
    this.#target = target
  }

  get empty (): boolean { return !this.#sending }

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
      this.#pending.push({ record, key, end, since: performance.now(), settle: { resolve, reject } })
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
        const { end } = batch[0]!
        settleAll(batch, await (end === undefined
          ? this.#target.append(batch as QueuedBatch, isWanted)
          : this.#target.end(isWanted, end)))
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

function settleAll (batch: readonly PendingAppend[], { epoch, offset, offsets }: BatchPosition): void {
  for (const [index, { key, settle }] of batch.entries()) {
    const own = offsets?.[index] ?? offset - batch.length + 1 + index
    if (own === 0 && offsets !== undefined) settle?.reject(new FST_SSE_CHANNEL_ENDED())
    else if (key === undefined) settle?.resolve({ epoch, offset: own })
    else settle?.resolve({ epoch, offset: Math.abs(own), appended: own > 0 })
  }
}
