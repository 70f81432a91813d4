import { failureIn } from './callback.ts'
import type { StreamState } from './stream-reader.ts'
import { StreamError } from './stream-error.ts'

/** Any event that a stream gives. */
export interface ReceivedEvent { readonly event: string, readonly data: unknown, readonly id: string }

/** How a stream ended: the server has no more (`complete`), this side left (`closed`), or it failed. */
export type CloseResult =
  | { readonly reason: 'complete' | 'closed', readonly error?: undefined }
  | { readonly reason: 'error', readonly error: StreamError }

/** The event of that name; any, where names are known only when they come. */
type Named<E extends ReceivedEvent, N> = E extends { event: N } ? E : string extends E['event'] ? E : never

interface Listener<E> { readonly name: string, readonly call: (event: E) => void }
type Next<E> = IteratorResult<E, undefined>

const OVER = { value: undefined, done: true } as const

/**
 * The events of a stream, for one loop and any number of listeners. It reads no faster than they take, and nothing while
 * nobody takes.
 */
export class EventStream<E extends ReceivedEvent> implements AsyncIterable<E> {
  /** Settles when it is over, and never rejects. */
  readonly closed: Promise<CloseResult>
  readonly #leave: () => void
  readonly #onStateChange: ((state: StreamState) => void) | undefined
  readonly #listeners = new Set<Listener<E>>()
  #state: StreamState = 'connecting'
  #ended = false
  #settle!: (closed: CloseResult) => void
  /** There is a loop. */
  #looped = false
  /** It waits for events. */
  readonly #waiting: Array<(next: Promise<Next<E>> | Next<E>) => void> = []
  /** An event waits for it. */
  #next: E | undefined
  /** It has not been told of it. */
  #failure: StreamError | undefined
  /** Wakes up what hands events over. */
  #wake: () => void = () => {}

  /** `source` gives events and states, and ends when `leave` was called. */
  constructor (source: AsyncIterable<ReadonlyArray<E | StreamState>>, leave: () => void, onStateChange?: (state: StreamState) => void) {
    this.#leave = leave
    this.#onStateChange = onStateChange
    this.closed = new Promise(resolve => { this.#settle = resolve })
    this.#run(source).then(() => this.#end({ reason: 'complete' }), error => this.#end({ reason: 'error', error: failureIn('A function of the program', error) }))
  }

  get state (): StreamState { return this.#state }

  /** Calls the listener with each event of that name; answers with what takes it away again. */
  on<N extends E['event']> (name: N, listener: (event: Named<E, N>) => void): () => void {
    const added = { name, call: listener as Listener<E>['call'] }
    if (!this.#ended) this.#listeners.add(added)
    this.#wake()
    return () => { this.#listeners.delete(added) }
  }

  /** Leaves. Nothing comes any more, not even what has come already. */
  close (): void { this.#end({ reason: 'closed' }) }

  /** Leaving the loop closes the stream; its failure is thrown in it. There is one loop: FST_SSE_LOCKED for a second one. */
  [Symbol.asyncIterator] (): AsyncIterator<E, undefined> {
    if (this.#looped) throw new StreamError('FST_SSE_LOCKED', 'A stream has one loop: connect again')
    this.#looped = true
    this.#wake()
    return {
      next: () => {
        const value = this.#next
        if (value === undefined) return this.#ended ? this.#over() : new Promise(resolve => { this.#waiting.push(resolve) })
        this.#next = undefined
        this.#wake()
        return Promise.resolve({ value, done: false })
      },
      return: () => {
        this.close()
        return this.#over()
      }
    }
  }

  async #run (source: AsyncIterable<ReadonlyArray<E | StreamState>>): Promise<void> {
    for await (const came of source) {
      for (const item of came) {
        if (this.#ended) return
        if (typeof item === 'string') this.#enter(item)
        else {
          while (!this.#looped && this.#listeners.size === 0 && !this.#ended) await this.#change()
          this.#hand(item)
          while (this.#next !== undefined) await this.#change()
          // The source sees that this one was not taken.
          if (this.#ended) return
        }
      }
    }
  }

  #change (): Promise<void> {
    return new Promise(resolve => { this.#wake = resolve })
  }

  #hand (event: E): void {
    for (const listener of [...this.#listeners]) {
      // One before it may have taken it away, or closed the stream.
      if (listener.name === event.event && this.#listeners.has(listener)) attempt(() => listener.call(event))
    }
    if (!this.#looped || this.#ended) return
    const waiting = this.#waiting.shift()
    if (waiting === undefined) this.#next = event
    else waiting({ value: event, done: false })
  }

  #enter (state: StreamState): void {
    if (this.#state === state) return
    this.#state = state
    attempt(() => this.#onStateChange?.(state))
  }

  #over (): Promise<Next<E>> {
    const failure = this.#failure
    this.#failure = undefined
    return failure === undefined ? Promise.resolve(OVER) : Promise.reject(failure)
  }

  #end (closed: CloseResult): void {
    if (this.#ended) return
    this.#ended = true
    this.#failure = closed.error
    this.#next = undefined
    this.#listeners.clear()
    for (const waiting of this.#waiting) waiting(this.#over())
    this.#leave()
    this.#wake()
    this.#enter('closed')
    this.#settle(closed)
  }
}

/** What the user's function throws is told as of any listener, as an error that nobody caught. It does not end the stream. */
function attempt (call: () => void): void {
  try {
    call()
  } catch (error) {
    queueMicrotask(() => { throw error })
  }
}
