import type { Received } from './frame-batch.ts'
import { FST_SSE_EVENT, FST_SSE_LAGGING, shown } from '../errors.ts'
import { asEvent } from '../contract/contract.ts'
import { Fifo } from '../fifo.ts'
import { Following, type Subscribed } from './subscriber.ts'
import type { Outlet } from './subscriber-context.ts'

// How many events may wait for the loop: the rest waits in the log.
const AHEAD = 64

interface Waiting { resolve: (result: IteratorResult<Received, undefined>) => void, reject: (error: unknown) => void }

/** A subscription that is read by a loop in this process. */
export class Iteration implements AsyncIterator<Received, undefined>, Outlet {
  readonly #subscribed: () => Subscribed
  #following: Following | undefined
  readonly #events = new Fifo<Received>()
  readonly #readers = new Fifo<Waiting>()
  #started = false
  #over = false
  #error: { cause: unknown } | undefined

  /** Looks for what is behind it at the first `next()`: an idle channel may leave memory before. */
  constructor (subscribed: () => Subscribed) {
    this.#subscribed = subscribed
  }

  next (): Promise<IteratorResult<Received, undefined>> {
    if (!this.#started && !this.#over) {
      this.#started = true
      try {
        this.#following = new Following([this.#subscribed()], this)
        this.#following.start(undefined)
      } catch (error) {
        this.failed(error)
      }
    }
    // More room first: what is in the log comes in now, not after the next wait.
    if (this.#events.size === 0 && !this.#over) this.#following?.pull()
    const value = this.#events.shift()
    if (value !== undefined) return Promise.resolve({ value, done: false })
    const error = this.#error
    this.#error = undefined
    if (error !== undefined) return Promise.reject(error.cause)
    if (this.#over) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve, reject) => { this.#readers.push({ resolve, reject }) })
  }

  return (): Promise<IteratorResult<Received, undefined>> {
    this.#events.clear()
    this.#error = undefined
    this.done()
    return Promise.resolve({ value: undefined, done: true })
  }

  wants (): boolean {
    return this.#events.size < AHEAD
  }

  take (event: unknown): boolean {
    const { event: name, data } = Object(event) as Partial<Received>
    if (data === undefined) {
      // Positions without an event are for clients: here every event has its own.
      try {
        const control = asEvent(event)
        if (name !== undefined || Object.hasOwn(control, 'data')) throw new FST_SSE_EVENT(shown(event))
      } catch (error) {
        this.failed(error)
      }
      return true
    }
    // Before the last of an opening there is no position: an empty id is none.
    const value = (event as Received).id === undefined ? { ...event as Received, id: '' } : event as Received
    const reader = this.#readers.shift()
    if (reader === undefined) this.#events.push(value)
    else reader.resolve({ value, done: false })
    return true
  }

  done (): void {
    this.#over = true
    this.#following?.stop()
    for (const reader of this.#readers.clear()) this.next().then(reader.resolve, reader.reject)
  }

  nothing (): void { this.done() }

  ended (): void { this.done() }

  lagging (channel: string): void { this.failed(new FST_SSE_LAGGING(channel)) }

  failed (error: unknown): void {
    this.#error = { cause: error }
    this.done()
  }
}
