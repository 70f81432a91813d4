import type { ServerResponse } from 'node:http'
import type { Http2Session, Http2Stream, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { clearInterval, setImmediate, setInterval } from '../clock.ts'

/** Returns the session of a response over HTTP/2; undefined over HTTP/1. */
export function sessionOf (response: ServerResponse): Http2Session | undefined {
  return (response as { stream?: Http2Stream }).stream?.session
}

/** `open`: the number of open requests, for streams and others. `idle`: whether there was none at the last check. */
interface Carrier { readonly session: Http2Session, readonly socket: Socket, open: number, idle: boolean }

/**
 * The HTTP/2 connections that carry or have carried event streams. A server that closes waits for all of them, and a
 * client that does not read never closes its own.
 */
export class Sessions {
  readonly #carriers = new Map<Http2Session, Carrier>()
  #timer: NodeJS.Timeout | undefined

  /** The number of open connections. */
  get size (): number { return this.#carriers.size }

  /** Adds two listeners to each connection, for any number of streams, and one to each later request on it. */
  watch (response: ServerResponse): void {
    const session = sessionOf(response)
    if (session === undefined || session.destroyed || this.#carriers.has(session)) return
    // `session.socket` is a proxy that cannot be destroyed. Its `on` returns the socket itself.
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

  /** Cuts the connection of a client that did not read a stream which was cut, unless other requests use it. */
  cut (session: Http2Session): void {
    session.close()
    setImmediate(() => {
      const carrier = this.#carriers.get(session)
      if (carrier?.open === 0) carrier.socket.destroy()
    })
  }

  /**
   * Sends GOAWAY on all connections (RFC 9113 §6.8), then cuts connections that have no request for `timeout`
   * milliseconds.
   */
  close (timeout: number): void {
    if (this.#carriers.size === 0) return
    for (const { session } of this.#carriers.values()) session.close()
    this.#check()
    this.#timer = setInterval(() => this.#check(), timeout).unref()
  }

  #check (): void {
    for (const carrier of this.#carriers.values()) {
      if (carrier.open > 0) carrier.idle = false
      else if (carrier.idle) carrier.socket.destroy()
      else carrier.idle = true
    }
  }
}
