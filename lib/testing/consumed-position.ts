import { Connection, type ConnectionOptions } from '../client/connection.ts'
import type { ReceivedEvent } from '../client/event-stream.ts'
import type { Message, StreamState } from '../client/stream-reader.ts'

/**
 * A connection that yields its events one by one, and records the position of the last event that the test has
 * consumed. A client that reconnects resumes there: events that were received and not consumed are lost with the
 * connection.
 */
export class ConsumedPosition<E extends ReceivedEvent> implements AsyncIterable<ReadonlyArray<E | StreamState>> {
  readonly #connection: Connection<E>
  /** The position after the last consumed event, while there are unconsumed ones. */
  #position: string | undefined

  constructor (
    url: string,
    options: ConnectionOptions,
    decode: (message: Message) => E | undefined,
    signal: AbortSignal
  ) {
    this.#connection = new Connection(url, options, message => {
      const event = decode(message)
      if (event !== undefined) this.#position ??= this.#connection.lastEventId
      return event
    }, signal)
  }

  get lastEventId (): string { return this.#position ?? this.#connection.lastEventId }

  async * [Symbol.asyncIterator] (): AsyncGenerator<ReadonlyArray<E | StreamState>, void> {
    for await (const items of this.#connection) {
      for (const item of items) {
        // Resumes here when the item is consumed.
        yield [item]
        if (typeof item !== 'string') this.#position = item.id
      }
      this.#position = undefined
    }
  }
}
