import type { LogBatch } from '../log.ts'

type Standing = Omit<LogBatch, 'entries'>

/** What a sequence is made of. */
export interface TailSources {
  /** What the store has after an offset. */
  read: (after: number) => Promise<LogBatch>
  /** In order, each entry once. Does not throw. */
  tell: (batch: LogBatch) => void
}

// What comes while the store is asked waits, up to so many batches: the store has them all.
const MAX_WAITING = 1_000

/**
 * One sequence out of what is heard, which may be lost, doubled or of a log that is no more, and what the store has, which
 * is right and takes a while. The offsets tell which is which: what follows is told, what is known is dropped, and
 * where something is missing the store is asked.
 */
export class OrderedTail {
  readonly #sources: TailSources
  /** Up to where it is told. Undefined as long as nobody knows where to begin. */
  #told: { epoch: string, offset: number, ended: boolean } | undefined
  #waiting: LogBatch[] = []
  /** How many of them arrived before the question to the store: its answer includes these. */
  #due = 0
  #reading = false
  #closed = false

  constructor (sources: TailSources) {
    this.#sources = sources
  }

  /** From the bell: its entries follow each other. */
  onMessage (batch: LogBatch): void {
    if (this.#closed) return
    if (this.#told !== undefined && !this.#reading && this.#follows(batch)) return this.#pass(batch)
    this.#waiting.push(batch)
    if (this.#waiting.length > MAX_WAITING) {
      this.#waiting.shift()
      this.#due--
    }
    if (this.#told !== undefined) this.#ask()
  }

  /** Where the log stands, from the store: who knows of no position yet begins there. */
  start ({ epoch, newest }: Standing): void {
    if (this.#told !== undefined || this.#closed) return
    this.#told = { epoch, offset: newest, ended: false }
    if (!this.#drain()) this.#ask()
  }

  /** Where the log stands, from the store: what was not heard by now may have been lost on its way. */
  onStateChange (standing: Standing): void {
    this.start(standing)
    this.onMessage({ ...standing, entries: [] })
  }

  close (): void {
    this.#closed = true
    this.#waiting = []
  }

  #follows (batch: LogBatch): boolean {
    return batch.epoch === this.#told!.epoch && firstOf(batch) <= this.#told!.offset + 1
  }

  #pass ({ epoch, newest, ended, entries }: LogBatch): void {
    const told = this.#told!
    const rest = entries.length > 0 && entries[0]!.offset <= told.offset ? entries.filter(({ offset }) => offset > told.offset) : entries
    if (newest <= told.offset && (!ended || told.ended)) return
    told.offset = Math.max(told.offset, newest)
    told.ended ||= ended
    this.#sources.tell({ epoch, newest: told.offset, ended: told.ended, entries: rest })
  }

  /** Another log in the place of the one that was told of. */
  #beginAnew ({ epoch, newest, ended }: LogBatch): void {
    this.#told = { epoch, offset: newest, ended }
    this.#sources.tell({ epoch, newest, ended, entries: [] })
  }

  /** Reads what is missing; where even the store does not have it, the offsets show the gap. */
  async #ask (): Promise<void> {
    if (this.#reading) return
    this.#reading = true
    try {
      while (!this.#closed) {
        this.#due = this.#waiting.length
        const batch = await this.#sources.read(this.#told!.offset)
        if (this.#closed) return
        if (this.#settle(batch)) break
      }
    } catch {
      // Closed, or refused: whatever is heard next asks again.
      this.#waiting = []
    }
    this.#reading = false
  }

  /** False when the store has more, or has to be asked again for what came meanwhile. */
  #settle (batch: LogBatch): boolean {
    const { epoch, newest, ended, entries } = batch
    const last = entries.at(-1)?.offset
    if (epoch !== this.#told!.epoch) {
      this.#beginAnew(batch)
    } else if (last !== undefined) {
      this.#pass({ ...batch, newest: last, ended: ended && last >= newest })
      if (last < newest) return false
    } else {
      // It is gone from the store. What was heard of it may be there still.
      const heard = this.#waiting.find(other => other.epoch === epoch && other.newest > this.#told!.offset)
      const reach = heard === undefined ? newest : Math.min(newest, firstOf(heard) - 1)
      this.#pass({ ...batch, newest: reach, ended: ended && reach >= newest })
    }
    return this.#drain(newest)
  }

  /** Passes on the waiting batches. `reach`: the newest offset of the store's answer, after such an answer. */
  #drain (reach = Infinity): boolean {
    const waiting = this.#waiting
    this.#waiting = []
    for (const [index, batch] of waiting.entries()) {
      if (this.#follows(batch)) {
        this.#pass(batch)
      } else if (index >= this.#due || (batch.epoch === this.#told!.epoch && batch.newest <= reach)) {
        // Heard after the store was asked, or of a log that is no more: it knows.
        this.#waiting = waiting.slice(index + 1).filter(({ epoch }) => epoch === this.#told!.epoch)
        if (batch.epoch === this.#told!.epoch) this.#waiting.unshift(batch)
        return false
      }
    }
    return true
  }
}

const firstOf = ({ entries, newest }: LogBatch): number => entries[0]?.offset ?? newest + 1
