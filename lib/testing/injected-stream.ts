import { EventStream, type ReceivedEvent } from '../client/event-stream.ts'
import type { StreamState } from '../client/stream-reader.ts'
import type { ConsumedPosition } from './consumed-position.ts'
import type { InjectTransport, ResponseHead } from './inject-transport.ts'
import { Deadline } from './deadline.ts'

export interface InjectedStreamSetup<E extends ReceivedEvent> {
  /** Method and path, for messages. */
  name: string
  transport: InjectTransport
  consumed: ConsumedPosition<E>
  /** Milliseconds that each wait may take. */
  timeout: number
  leave: () => void
  onStateChange?: ((state: StreamState) => void) | undefined
  /** The same request once more, from another position. */
  again: (lastEventId: string) => Promise<InjectedStream<E>>
}

/** The client's stream in the hands of a test. Nothing of it waits longer than its `timeout`. */
export class InjectedStream<E extends ReceivedEvent> extends EventStream<E> {
  readonly #setup: InjectedStreamSetup<E>
  #reading: AsyncIterator<E, undefined> | undefined
  /** What comes next, of a wait that was over before. */
  #next: Promise<IteratorResult<E, undefined>> | undefined

  constructor (setup: InjectedStreamSetup<E>) {
    super(setup.consumed, setup.leave, setup.onStateChange)
    this.#setup = setup
  }

  /** The answer without its body; the last one, where the client reconnects. */
  get response (): ResponseHead { return this.#setup.transport.head! }

  /** All that was read, as it came: with comments, and what no map declares. */
  get text (): string { return this.#setup.transport.text }

  /** That of the last event that was taken, or of a position after it. */
  get lastEventId (): string { return this.#setup.consumed.lastEventId }

  /** The next so many events. Rejects when the stream ends before. */
  async take (count: number): Promise<E[]> {
    return count < 1 ? [] : this.#events(count === 1 ? '1 event' : `${count} events`, (_event, came) => came === count)
  }

  /** The events from here to the first that the test is looking for. Rejects when the stream ends before. */
  takeUntil (isLast: (event: E) => boolean): Promise<E[]> {
    return this.#events('the event that until() looks for', isLast)
  }

  /** All events that are left, however the stream ends: `closed` has that. */
  takeAll (): Promise<E[]> {
    return this.#events('its end')
  }

  /** The client is gone. Settles when the server has noticed. */
  async disconnect (): Promise<void> {
    this.close()
    const wait = this.#wait('the end of the response')
    await wait.for(this.#setup.transport.gone()).finally(() => wait.over())
  }

  /** The client comes back for what it has not taken; is it still there, then it leaves first. */
  async reconnect (): Promise<InjectedStream<E>> {
    await this.disconnect()
    return this.#setup.again(this.lastEventId)
  }

  /** The client reads nothing more, until what this answers with is called. What fits in the buffers on the way is sent all the same. */
  stall (): () => void {
    return this.#setup.transport.stall()
  }

  /** Goes on where `take` and `until` stopped. */
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

  /** To the last that is wanted, or without a last to the end. */
  async #events (what: string, isLast?: (event: E, count: number) => boolean): Promise<E[]> {
    const { transport: line } = this.#setup
    const reading = this.#reading ??= super[Symbol.asyncIterator]()
    const events: E[] = []
    const wait = this.#wait(what)
    try {
      for (;;) {
        // A wait that is over leaves it to the next one.
        this.#next ??= reading.next()
        const result = await wait.for(this.#next.catch(() => OVER), line.isStalled ? ', and the client was stalled' : '')
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

  #wait (what: string): Deadline {
    return new Deadline(`${this.#setup.name}: ${what}`, this.#setup.timeout)
  }
}

const OVER = { value: undefined, done: true } as const
