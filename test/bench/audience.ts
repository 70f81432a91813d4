import type { Socket } from 'node:net'
import { connectTo, type Server } from './connection.ts'
import { Http2Session } from './http2-session.ts'
import { request } from './reader.ts'

// The servers of a broadcast end each payload with it.
const MARK = '~'.charCodeAt(0)
// After that time an event counts as lost.
const PATIENCE = 30_000
// The backlog of a listening socket holds 511 connections.
const AT_ONCE = 200
/** How many streams a session of HTTP/2 has. */
export const STREAMS = 50

interface Listener { received: number, open: boolean }

/**
 * Many connections to one broadcast, or streams of HTTP/2. They only count events: one buffer for all of them, no
 * stream, no parser, so that reading a thousand connections does not slow the measured server.
 */
export class Audience {
  readonly #listeners: Listener[] = []
  readonly #sockets: Socket[] = []
  readonly #memory = Buffer.allocUnsafe(64 * 1024)
  #expected = 0
  /** The connections that have not yet received the last event. */
  #waiting = 0
  readonly #onEvent: ((buffer: Buffer, at: number) => void) | undefined
  #settle: (error?: Error) => void = () => {}

  private constructor (onEvent: ((buffer: Buffer, at: number) => void) | undefined) {
    this.#onEvent = onEvent
  }

  /** `onEvent` is called for each event with the bytes and the index of its end. */
  static async open (
    server: Server,
    size: number,
    onEvent?: (buffer: Buffer, at: number) => void
  ): Promise<Audience> {
    const audience = new Audience(onEvent)
    for (let left = size; left > 0; left -= AT_ONCE) {
      await audience.#until(`opening ${size} connections`, () => {
        audience.#waiting = Math.min(left, AT_ONCE)
        audience.#join(server, audience.#waiting)
      })
    }
    return audience
  }

  /** Resolves when `publish` is done and each connection has received exactly that many more events. */
  async receive (events: number, publish: () => Promise<unknown>): Promise<void> {
    this.#expected += events
    this.#waiting = this.#listeners.length
    let published: Promise<unknown> | undefined
    await this.#until(`${events} events on each connection`, () => { published = publish().catch(this.#settle) })
    await published
    this.#check()
  }

  /** Throws if a connection received too many events: bytes after the last event are counted, too. */
  close (): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#check()
  }

  #check (): void {
    const wrong = this.#listeners.filter(({ received }) => received !== this.#expected)
    if (wrong.length > 0) {
      throw new Error(
        `${wrong.length} of ${this.#listeners.length} connections did not get exactly ${this.#expected} events; the first of them got ${
          wrong[0]!.received
        }`
      )
    }
  }

  async #until (what: string, start: () => void): Promise<void> {
    const late = setTimeout(
      () => this.#settle(new Error(`${what}: ${this.#waiting} connections still wait after ${PATIENCE} ms`)),
      PATIENCE
    )
    try {
      await new Promise<void>((resolve, reject) => {
        this.#settle = error => { error === undefined ? resolve() : reject(error) }
        start()
      })
    } finally {
      clearTimeout(late)
    }
  }

  #join (server: Server, count: number): void {
    const buffer = this.#memory
    let session: Http2Session | undefined
    for (let n = 0; n < count; n++) {
      const listener = { received: 0, open: false }
      this.#listeners.push(listener)
      const ended = (): void => this.#settle(new Error(`A connection ended after ${listener.received} events`))
      if (server.transport === 'h2') {
        if (session === undefined || n % STREAMS === 0) {
          session = new Http2Session(server, buffer)
          this.#watch(session.socket, ended)
        }
        session.request('/', { onBytes: (_, from, to) => this.#take(listener, from, to), onEnd: ended })
      } else {
        const callback = (length: number): boolean => {
          this.#take(listener, 0, length)
          return true
        }
        const socket = connectTo(server, { buffer, callback })
        socket.write(request('/'))
        this.#watch(socket, ended)
      }
    }
  }

  #watch (socket: Socket, ended: () => void): void {
    socket.on('error', error => this.#settle(error))
    socket.on('end', ended)
    this.#sockets.push(socket)
  }

  /** Counts the events of the bytes from `from` to before `to`. */
  #take (listener: Listener, from: number, to: number): void {
    const buffer = this.#memory
    if (!listener.open) {
      listener.open = true
      this.#done()
    }
    for (let at = buffer.indexOf(MARK, from); at !== -1 && at < to; at = buffer.indexOf(MARK, at + 1)) {
      this.#onEvent?.(buffer, at)
      if (++listener.received === this.#expected) this.#done()
    }
  }

  #done (): void {
    if (--this.#waiting === 0) this.#settle()
  }
}
