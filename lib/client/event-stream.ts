import type { StreamState } from './reading.ts'
import { StreamError } from './stream-error.ts'

/** Any event that a stream gives. */
export interface Received { readonly event: string, readonly data: unknown, readonly id: string }

/** How a stream ended: the server has no more (`complete`), this side left (`closed`), or it failed. */
export type Closed =
  | { readonly reason: 'complete' | 'closed', readonly error?: undefined }
  | { readonly reason: 'error', readonly error: StreamError }

/** The event of that name; any, where names are known only when they come. */
type Named<E extends Received, N> = E extends { event: N } ? E : string extends E['event'] ? E : never

type Listener<E> = (event: E) => void

/** The loop over a stream: who waits in it for an event, the event that waits for it, and the error that it has not been told. */
interface Reader<E> {
  readonly waiting: Array<{ resolve: (result: IteratorResult<E, undefined>) => void, reject: (error: unknown) => void }>
  next: E | undefined
  failure: StreamError | undefined
}

/**
 * The events of a stream, for one loop and any number of listeners. It reads no faster than they take, and nothing while
 * nobody takes.
 */
export class EventStream<E extends Received> implements AsyncIterable<E> {
  /** Settles when it is over, and never rejects. */
  readonly closed: Promise<Closed>
  readonly #leave: () => void
  readonly #onState: ((state: StreamState) => void) | undefined
  readonly #listeners = new Map<string, Set<Listener<E>>>()
  #state: StreamState = 'connecting'
  #ended: Closed | undefined
  #settle!: (closed: Closed) => void
  #reader: Reader<E> | undefined
  /** Wakes up what hands events over. */
  #wake: () => void = () => {}

  /** `source` gives events and states, and ends when `leave` was called. */
  constructor (source: AsyncIterable<ReadonlyArray<E | StreamState>>, leave: () => void, onState?: (state: StreamState) => void) {
    this.#leave = leave
    this.#onState = onState
    this.closed = new Promise(resolve => { this.#settle = resolve })
    this.#run(source).then(() => this.#end({ reason: 'complete' }), (error: StreamError) => this.#end({ reason: 'error', error }))
  }

  get state (): StreamState { return this.#state }

  /** Calls the listener with each event of that name; answers with what takes it away again. */
  on<N extends E['event']> (name: N, listener: (event: Named<E, N>) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners.add(listener as Listener<E>))
    this.#wake()
    return () => {
      if (listeners.delete(listener as Listener<E>) && listeners.size === 0 && this.#listeners.get(name) === listeners) this.#listeners.delete(name)
    }
  }

  /** Leaves. Nothing comes any more, not even what has come already. */
  close (): void { this.#end({ reason: 'closed' }) }

  /** Leaving the loop closes the stream; its failure is thrown in it. There is one loop: FST_SSE_READER for a second one. */
  [Symbol.asyncIterator] (): AsyncIterator<E, undefined> {
    if (this.#reader !== undefined) throw new StreamError('FST_SSE_READER', 'A stream is read by one loop: connect again for another, or use on()')
    const reader: Reader<E> = this.#reader = { waiting: [], next: undefined, failure: this.#ended?.error }
    this.#wake()
    return {
      next: () => {
        const value = reader.next
        if (value !== undefined) {
          reader.next = undefined
          this.#wake()
          return Promise.resolve({ value, done: false })
        }
        if (this.#ended === undefined) return new Promise((resolve, reject) => { reader.waiting.push({ resolve, reject }) })
        const { failure } = reader
        reader.failure = undefined
        return failure === undefined ? Promise.resolve(OVER) : Promise.reject(failure)
      },
      return: () => {
        this.close()
        return Promise.resolve(OVER)
      }
    }
  }

  async #run (source: AsyncIterable<ReadonlyArray<E | StreamState>>): Promise<void> {
    for await (const came of source) {
      for (const item of came) {
        if (typeof item === 'string') this.#enter(item)
        else {
          while (this.#reader === undefined && this.#listeners.size === 0 && this.#ended === undefined) await this.#change()
          if (this.#ended === undefined) this.#hand(item)
          while (this.#reader?.next !== undefined) await this.#change()
        }
        if (this.#ended !== undefined) return
      }
    }
  }

  #change (): Promise<void> {
    return new Promise(resolve => { this.#wake = resolve })
  }

  #hand (event: E): void {
    for (const listener of [...this.#listeners.get(event.event) ?? []]) {
      if (this.#ended === undefined) attempt(() => listener(event))
    }
    const reader = this.#reader
    if (reader === undefined || this.#ended !== undefined) return
    const waiting = reader.waiting.shift()
    if (waiting === undefined) reader.next = event
    else waiting.resolve({ value: event, done: false })
  }

  #enter (state: StreamState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    attempt(() => this.#onState?.(state))
  }

  #end (closed: Closed): void {
    if (this.#ended !== undefined) return
    this.#ended = closed
    const reader = this.#reader
    if (reader !== undefined) {
      reader.next = undefined
      const [first, ...others] = reader.waiting.splice(0)
      if (first === undefined) reader.failure = closed.error
      else if (closed.error === undefined) first.resolve(OVER)
      else first.reject(closed.error)
      for (const { resolve } of others) resolve(OVER)
    }
    this.#listeners.clear()
    this.#leave()
    this.#wake()
    this.#enter('closed')
    this.#settle(closed)
  }
}

const OVER = { value: undefined, done: true } as const

/** What the user's function throws is told as of any listener: as an error that nobody caught. It does not end the stream. */
function attempt (call: () => void): void {
  try {
    call()
  } catch (error) {
    queueMicrotask(() => { throw error })
  }
}
