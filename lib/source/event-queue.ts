import { setImmediate } from '../clock.ts'
import type { AnyEvent, EventMap, EventOf } from '../contract/event-types.ts'
import { FST_SSE_OPTION, FST_SSE_QUEUE_ENDED, FST_SSE_QUEUE_LOCKED, describe } from '../errors.ts'
import { Fifo } from '../fifo.ts'
import { sharedController } from '../listeners.ts'

/** Options of an EventQueue. */
export interface EventQueueOptions {
  /**
   * The number of events that may wait for the reader before `push` waits. Default 0: each push waits for the reader.
   */
  capacity?: number | undefined
}

interface BlockedPush<E> { event: E, settle: (accepted: boolean) => void }

/**
 * A queue between a background producer and one stream, like a channel in Go. `push` waits while the queue is full, and
 * resolves to false after the stream has ended.
 */
export class EventQueue<M extends EventMap = never, E = [M] extends [never] ? AnyEvent : EventOf<M>>
implements AsyncIterable<E> {
  readonly #capacity: number
  readonly #controller = sharedController()
  readonly #events = new Fifo<E>()
  readonly #pushers = new Fifo<BlockedPush<E>>()
  readonly #readers = new Fifo<
    { resolve: (result: IteratorResult<E, undefined>) => void, reject: (error: unknown) => void }
  >()

  #locked = false
  #ended = false
  #error: { cause: unknown } | undefined

  constructor ({ capacity = 0 }: EventQueueOptions = {}) {
    if (!Number.isSafeInteger(capacity) || capacity < 0) {
      throw new FST_SSE_OPTION('capacity', 'a whole number, 0 or more', describe(capacity))
    }
    this.#capacity = capacity
  }

  /** Aborts when the stream that reads this queue has ended. */
  get signal (): AbortSignal { return this.#controller.signal }

  /** The number of events that wait for the reader. */
  get size (): number { return this.#events.size + this.#pushers.size }

  /**
   * Adds an event. Resolves to true when the reader or the queue has accepted it, and to false if the stream has ended:
   * then stop producing. Rejects with FST_SSE_QUEUE_ENDED after `end()`.
   */
  push (event: E): Promise<boolean> {
    if (this.#controller.signal.aborted) {
      // Resolves in another iteration of the loop, so that a producer that ignores the result cannot starve the
      // process.
      return new Promise(resolve => { setImmediate(resolve, false) })
    }
    if (this.#ended) return Promise.reject(new FST_SSE_QUEUE_ENDED())
    const reader = this.#readers.shift()
    if (reader !== undefined) {
      reader.resolve({ value: event, done: false })
      return Promise.resolve(true)
    }
    if (this.#events.size < this.#capacity) {
      this.#events.push(event)
      return Promise.resolve(true)
    }
    return new Promise(resolve => { this.#pushers.push({ event, settle: resolve }) })
  }

  /** Ends the queue: the stream ends after the queued events. With an error, it ends as if the source had thrown it. */
  end (error?: unknown): void {
    if (this.#ended) return
    this.#ended = true
    if (error !== undefined) this.#error = { cause: error }
    for (const reader of this.#readers.clear()) {
      const failure = this.#takeError()
      if (failure === undefined) reader.resolve({ value: undefined, done: true })
      else reader.reject(failure.cause)
    }
  }

  [Symbol.asyncIterator] (): AsyncIterator<E, undefined> {
    if (this.#locked) throw new FST_SSE_QUEUE_LOCKED()
    this.#locked = true
    return {
      next: () => this.#next(),
      return: () => {
        this.#close()
        return Promise.resolve({ value: undefined, done: true })
      }
    }
  }

  #next (): Promise<IteratorResult<E, undefined>> {
    if (this.#events.size === 0 && this.#pushers.size === 0) {
      const failure = this.#takeError()
      if (failure !== undefined) return Promise.reject(failure.cause)
      if (this.#ended || this.#controller.signal.aborted) return Promise.resolve({ value: undefined, done: true })
      return new Promise((resolve, reject) => { this.#readers.push({ resolve, reject }) })
    }
    const pusher = this.#pushers.shift()
    pusher?.settle(true)
    if (this.#events.size === 0) return Promise.resolve({ value: pusher!.event, done: false })
    const value = this.#events.shift()!
    if (pusher !== undefined) this.#events.push(pusher.event)
    return Promise.resolve({ value, done: false })
  }

  /** Returns the error of `end()`, once. */
  #takeError (): { cause: unknown } | undefined {
    const error = this.#error
    this.#error = undefined
    return error
  }

  #close (): void {
    this.#events.clear()
    this.#controller.abort()
    for (const pusher of this.#pushers.clear()) pusher.settle(false)
    for (const reader of this.#readers.clear()) reader.resolve({ value: undefined, done: true })
  }
}
