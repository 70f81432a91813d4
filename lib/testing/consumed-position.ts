import { Connection, type ConnectionOptions } from '../client/connection.ts'
import type { ReceivedEvent } from '../client/event-stream.ts'
import type { Message, StreamState } from '../client/stream-reader.ts'

/**
 * A connection whose events are handed over one by one. A client that leaves comes back for what its test has not taken, be it read or not:
 * what was on its way is lost with the connection.
 */
export class ConsumedPosition<E extends ReceivedEvent> implements AsyncIterable<ReadonlyArray<E | StreamState>> {
  readonly #connection: Connection<E>
  /** After the last event that was taken, while there are some that were not. */
  #position: string | undefined

  constructor (url: string, options: ConnectionOptions, read: (message: Message) => E | undefined, signal: AbortSignal) {
    this.#connection = new Connection(url, options, message => {
      const event = read(message)
      if (event !== undefined) this.#position ??= this.#connection.lastEventId
      return event
    }, signal)
  }

  get lastEventId (): string { return this.#position ?? this.#connection.lastEventId }

  async * [Symbol.asyncIterator] (): AsyncGenerator<ReadonlyArray<E | StreamState>, void> {
    for await (const came of this.#connection) {
      for (const item of came) {
        // Comes back here when it is taken.
        yield [item]
        if (typeof item !== 'string') this.#position = item.id
      }
      this.#position = undefined
    }
  }
}
