import { EventEmitter, once } from 'node:events'
import { within } from '../within.ts'

/** An event of a client. `id` is the last event ID of the client. */
export interface Message { event: string, data: string, id: string }

export interface Owner { teardown: (fn: () => unknown) => unknown }

/** Starts to read. `names` are the events to listen for beside `message`: most clients need them in advance. */
export type Open = (t: Owner, url: string, names: readonly string[]) => Promise<Reader>

/** The state of one client so far. */
export class Reader {
  readonly messages: Message[] = []
  /** Blocks without data for which the client called back all the same. */
  blanks = 0
  /** The id of the last event `sse.position`, which is no message; undefined for a client that does not report it. */
  position: string | undefined
  /** True if the client reported that it will not reconnect. */
  stopped = false
  /** Reconnects, for a client that does not do so by itself. */
  again: (() => void) | undefined
  readonly #told = new EventEmitter()

  show (message: Message): void {
    this.messages.push(message)
    this.#told.emit('change')
  }

  blank (): void {
    this.blanks++
    this.#told.emit('change')
  }

  move (position: string): void {
    this.position = position
    this.#told.emit('change')
  }

  stop (): void {
    this.stopped = true
    this.#told.emit('change')
  }

  /** Waits until the client has that many messages. */
  async until (what: string, holds: (reader: this) => boolean): Promise<void> {
    const wait = async (): Promise<void> => { while (!holds(this)) await once(this.#told, 'change') }
    await within(`${what}, after ${JSON.stringify(this.messages.slice(-3))}`, wait())
  }
}
