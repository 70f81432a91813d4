import { connect, type Socket } from 'node:net'
import { request } from './reader.ts'

// The servers of a broadcast end each payload with it.
const MARK = '~'.charCodeAt(0)
// After that time an event counts as lost.
const PATIENCE = 30_000
// The backlog of a listening socket holds 511 connections.
const AT_ONCE = 200

interface Listener { socket: Socket, received: number }

/**
 * Many connections to one broadcast. They only count events: one buffer for all of them, no stream, no parser, so that
 * reading a thousand connections does not slow the measured server.
 */
export class Audience {
  readonly #listeners: Listener[] = []
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
  static async open (port: number, size: number, onEvent?: (buffer: Buffer, at: number) => void): Promise<Audience> {
    const audience = new Audience(onEvent)
    for (let left = size; left > 0; left -= AT_ONCE) {
      await audience.#until(`opening ${size} connections`, () => {
        audience.#waiting = Math.min(left, AT_ONCE)
        for (let n = audience.#waiting; n > 0; n--) audience.#join(port)
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
    for (const { socket } of this.#listeners) socket.destroy()
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

  #join (port: number): void {
    const buffer = this.#memory
    let open = false
    const callback = (length: number): boolean => {
      if (!open) {
        open = true
        this.#done()
      }
      for (let at = buffer.indexOf(MARK); at !== -1 && at < length; at = buffer.indexOf(MARK, at + 1)) {
        this.#onEvent?.(buffer, at)
        if (++listener.received === this.#expected) this.#done()
      }
      return true
    }
    const socket = connect({ port, host: '127.0.0.1', onread: { buffer, callback } })
    const listener = { socket, received: 0 }
    socket.write(request('/'))
    socket.on('error', error => this.#settle(error))
    socket.on('end', () => this.#settle(new Error(`A connection ended after ${listener.received} events`)))
    this.#listeners.push(listener)
  }

  #done (): void {
    if (--this.#waiting === 0) this.#settle()
  }
}
