import { callbackError } from './callback.ts'
import type { StreamState } from './stream-reader.ts'
import { StreamError } from './stream-error.ts'

/** Any event of a stream. */
export interface ReceivedEvent { readonly event: string, readonly data: unknown, readonly id: string }

/** How a stream ended: the server has no more events (`complete`), the client closed it (`closed`), or it failed. */
export type CloseResult =
  | { readonly reason: 'complete' | 'closed', readonly error?: undefined }
  | { readonly reason: 'error', readonly error: StreamError }

/** The event of that name; any event if the names are not known at compile time. */
type Named<E extends ReceivedEvent, N> = E extends { event: N } ? E : string extends E['event'] ? E : never

interface Listener<E> { readonly name: string, readonly call: (event: E) => void }
type Next<E> = IteratorResult<E, undefined>

const DONE = { value: undefined, done: true } as const

/**
 * The events of a stream, for one loop and any number of listeners. It reads no faster than the loop, and nothing
 * without a loop or a listener.
 */
export class EventStream<E extends ReceivedEvent> implements AsyncIterable<E> {
  /** Resolves when the stream is over. Never rejects. */
  readonly closed: Promise<CloseResult>
  readonly #abort: () => void
  readonly #onStateChange: ((state: StreamState) => void) | undefined
  readonly #listeners = new Set<Listener<E>>()
  #state: StreamState = 'connecting'
  #ended = false
  #settle!: (result: CloseResult) => void
  #hasLoop = false
  /** The calls of next() that wait for an event. */
  readonly #waiting: Array<(next: Promise<Next<E>> | Next<E>) => void> = []
  /** The event that waits for a call of next(). */
  #next: E | undefined
  /** The failure that the loop has not received yet. */
  #failure: StreamError | undefined
  /** Resumes the delivery of events. */
  #wake: () => void = () => {}

  /** `source` yields events and states, and ends after a call of `abort`. */
  constructor (
    source: AsyncIterable<ReadonlyArray<E | StreamState>>,
    abort: () => void,
    onStateChange?: (state: StreamState) => void
  ) {
    this.#abort = abort
    this.#onStateChange = onStateChange
    this.closed = new Promise(resolve => {
      this.#settle = resolve
    })
    this.#run(source).then(() => this.#end({ reason: 'complete' }),
      error => this.#end({ reason: 'error', error: callbackError('A callback', error) }))
  }

  get state (): StreamState { return this.#state }

  /** Calls the listener with each event of that name. Returns a function that removes the listener. */
  on<N extends E['event']> (name: N, listener: (event: Named<E, N>) => void): () => void {
    const added = { name, call: listener as Listener<E>['call'] }
    if (!this.#ended) this.#listeners.add(added)
    this.#wake()
    return () => { this.#listeners.delete(added) }
  }

  /** Closes the stream at once. Events that were received and not yet read are dropped. */
  close (): void { this.#end({ reason: 'closed' }) }

  /** Leaving the loop closes the stream; a failure is thrown in the loop. A second loop throws FST_SSE_LOCKED. */
  [Symbol.asyncIterator] (): AsyncIterator<E, undefined> {
    if (this.#hasLoop) throw new StreamError('FST_SSE_LOCKED', 'A stream has one loop: connect again')
    this.#hasLoop = true
    this.#wake()
    return {
      next: () => {
        const value = this.#next
        if (value === undefined) {
          return this.#ended
            ? this.#finish()
            : new Promise(resolve => {
              this.#waiting.push(resolve)
            })
        }
        this.#next = undefined
        this.#wake()
        return Promise.resolve({ value, done: false })
      },
      return: () => {
        this.close()
        return this.#finish()
      }
    }
  }

  async #run (source: AsyncIterable<ReadonlyArray<E | StreamState>>): Promise<void> {
    for await (const items of source) {
      for (const item of items) {
        if (this.#ended) return
        if (typeof item === 'string') this.#setState(item)
        else {
          while (!this.#hasLoop && this.#listeners.size === 0 && !this.#ended) await this.#change()
          this.#deliver(item)
          while (this.#next !== undefined) await this.#change()
          // Return here, so that the source sees that this event was not read.
          if (this.#ended) return
        }
      }
    }
  }

  #change (): Promise<void> {
    return new Promise(resolve => { this.#wake = resolve })
  }

  #deliver (event: E): void {
    for (const listener of [...this.#listeners]) {
      // An earlier listener may have removed it, or closed the stream.
      if (listener.name === event.event && this.#listeners.has(listener)) attempt(() => listener.call(event))
    }
    if (!this.#hasLoop || this.#ended) return
    const waiting = this.#waiting.shift()
    if (waiting === undefined) this.#next = event
    else waiting({ value: event, done: false })
  }

  #setState (state: StreamState): void {
    if (this.#state === state) return
    this.#state = state
    attempt(() => this.#onStateChange?.(state))
  }

  async #finish (): Promise<Next<E>> {
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw failure
    return DONE
  }

  #end (result: CloseResult): void {
    if (this.#ended) return
    this.#ended = true
    this.#failure = result.error
    this.#next = undefined
    this.#listeners.clear()
    for (const waiting of this.#waiting) waiting(this.#finish())
    this.#abort()
    this.#wake()
    this.#setState('closed')
    this.#settle(result)
  }
}

/**
 * Calls a function of the program. Its error becomes an uncaught one, as of any listener, and does not end the stream.
 */
function attempt (call: () => void): void {
  try {
    call()
  } catch (error) {
    queueMicrotask(() => { throw error })
  }
}
