import type { DecodedEvent } from './frame-batch.ts'
import { FST_SSE_EVENT, FST_SSE_LAGGING, describe } from '../errors.ts'
import { checkEvent } from '../contract/contract.ts'
import { Fifo } from '../fifo.ts'
import { Subscriber, type ResolvedSubscription } from './subscriber.ts'
import type { SubscriberSink } from './subscriber-context.ts'

// How many events may wait for the loop: the rest waits in the log.
const AHEAD = 64

interface Waiting { resolve: (result: IteratorResult<DecodedEvent, undefined>) => void, reject: (error: unknown) => void }

/** A subscription that is read by a loop in this process. */
export class SubscriptionIterator implements AsyncIterator<DecodedEvent, undefined>, SubscriberSink {
  readonly #subscribed: () => ResolvedSubscription
  #subscriber: Subscriber | undefined
  readonly #events = new Fifo<DecodedEvent>()
  readonly #readers = new Fifo<Waiting>()
  #started = false
  #over = false
  #error: { cause: unknown } | undefined

  /** Looks for what is behind it at the first `next()`: an idle channel may leave memory before. */
  constructor (subscribed: () => ResolvedSubscription) {
    this.#subscribed = subscribed
  }

  next (): Promise<IteratorResult<DecodedEvent, undefined>> {
    if (!this.#started && !this.#over) {
      this.#started = true
      try {
        this.#subscriber = new Subscriber([this.#subscribed()], this)
        this.#subscriber.start(undefined)
      } catch (error) {
        this.fail(error)
      }
    }
    // More room first: what is in the log comes in now, not after the next wait.
    if (this.#events.size === 0 && !this.#over) this.#subscriber?.pull()
    const value = this.#events.shift()
    if (value !== undefined) return Promise.resolve({ value, done: false })
    const error = this.#error
    this.#error = undefined
    if (error !== undefined) return Promise.reject(error.cause)
    if (this.#over) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve, reject) => { this.#readers.push({ resolve, reject }) })
  }

  return (): Promise<IteratorResult<DecodedEvent, undefined>> {
    this.#events.clear()
    this.#error = undefined
    this.complete()
    return Promise.resolve({ value: undefined, done: true })
  }

  hasRoom (): boolean {
    return this.#events.size < AHEAD
  }

  write (event: unknown): boolean {
    const { event: name, data } = Object(event) as Partial<DecodedEvent>
    if (data === undefined) {
      // Positions without an event are for clients: here every event has its own.
      try {
        const control = checkEvent(event)
        if (name !== undefined || Object.hasOwn(control, 'data')) throw new FST_SSE_EVENT(describe(event))
      } catch (error) {
        this.fail(error)
      }
      return true
    }
    // Before the last of an opening there is no position: an empty id is none.
    const value = (event as DecodedEvent).id === undefined ? { ...event as DecodedEvent, id: '' } : event as DecodedEvent
    const reader = this.#readers.shift()
    if (reader === undefined) this.#events.push(value)
    else reader.resolve({ value, done: false })
    return true
  }

  complete (): void {
    this.#over = true
    this.#subscriber?.stop()
    for (const reader of this.#readers.clear()) this.next().then(reader.resolve, reader.reject)
  }

  respondNoContent (): void { this.complete() }

  channelEnded (): void { this.complete() }

  fellBehind (channel: string): void { this.fail(new FST_SSE_LAGGING(channel)) }

  fail (error: unknown): void {
    this.#error = { cause: error }
    this.complete()
  }
}
