import { EventEmitter, once } from 'node:events'
import { within } from '../within.ts'

/** An event as its client showed it; `id` is what the client calls its last event ID. */
export interface Message { event: string, data: string, id: string }

export interface Owner { teardown: (fn: () => unknown) => unknown }

/** Starts to read. `names` are the events to listen for beside `message`: most clients want to know them before. */
export type Open = (t: Owner, url: string, names: readonly string[]) => Promise<Reader>

/** What one client has shown so far. */
export class Reader {
  readonly messages: Message[] = []
  /** Blocks without data for which the client called us all the same. */
  blanks = 0
  /** The id of the last event `sse.position`, which is no message; undefined for a client that does not tell. */
  position: string | undefined
  /** True when the client said that it will not connect again. */
  stopped = false
  /** Connects once more, for a client that leaves this to the person who runs it. */
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

  /** Waits until the client has shown so much. */
  async until (what: string, holds: (reader: this) => boolean): Promise<void> {
    const wait = async (): Promise<void> => { while (!holds(this)) await once(this.#told, 'change') }
    await within(`${what}, after ${JSON.stringify(this.messages.slice(-3))}`, wait())
  }
}
