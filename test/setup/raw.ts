import { connect, type Socket } from 'node:net'

export interface RawRequest {
  path?: string
  method?: string
  /** Sent as latin1: a string of characters up to 0xff is a string of bytes. */
  headers?: Record<string, string>
  version?: '1.0' | '1.1'
  body?: string
  /** No byte is read before resume(). */
  pauseOnConnect?: boolean
}

export interface RawResponse {
  status: number
  /** Status line and header lines as received. */
  head: string
  headers: Record<string, string>
  /** The body, with chunked encoding removed. */
  body: string
  /** The same as bytes. */
  bytes: Buffer
  trailers: string
  /**
   * True if the response is complete: the last chunk, the full length, or for HTTP/1.0 a clean end of the connection.
   */
  complete: boolean
}

interface Waiting {
  text: string
  /** The received text that may have it. To search all of it again for each read would take minutes for 16 MB. */
  unsearched: string
  resolve: (received: string) => void
  reject: (error: Error) => void
}

/** Connects and sends one request. */
export async function open (port: number, request: RawRequest = {}): Promise<RawClient> {
  const socket = connect({ port, host: '127.0.0.1' })
  // Called before it is connected: later, Node would already read ahead.
  if (request.pauseOnConnect === true) socket.pause()
  const client = new RawClient(socket)
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  client.request(request)
  return client
}

/** A TCP connection to a server, under the control of the test, byte by byte. */
export class RawClient {
  readonly socket: Socket
  /** All bytes so far, as latin1. */
  received = ''
  /** The same in pieces, one entry per read. */
  readonly chunks: string[] = []
  /** Settles when the connection is closed: 'end' after a clean end, else the error's code. */
  readonly closed: Promise<string>
  readonly #methods: string[] = []
  #waiting: Waiting[] = []
  #goodbye = false

  constructor (socket: Socket) {
    this.socket = socket
    const paused = socket.isPaused()
    socket.on('data', chunk => this.#arrived(chunk.toString('latin1')))
    if (paused) socket.pause()
    socket.on('end', () => { this.#goodbye = true })
    let failure: string | undefined
    socket.on('error', (error: NodeJS.ErrnoException) => {
      failure = error.code ?? error.message
    })
    this.closed = new Promise(resolve =>
      socket.once('close', () => {
        for (const { text, reject } of this.#waiting) {
          reject(
            new Error(
              `the connection ended before ${JSON.stringify(text)}, after ${JSON.stringify(this.received.slice(-300))}`
            )
          )
        }
        this.#waiting = []
        resolve(failure ?? (this.#goodbye ? 'end' : 'closed'))
      })
    )
  }

  /** Sends another request on the same connection. */
  request ({ path = '/', method = 'GET', headers = {}, version = '1.1', body = '' }: RawRequest): void {
    this.#methods.push(method)
    const lines = [`${method} ${path} HTTP/${version}`, 'Host: localhost',
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)]
    if (body !== '') {
      lines.push('Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body, 'latin1')}`)
    }
    this.socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`, 'latin1')
  }

  /** Waits until this text has arrived, after the first `from` characters. */
  until (text: string, from = 0): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ text, unsearched: this.received.slice(from), resolve, reject })
      this.#look('')
    })
  }

  /** The responses so far. */
  responses (): RawResponse[] {
    const found: RawResponse[] = []
    let rest = this.received
    for (const method of this.#methods) {
      const headEnd = rest.indexOf('\r\n\r\n')
      if (headEnd === -1) break
      const head = rest.slice(0, headEnd)
      const [statusLine = '', ...lines] = head.split('\r\n')
      const status = Number(statusLine.split(' ')[1])
      const headers = fields(lines)
      rest = rest.slice(headEnd + 4)
      const bodiless = method === 'HEAD' || status === 204 || status === 304
      const body = bodiless ? { text: '', trailers: '', complete: true, length: 0 } : this.#body(headers, rest)
      rest = rest.slice(body.length)
      const bytes = Buffer.from(body.text, 'latin1')
      found.push({
        status,
        head,
        headers,
        body: bytes.toString('utf8'),
        bytes,
        trailers: body.trailers,
        complete: body.complete
      })
    }
    return found
  }

  /** The complete frames of a response, without the blank line that ends each. */
  frames (response = 0): string[] {
    return (this.responses()[response]?.body ?? '').split('\n\n').slice(0, -1)
  }

  pause (): void { this.socket.pause() }
  resume (): void { this.socket.resume() }
  /** Half-closes the connection: nothing more is sent. */
  fin (): void { this.socket.end() }
  /** Resets the connection. */
  reset (): void { this.socket.resetAndDestroy() }

  #arrived (text: string): void {
    this.received += text
    this.chunks.push(text)
    this.#look(text)
  }

  #look (added: string): void {
    this.#waiting = this.#waiting.filter(waiting => {
      const unsearched = waiting.unsearched + added
      if (!unsearched.includes(waiting.text)) {
        // The end may have a part of the text.
        waiting.unsearched = unsearched.slice(Math.max(0, unsearched.length - waiting.text.length + 1))
        return true
      }
      waiting.resolve(this.received)
      return false
    })
  }

  #body (
    headers: Record<string, string>,
    rest: string
  ): { text: string, trailers: string, complete: boolean, length: number } {
    if (headers['transfer-encoding'] === 'chunked') return dechunk(rest)
    const length = headers['content-length'] === undefined ? Infinity : Number(headers['content-length'])
    const text = rest.slice(0, length)
    return {
      text,
      trailers: '',
      complete: length === Infinity ? this.#goodbye : text.length === length,
      length: text.length
    }
  }
}

function fields (lines: string[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  }
  return headers
}

/** Parses a chunked body (RFC 9112 §7.1). A partial chunk counts as far as it has arrived. */
function dechunk (rest: string): { text: string, trailers: string, complete: boolean, length: number } {
  const parts: string[] = []
  let at = 0
  for (;;) {
    const lineEnd = rest.indexOf('\r\n', at)
    if (lineEnd === -1) break
    const size = parseInt(rest.slice(at, lineEnd), 16)
    if (size === 0) {
      // The trailer section ends with an empty line; without trailers it is the next one.
      const end = rest.indexOf('\r\n\r\n', lineEnd)
      if (end === -1) break
      return { text: parts.join(''), trailers: rest.slice(lineEnd + 2, end), complete: true, length: end + 4 }
    }
    parts.push(rest.slice(lineEnd + 2, lineEnd + 2 + size))
    at = lineEnd + 2 + size + 2
  }
  return { text: parts.join(''), trailers: '', complete: false, length: rest.length }
}
