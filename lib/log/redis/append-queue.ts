import { Fifo } from '../../fifo.ts'
import { sharedScope } from '../../scope.ts'
import type { LogPosition, LogRecord } from '../log.ts'

/** Where an outbox sends to. */
export interface AppendTarget {
  /** Appends the records as one step, and once, even where it has to be tried again; answers with the position of the last of them. */
  append: (records: readonly LogRecord[], number: number, wanted: () => boolean) => Promise<LogPosition>
  /** Ends the log, once or several times. */
  end: (wanted: () => boolean) => Promise<LogPosition>
  /** What is said to those whose time is over. */
  timeoutError: () => Error
  /** Milliseconds. */
  timeout: number
}

interface PendingAppend {
  /** Undefined for the end of the log. */
  record: LogRecord | undefined
  since: number
  /** Undefined when its sender has been answered. */
  settle: { resolve: (position: LogPosition) => void, reject: (error: unknown) => void } | undefined
}

const MAX_RECORDS = 500
const MAX_CHARACTERS = 128 * 1024

/**
 * Appends on their way, and the end, in order. One batch is out at a time, and what comes meanwhile is the next one: so an answer that
 * was lost can be asked for again by the number of its batch, and the more comes, the less each costs.
 */
export class AppendQueue {
  readonly #to: AppendTarget
  readonly #pending = new Fifo<PendingAppend>()
  #batch: PendingAppend[] = []
  #number = 0
  #sending = false
  #timer: NodeJS.Timeout | undefined

  constructor (to: AppendTarget) {
    this.#to = to
  }

  get empty (): boolean { return !this.#sending }

  add (record: LogRecord): Promise<LogPosition> { return this.#post(record) }

  /** After all that was added before. */
  async end (): Promise<void> { await this.#post(undefined) }

  #post (record: LogRecord | undefined): Promise<LogPosition> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ record, since: performance.now(), settle: { resolve, reject } })
      // Both serve many publishers, and run in no publisher's scope.
      this.#timer ??= sharedScope.runInAsyncScope(setTimeout, undefined, this.#expire, this.#to.timeout)
      if (this.#sending) return
      this.#sending = true
      // Whatever else is appended in this step goes along.
      sharedScope.runInAsyncScope(queueMicrotask, undefined, this.#send)
    })
  }

  readonly #send = async (): Promise<void> => {
    while (this.#pending.size > 0) {
      const batch = this.#batch = this.#next()
      try {
        const wanted = (): boolean => batch.some(({ settle }) => settle !== undefined)
        const records = batch.flatMap(({ record }) => record ?? [])
        const { epoch, offset } = await (records.length === 0 ? this.#to.end(wanted) : this.#to.append(records, ++this.#number, wanted))
        for (const [index, { settle }] of batch.entries()) settle?.resolve({ epoch, offset: offset - batch.length + 1 + index })
      } catch (error) {
        for (const { settle } of batch) settle?.reject(error)
      }
    }
    this.#batch = []
    this.#sending = false
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Records as many as go together, or an end by itself. */
  #next (): PendingAppend[] {
    const batch = [this.#pending.shift()!]
    let size = batch[0]!.record?.data.length ?? Infinity
    while (this.#pending.first?.record !== undefined && batch.length < MAX_RECORDS && size < MAX_CHARACTERS) {
      const letter = this.#pending.shift()!
      size += letter.record!.data.length
      batch.push(letter)
    }
    return batch
  }

  /** Those whose time is over are answered, whether they are out or still here: these will not be sent. */
  readonly #expire = (): void => {
    const now = performance.now()
    const isLate = ({ since }: PendingAppend): boolean => now - since >= this.#to.timeout - 1
    for (const letter of this.#batch) if (isLate(letter)) this.#refuse(letter)
    while (this.#pending.size > 0 && isLate(this.#pending.first!)) this.#refuse(this.#pending.shift()!)
    const next = this.#batch.find(({ settle }) => settle !== undefined) ?? this.#pending.first
    this.#timer = next === undefined ? undefined : setTimeout(this.#expire, Math.max(1, next.since + this.#to.timeout - now))
  }

  #refuse (letter: PendingAppend): void {
    letter.settle?.reject(this.#to.timeoutError())
    letter.settle = undefined
  }
}
