import { setImmediate } from '../clock.ts'
import type { AnyEvent, EventMap, EventOf } from '../contract/event-types.ts'
import { FST_SSE_OPTION, FST_SSE_QUEUE_ENDED, FST_SSE_QUEUE_LOCKED, describe } from '../errors.ts'
import { Fifo } from '../fifo.ts'
import { sharedController } from '../listeners.ts'

export interface EventQueueOptions {
  /** How many events may wait for the reader before `push` waits too. Default 0: each push waits until its event is taken. */
  capacity?: number | undefined
}

interface BlockedPush<E> { event: E, settle: (taken: boolean) => void }

/**
 * The hand-over between a background producer and one stream, like a channel in Go:
 * `push` waits while the queue is full, and tells when nobody will ever take the event.
 */
export class EventQueue<M extends EventMap = never, E = [M] extends [never] ? AnyEvent : EventOf<M>> implements AsyncIterable<E> {
  readonly #capacity: number
  readonly #controller = sharedController()
  readonly #events = new Fifo<E>()
  readonly #pushers = new Fifo<BlockedPush<E>>()
  readonly #readers = new Fifo<{ resolve: (result: IteratorResult<E, undefined>) => void, reject: (error: unknown) => void }>()
  #taken = false
  #ended = false
  #error: { cause: unknown } | undefined

  constructor ({ capacity = 0 }: EventQueueOptions = {}) {
    if (!Number.isSafeInteger(capacity) || capacity < 0) throw new FST_SSE_OPTION('capacity', 'a whole number, 0 or more', describe(capacity))
    this.#capacity = capacity
  }

  /** Aborts when the reader has left: the stream that this queue fed is over. */
  get signal (): AbortSignal { return this.#controller.signal }

  /** How many events wait to be taken. */
  get size (): number { return this.#events.size + this.#pushers.size }

  /**
   * Resolves to true when the event is taken or has its place in the queue, to false when the reader has left:
   * then stop producing. Rejects with FST_SSE_QUEUE_ENDED after `end()`.
   */
  push (event: E): Promise<boolean> {
    if (this.#controller.signal.aborted) {
      // In its own turn of the loop, so that a producer that ignores the answer cannot starve the process.
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

  /** No more events: the stream ends when the queued ones are sent; with an error, it ends as if the source had thrown it. */
  end (error?: unknown): void {
    if (this.#ended) return
    this.#ended = true
    if (error !== undefined) this.#error = { cause: error }
    for (const reader of this.#readers.clear()) {
      const failed = this.#failure()
      if (failed === undefined) reader.resolve({ value: undefined, done: true })
      else reader.reject(failed.cause)
    }
  }

  [Symbol.asyncIterator] (): AsyncIterator<E, undefined> {
    if (this.#taken) throw new FST_SSE_QUEUE_LOCKED()
    this.#taken = true
    return {
      next: () => this.#next(),
      return: () => {
        this.#leave()
        return Promise.resolve({ value: undefined, done: true })
      }
    }
  }

  #next (): Promise<IteratorResult<E, undefined>> {
    if (this.#events.size === 0 && this.#pushers.size === 0) {
      const failed = this.#failure()
      if (failed !== undefined) return Promise.reject(failed.cause)
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

  /** The producer's error is told once. */
  #failure (): { cause: unknown } | undefined {
    const error = this.#error
    this.#error = undefined
    return error
  }

  #leave (): void {
    this.#events.clear()
    this.#controller.abort()
    for (const pusher of this.#pushers.clear()) pusher.settle(false)
    for (const reader of this.#readers.clear()) reader.resolve({ value: undefined, done: true })
  }
}
