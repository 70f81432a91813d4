import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

// The servers end each payload with it.
const MARK = '~'.charCodeAt(0)
const TAIL = 64
// An empty chunk ends a response (RFC 9112 §7.1).
const END = '\r\n0\r\n\r\n'
// Without a limit, a reader would wait forever for a server that does not end its response.
const PATIENCE = 10_000

/** The mark in bytes. */
export const request = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n`

interface Response {
  path: string
  events: number
  seen: number
  tail: string
  resolve: () => void
  reject: (error: Error) => void
}

/**
 * Reads responses to their end over one connection, as cheaply as possible: an HTTP client or an event parser would be
 * the bottleneck. It counts the payloads, and checks that the last one is the last.
 */
export class Reader {
  readonly #socket: Socket
  #response: Response | undefined

  private constructor (socket: Socket) {
    this.#socket = socket
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error(`no byte for ${PATIENCE} ms`)))
    socket.on('data', chunk => this.#take(chunk))
    socket.on('error', error => this.#response?.reject(error))
    socket.on('close',
      () => this.#response?.reject(new Error(`${this.#response.path}: closed after ${this.#response.seen} events`)))
  }

  static async open (port: number): Promise<Reader> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new Reader(socket)
  }

  /** Resolves when the response has ended. Rejects unless exactly that many events arrived in order. */
  read (path: string, events: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#response = { path, events, seen: 0, tail: '', resolve, reject }
      this.#socket.write(request(path))
    })
  }

  close (): void {
    this.#socket.destroy()
  }

  #take (chunk: Buffer): void {
    const response = this.#response
    if (response === undefined) return
    for (let at = chunk.indexOf(MARK); at !== -1; at = chunk.indexOf(MARK, at + 1)) response.seen++
    response.tail = (response.tail + chunk.toString('latin1', Math.max(0, chunk.length - TAIL))).slice(-TAIL)
    if (!response.tail.endsWith(END)) return
    this.#response = undefined
    const { path, events, seen, tail } = response
    if (seen === events && tail.includes(` ${events}~"}\n`)) response.resolve()
    else response.reject(new Error(`${path}: expected ${events} events, got ${seen} to ${JSON.stringify(tail)}`))
  }
}

/** Reads one response, over its own connection. Resolves to the seconds it took. */
export async function read (port: number, path: string, events: number): Promise<number> {
  const reader = await Reader.open(port)
  try {
    const startedAt = performance.now()
    await reader.read(path, events)
    return (performance.now() - startedAt) / 1000
  } finally {
    reader.close()
  }
}
/** Reads on after a stall, until that text arrives. */
export function readOn (socket: Socket, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let tail = ''
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error(`no byte for ${PATIENCE} ms before ${text}`)))
    socket.on('data', chunk => {
      tail += chunk.toString('latin1')
      if (tail.includes(text)) resolve()
      tail = tail.slice(-text.length)
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error(`closed before ${text}`)))
    socket.resume()
  })
}

/** Sends a request and never reads. */
export function stall (port: number, path: string): Socket {
  const socket = connect(port, '127.0.0.1', () => socket.write(request(path)))
  return socket.pause()
}
