import { sharedScope } from '../scope.ts'
import type { LogBatch } from './log.ts'

/** The listeners of a log, which share one tail. */
export class TailListeners {
  readonly #listeners = new Set<(batch: LogBatch) => void>()
  readonly #start: () => void
  readonly #stop: () => void

  /** `start` is called with each listener, `stop` when there is none any more. */
  constructor (start: () => void, stop: () => void) {
    this.#start = start
    this.#stop = stop
  }

  get size (): number { return this.#listeners.size }

  /** Returns the function that removes the listener. */
  add (listener: (batch: LogBatch) => void): () => void {
    // One function may be added twice: each call returns its own removal.
    const own = (batch: LogBatch): void => listener(batch)
    this.#listeners.add(own)
    // A connection and its timers serve all listeners, and keep no caller's context.
    sharedScope.runInAsyncScope(this.#start)
    return () => {
      if (this.#listeners.delete(own) && this.#listeners.size === 0) this.#stop()
    }
  }

  deliver (batch: LogBatch): void {
    for (const listener of this.#listeners) listener(batch)
  }

  /** Removes all listeners. */
  clear (): void {
    this.#listeners.clear()
    this.#stop()
  }
}
