import type { DecodedEvent } from './frame-batch.ts'
import { FST_SSE_EVENT, FST_SSE_LAGGING, describe } from '../errors.ts'
import { checkEvent } from '../contract/contract.ts'
import { Fifo } from '../fifo.ts'
import type { ResolvedSubscription } from './resolved-subscription.ts'
import { Subscriber } from './subscriber.ts'
import type { SubscriberSink } from './subscriber-context.ts'

// The maximal number of events that wait for the loop: later events wait in the log.
const MAX_QUEUED = 64

interface PendingRead {
  resolve: (result: IteratorResult<DecodedEvent, undefined>) => void
  reject: (error: unknown) => void
}

/** Iterates over a subscription in this process. */
export class SubscriptionIterator implements AsyncIterator<DecodedEvent, undefined>, SubscriberSink {
  readonly #resolve: () => ResolvedSubscription
  #subscriber: Subscriber | undefined
  readonly #events = new Fifo<DecodedEvent>()
  readonly #pendingReads = new Fifo<PendingRead>()
  #started = false
  #ended = false
  #error: { cause: unknown } | undefined

  /** `resolve` runs at the first `next()`: until then an idle channel may leave memory. */
  constructor (resolve: () => ResolvedSubscription) {
    this.#resolve = resolve
  }

  next (): Promise<IteratorResult<DecodedEvent, undefined>> {
    if (!this.#started && !this.#ended) {
      this.#started = true
      try {
        this.#subscriber = new Subscriber([this.#resolve()], this)
        this.#subscriber.start(undefined)
      } catch (error) {
        this.fail(error)
      }
    }
    // Read from the log first: its events are delivered now, not after the next wait.
    if (this.#events.size === 0 && !this.#ended) this.#subscriber?.pull()
    const value = this.#events.shift()
    if (value !== undefined) return Promise.resolve({ value, done: false })
    const error = this.#error
    this.#error = undefined
    if (error !== undefined) return Promise.reject(error.cause)
    if (this.#ended) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve, reject) => { this.#pendingReads.push({ resolve, reject }) })
  }

  return (): Promise<IteratorResult<DecodedEvent, undefined>> {
    this.#events.clear()
    this.#error = undefined
    this.complete()
    return Promise.resolve({ value: undefined, done: true })
  }

  hasRoom (): boolean {
    return this.#events.size < MAX_QUEUED
  }

  write (event: unknown): boolean {
    const { event: name, data } = Object(event) as Partial<DecodedEvent>
    if (data === undefined) {
      // Positions without an event are for clients: in a loop every event has its own.
      try {
        const control = checkEvent(event)
        if (name !== undefined || Object.hasOwn(control, 'data')) throw new FST_SSE_EVENT(describe(event))
      } catch (error) {
        this.fail(error)
      }
      return true
    }
    // Start events before the last one have no position: their id is empty.
    const value = (event as DecodedEvent).id === undefined
      ? { ...event as DecodedEvent, id: '' }
      : event as DecodedEvent
    const pendingRead = this.#pendingReads.shift()
    if (pendingRead === undefined) this.#events.push(value)
    else pendingRead.resolve({ value, done: false })
    return true
  }

  complete (): void {
    this.#ended = true
    this.#subscriber?.stop()
    for (const pendingRead of this.#pendingReads.clear()) this.next().then(pendingRead.resolve, pendingRead.reject)
  }

  respondNoContent (): void { this.complete() }

  channelEnded (): void { this.complete() }

  fellBehind (channel: string): void { this.fail(new FST_SSE_LAGGING(channel)) }

  fail (error: unknown): void {
    this.#error = { cause: error }
    this.complete()
  }
}
