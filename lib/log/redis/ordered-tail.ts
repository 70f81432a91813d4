import type { LogBatch } from '../log.ts'

type LogProgress = Omit<LogBatch, 'entries'>

/** What a sequence is made of. */
export interface TailSources {
  /** What the store has after an offset. */
  read: (after: number) => Promise<LogBatch>
  /** In order, each entry once. Does not throw. */
  deliver: (batch: LogBatch) => void
}

// What comes while the store is asked waits, up to so many batches: the store has them all.
const MAX_WAITING = 1_000

/**
 * One sequence out of what is received, which may be lost, doubled or of a log that is no more, and what the store has, which
 * is right and takes a while. The offsets deliver which is which: what follows is delivered, what is known is dropped, and
 * where something is missing the store is asked.
 */
export class OrderedTail {
  readonly #sources: TailSources
  /** Up to where it is delivered. Undefined as long as nobody knows where to begin. */
  #delivered: { epoch: string, offset: number, ended: boolean } | undefined
  #waiting: LogBatch[] = []
  /** How many of them arrived before the question to the store: its answer includes these. */
  #includedCount = 0
  #reading = false
  #closed = false

  constructor (sources: TailSources) {
    this.#sources = sources
  }

  /** From the bell: its entries follow each other. */
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

  /** Where the log stands, from the store: who knows of no position yet begins there. */
  start ({ epoch, newest }: LogProgress): void {
    if (this.#delivered !== undefined || this.#closed) return
    this.#delivered = { epoch, offset: newest, ended: false }
    if (!this.#drain()) this.#readMissing()
  }

  /** Where the log stands, from the store: what was not received by now may have been lost on its way. */
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
    const rest = entries.length > 0 && entries[0]!.offset <= delivered.offset ? entries.filter(({ offset }) => offset > delivered.offset) : entries
    if (newest <= delivered.offset && (!ended || delivered.ended)) return
    delivered.offset = Math.max(delivered.offset, newest)
    delivered.ended ||= ended
    this.#sources.deliver({ epoch, newest: delivered.offset, ended: delivered.ended, entries: rest })
  }

  /** Another log in the place of the one that was delivered of. */
  #restart ({ epoch, newest, ended }: LogBatch): void {
    this.#delivered = { epoch, offset: newest, ended }
    this.#sources.deliver({ epoch, newest, ended, entries: [] })
  }

  /** Reads what is missing; where even the store does not have it, the offsets show the gap. */
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
      // Closed, or refused: whatever is received next asks again.
      this.#waiting = []
    }
    this.#reading = false
  }

  /** False when the store has more, or has to be asked again for what came meanwhile. */
  #merge (batch: LogBatch): boolean {
    const { epoch, newest, ended, entries } = batch
    const last = entries.at(-1)?.offset
    if (epoch !== this.#delivered!.epoch) {
      this.#restart(batch)
    } else if (last !== undefined) {
      this.#deliver({ ...batch, newest: last, ended: ended && last >= newest })
      if (last < newest) return false
    } else {
      // It is gone from the store. What was received of it may be there still.
      const received = this.#waiting.find(other => other.epoch === epoch && other.newest > this.#delivered!.offset)
      const reach = received === undefined ? newest : Math.min(newest, firstOffset(received) - 1)
      this.#deliver({ ...batch, newest: reach, ended: ended && reach >= newest })
    }
    return this.#drain(newest)
  }

  /** Passes on the waiting batches. `reach`: the newest offset of the store's answer, after such an answer. */
  #drain (reach = Infinity): boolean {
    const waiting = this.#waiting
    this.#waiting = []
    for (const [index, batch] of waiting.entries()) {
      if (this.#isNext(batch)) {
        this.#deliver(batch)
      } else if (index >= this.#includedCount || (batch.epoch === this.#delivered!.epoch && batch.newest <= reach)) {
        // Heard after the store was asked, or of a log that is no more: it knows.
        this.#waiting = waiting.slice(index + 1).filter(({ epoch }) => epoch === this.#delivered!.epoch)
        if (batch.epoch === this.#delivered!.epoch) this.#waiting.unshift(batch)
        return false
      }
    }
    return true
  }
}

const firstOffset = ({ entries, newest }: LogBatch): number => entries[0]?.offset ?? newest + 1
