import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connectTo, OPEN, type Server } from './connection.ts'
import { Http2Session } from './http2-session.ts'

// The servers end each payload with it.
const MARK = '~'.charCodeAt(0)
const TAIL = 64
// An empty chunk ends a response (RFC 9112 §7.1).
const END = '\r\n0\r\n\r\n'
// Where sessions of HTTP/2 read: each chunk is taken before the next arrives.
const MEMORY = Buffer.allocUnsafe(64 * 1024)
// Without a limit, a reader would wait forever for a server that does not end its response.
const PATIENCE = 10_000

export const request = (path: string, lastEventId?: string): string => {
  const resume = lastEventId === undefined ? '' : `Last-Event-ID: ${lastEventId}\r\n`
  return `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n${resume}\r\n`
}

/** How a client resumes: `last` is the number in the last payload. */
export interface Resume { lastEventId: string, last: number }

interface Response {
  path: string
  events: number
  last: number
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
  readonly #session: Http2Session | undefined
  #response: Response | undefined

  private constructor (server: Server) {
    this.#session = server.transport === 'h2' ? new Http2Session(server, MEMORY) : undefined
    const socket = this.#socket = this.#session?.socket ?? connectTo(server)
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error(`no byte for ${PATIENCE} ms`)))
    if (this.#session === undefined) {
      socket.on('data', chunk => {
        this.#take(chunk)
        if (this.#response?.tail.endsWith(END)) this.#end()
      })
    }
    socket.on('error', error => this.#response?.reject(error))
    socket.on('close',
      () => this.#response?.reject(new Error(`${this.#response.path}: closed after ${this.#response.seen} events`)))
  }

  static async open (server: Server): Promise<Reader> {
    const reader = new Reader(server)
    await once(reader.#socket, OPEN[server.transport])
    return reader
  }

  /** Resolves when the response has ended. Rejects unless exactly that many events arrived in order. */
  read (path: string, events: number, { lastEventId, last }: Partial<Resume> = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#response = { path, events, last: last ?? events, seen: 0, tail: '', resolve, reject }
      if (this.#session === undefined) {
        this.#socket.write(request(path, lastEventId))
      } else {
        this.#session.request(path, {
          onBytes: (bytes, from, to) => this.#take(bytes.subarray(from, to)),
          onEnd: () => this.#end()
        })
      }
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
  }

  #end (): void {
    const response = this.#response
    if (response === undefined) return
    this.#response = undefined
    const { path, events, last, seen, tail } = response
    if (seen === events && tail.includes(` ${last}~"}\n`)) response.resolve()
    else response.reject(new Error(`${path}: expected ${events} events, got ${seen} to ${JSON.stringify(tail)}`))
  }
}

/** Reads one response, over its own connection. Resolves to the seconds it took. */
export async function read (server: Server, path: string, events: number, resume?: Resume): Promise<number> {
  const reader = await Reader.open(server)
  try {
    const startedAt = performance.now()
    await reader.read(path, events, resume)
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
