import type { LogBatch, LogPosition } from './log.ts'

type LogProgress = Omit<LogBatch, 'entries'>

/** The input and output of an ordered tail. */
export interface TailSources {
  /** Reads the entries after an offset from the store. */
  read: (after: number) => Promise<LogBatch>
  /** Receives batches in order, each entry once. Does not throw. */
  deliver: (batch: LogBatch) => void
}

// Messages that arrive while the store is read wait, up to this number of batches: the store has them all.
const MAX_WAITING = 1_000

/**
 * Merges two inputs into one sequence. Messages are fast, but may be lost, duplicated or of an old epoch. The store is
 * correct, but slow. The offsets decide: the next entries are delivered, known ones are dropped, and missing ones are
 * read from the store.
 */
export class OrderedTail {
  readonly #sources: TailSources
  /** The position up to which entries were delivered. Undefined until the first state of the log is known. */
  #delivered: { epoch: string, offset: number, ended: boolean } | undefined
  #waiting: LogBatch[] = []
  /** The number of waiting batches that arrived before the request to the store: its answer includes them. */
  #includedCount = 0
  #reading = false
  #closed = false

  constructor (sources: TailSources) {
    this.#sources = sources
  }

  /** The position up to which entries were delivered; undefined until the first state of the log is known. */
  get position (): LogPosition | undefined { return this.#delivered }

  /** Receives a batch from a message: its entries are consecutive. */
  onMessage (batch: LogBatch): void {
    if (this.#closed) return
    if (this.#delivered !== undefined && !this.#reading && this.#isNext(batch)) return this.#deliver(batch)
    this.#waiting.push(batch)
    if (this.#waiting.length > MAX_WAITING) {
      this.#waiting.shift()
      this.#includedCount--
    }
    if (this.#delivered !== undefined) this.#readMissing()
  }

  /** Receives the state of the log from the store; sets the position if there is none yet. */
  start ({ epoch, newest }: LogProgress): void {
    if (this.#delivered !== undefined || this.#closed) return
    this.#delivered = { epoch, offset: newest, ended: false }
    if (!this.#drain()) this.#readMissing()
  }

  /** Receives the state of the log from the store: entries up to there that have not arrived may be lost. */
  onStateChange (progress: LogProgress): void {
    this.start(progress)
    this.onMessage({ ...progress, entries: [] })
  }

  close (): void {
    this.#closed = true
    this.#waiting = []
  }

  #isNext (batch: LogBatch): boolean {
    return batch.epoch === this.#delivered!.epoch && firstOffset(batch) <= this.#delivered!.offset + 1
  }

  #deliver ({ epoch, newest, ended, entries }: LogBatch): void {
    const delivered = this.#delivered!
    const rest = entries.length > 0 && entries[0]!.offset <= delivered.offset
      ? entries.filter(({ offset }) => offset > delivered.offset)
      : entries
    if (newest <= delivered.offset && (!ended || delivered.ended)) return
    delivered.offset = Math.max(delivered.offset, newest)
    delivered.ended ||= ended
    this.#sources.deliver({ epoch, newest: delivered.offset, ended: delivered.ended, entries: rest })
  }

  /** Replaces the current epoch by another one. */
  #restart ({ epoch, newest, ended }: LogBatch): void {
    this.#delivered = { epoch, offset: newest, ended }
    this.#sources.deliver({ epoch, newest, ended, entries: [] })
  }

  /** Reads missing entries. Entries that the store no longer has are a gap in the offsets. */
  async #readMissing (): Promise<void> {
    if (this.#reading) return
    this.#reading = true
    try {
      while (!this.#closed) {
        this.#includedCount = this.#waiting.length
        const batch = await this.#sources.read(this.#delivered!.offset)
        if (this.#closed) return
        if (this.#merge(batch)) break
      }
    } catch {
      // Closed, or a permanent error: the next message starts another read.
      this.#waiting = []
    }
    this.#reading = false
  }

  /** Returns false if the store has more entries, or must be read again for messages that arrived meanwhile. */
  #merge (batch: LogBatch): boolean {
    const { epoch, newest, ended, entries } = batch
    const last = entries.at(-1)?.offset
    if (epoch !== this.#delivered!.epoch) {
      this.#restart(batch)
    } else if (last !== undefined) {
      this.#deliver({ ...batch, newest: last, ended: ended && last >= newest })
      if (last < newest) return false
    } else {
      // The store has evicted the entries. They may be among the waiting messages.
      const received = this.#waiting.find(other =>
        other.epoch === epoch && other.entries.length > 0 && other.newest > this.#delivered!.offset)
      const reach = received === undefined ? newest : Math.min(newest, firstOffset(received) - 1)
      this.#deliver({ ...batch, newest: reach, ended: ended && reach >= newest })
    }
    return this.#drain(newest)
  }

  /** Delivers the waiting batches. `reach`: the newest offset in the store's answer, after such an answer. */
  #drain (reach = Infinity): boolean {
    const waiting = this.#waiting
    this.#waiting = []
    for (const [index, batch] of waiting.entries()) {
      if (this.#isNext(batch)) {
        this.#deliver(batch)
      } else if (index >= this.#includedCount || (batch.epoch === this.#delivered!.epoch && batch.newest <= reach)) {
        // The batch arrived after the request, or is of an old epoch: the store knows.
        this.#waiting = waiting.slice(index + 1).filter(({ epoch }) => epoch === this.#delivered!.epoch)
        if (batch.epoch === this.#delivered!.epoch) this.#waiting.unshift(batch)
        return false
      }
    }
    return true
  }
}

const firstOffset = ({ entries, newest }: LogBatch): number => entries[0]?.offset ?? newest + 1
