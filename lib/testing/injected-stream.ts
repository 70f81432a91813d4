import { EventStream, type ReceivedEvent } from '../client/event-stream.ts'
import type { StreamState } from '../client/stream-reader.ts'
import type { ConsumedPosition } from './consumed-position.ts'
import type { InjectTransport, InjectedResponse } from './inject-transport.ts'
import { Deadline } from './deadline.ts'

export interface InjectedStreamSetup<E extends ReceivedEvent> {
  /** Method and path, for messages. */
  name: string
  transport: InjectTransport
  consumed: ConsumedPosition<E>
  /** The limit of each wait, in milliseconds. */
  timeout: number
  abort: () => void
  onStateChange?: ((state: StreamState) => void) | undefined
  /** Sends the same request from another position. */
  reopen: (lastEventId: string) => Promise<InjectedStream<E>>
}

/** The client's stream with methods for a test. No method waits longer than `timeout`. */
export class InjectedStream<E extends ReceivedEvent> extends EventStream<E> {
  readonly #setup: InjectedStreamSetup<E>
  #reading: AsyncIterator<E, undefined> | undefined
  /** The next event of a wait that timed out before the event arrived. */
  #next: Promise<IteratorResult<E, undefined>> | undefined

  constructor (setup: InjectedStreamSetup<E>) {
    super(setup.consumed, setup.abort, setup.onStateChange)
    this.#setup = setup
  }

  /** The response without its body; the last one if the client reconnects. */
  get response (): InjectedResponse { return this.#setup.transport.head! }

  /** The text that was read, with comments and undeclared events. */
  get text (): string { return this.#setup.transport.text }

  /** The id of the last consumed event, or of a position after it. */
  get lastEventId (): string { return this.#setup.consumed.lastEventId }

  /** Resolves with the next `count` events. Rejects with FST_SSE_TEST_TIMEOUT if the stream ends before. */
  async take (count: number): Promise<E[]> {
    return count < 1
      ? []
      : this.#events(count === 1 ? '1 event' : `${count} events`, (_event, received) => received === count)
  }

  /**
   * Resolves with the events up to the first match, included. Rejects with FST_SSE_TEST_TIMEOUT if the stream ends
   * before.
   */
  takeUntil (isLast: (event: E) => boolean): Promise<E[]> {
    return this.#events('the event of takeUntil()', isLast)
  }

  /** Resolves with all remaining events, however the stream ends; `closed` has the reason. */
  takeAll (): Promise<E[]> {
    return this.#events('its end')
  }

  /** Disconnects the client. Resolves when the server has noticed. */
  async disconnect (): Promise<void> {
    this.close()
    const wait = this.#wait('the end of the response')
    await wait.for(this.#setup.transport.gone()).finally(() => wait.over())
  }

  /** Reconnects after the last consumed event. Disconnects first if the stream is open. */
  async reconnect (): Promise<InjectedStream<E>> {
    await this.disconnect()
    return this.#setup.reopen(this.lastEventId)
  }

  /** Stops reading. Returns a function that resumes it. The server can still send as much as fits in the buffers. */
  stall (): () => void {
    return this.#setup.transport.stall()
  }

  /** Continues after the events of `take` and `takeUntil`. */
  override [Symbol.asyncIterator] (): AsyncIterator<E, undefined> {
    const reading = this.#reading ??= super[Symbol.asyncIterator]()
    return {
      next: () => {
        const next = this.#next ?? reading.next()
        this.#next = undefined
        return next
      },
      return: () => reading.return!()
    }
  }

  /** Resolves with the events up to the last one, or without `isLast` to the end. */
  async #events (subject: string, isLast?: (event: E, count: number) => boolean): Promise<E[]> {
    const { transport } = this.#setup
    const reading = this.#reading ??= super[Symbol.asyncIterator]()
    const events: E[] = []
    const wait = this.#wait(subject)
    try {
      for (;;) {
        // A wait that times out keeps the promise for the next wait.
        this.#next ??= reading.next()
        const result = await wait.for(this.#next.catch(() => DONE),
          transport.isStalled ? ', and the client was stalled' : '')
        this.#next = undefined
        if (result.done === true) break
        events.push(result.value)
        wait.note(`${result.value.event} ${JSON.stringify(result.value.data)}`)
        if (isLast?.(result.value, events.length) === true) return events
      }
      if (isLast === undefined) return events
      const { reason, error } = await this.closed
      throw wait.error(`before the stream ended (${error?.message ?? reason})`, error)
    } finally {
      wait.over()
    }
  }

  #wait (subject: string): Deadline {
    return new Deadline(`${this.#setup.name}: ${subject}`, this.#setup.timeout)
  }
}

const DONE = { value: undefined, done: true } as const
