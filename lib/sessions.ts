import type { ServerResponse } from 'node:http'
import type { Http2Session, Http2Stream, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { clearInterval, setImmediate, setInterval } from './clock.ts'

/** What a response over HTTP/2 shares with others; undefined over HTTP/1. */
export function sessionOf (response: ServerResponse): Http2Session | undefined {
  return (response as { stream?: Http2Stream }).stream?.session
}

/** `open`: requests on it, ours and others. `idle`: it had none when it was last looked at. */
interface Carrier { readonly session: Http2Session, readonly socket: Socket, open: number, idle: boolean }

/**
 * The HTTP/2 connections that carry event streams, or have carried some. A server that closes waits for all of them, and a client
 * keeps its own for as long as it likes: one that does not read never says goodbye.
 */
export class Sessions {
  readonly #carriers = new Map<Http2Session, Carrier>()
  #timer: NodeJS.Timeout | undefined

  /** How many are open. */
  get size (): number { return this.#carriers.size }

  /** Two listeners for each connection, however many streams it carries, and one for each later request on it. */
  watch (response: ServerResponse): void {
    const session = sessionOf(response)
    if (session === undefined || session.destroyed || this.#carriers.has(session)) return
    // What `session.socket` shows cannot be cut. Its `on` returns the socket itself.
    const socket = session.socket.on('close', () => {
      this.#carriers.delete(session)
      if (this.#carriers.size === 0) clearInterval(this.#timer)
    })
    const carrier = { session, socket, open: 0, idle: false }
    this.#carriers.set(session, carrier)
    const count = (stream: Http2Stream): void => {
      carrier.open++
      stream.once('close', () => { carrier.open-- })
    }
    count((response as unknown as { stream: ServerHttp2Stream }).stream)
    session.on('stream', count)
  }

  /** The client of this connection took nothing of a stream that is cut. So is the connection, unless others use it. */
  cut (session: Http2Session): void {
    session.close()
    setImmediate(() => {
      const carrier = this.#carriers.get(session)
      if (carrier?.open === 0) carrier.socket.destroy()
    })
  }

  /** Says goodbye on all of them (RFC 9113 §6.8), and cuts those that are open and unused for `taking` milliseconds after that. */
  close (taking: number): void {
    if (this.#carriers.size === 0) return
    for (const { session } of this.#carriers.values()) session.close()
    this.#look()
    this.#timer = setInterval(() => this.#look(), taking).unref()
  }

  #look (): void {
    for (const carrier of this.#carriers.values()) {
      if (carrier.open > 0) carrier.idle = false
      else if (carrier.idle) carrier.socket.destroy()
      else carrier.idle = true
    }
  }
}
