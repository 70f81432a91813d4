import type { FrameBatch } from './frame-batch.ts'

interface BatchReader { deliver: (chunk: FrameBatch) => void }

/** A chunk on its way to those who stand at the end of a log. */
export class Broadcast {
  readonly batch: FrameBatch
  /** When the first of its events came. */
  readonly since: number
  /** How many it set out for. */
  readonly subscribers: number
  // The set's own: who leaves is passed over, who comes to the end meanwhile is handed the chunk too, and sees by its position that it has it.
  readonly #readers: Iterator<BatchReader>

  constructor (chunk: FrameBatch, readers: ReadonlySet<BatchReader>, since: number) {
    this.batch = chunk
    this.since = since
    this.subscribers = readers.size
    this.#readers = readers.values()
  }

  /** Hands it to the next ones, so many at most. How many more it could have been; 0: it is still on its way. */
  go (most: number): number {
    for (let left = most; left > 0; left--) {
      const { done, value } = this.#readers.next()
      if (done === true) return left
      value.deliver(this.batch)
    }
    return 0
  }
}
