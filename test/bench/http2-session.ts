import type { Socket } from 'node:net'
import { connectTo, type Server } from './connection.ts'

// RFC 9113. A client of Node's `http2` costs more than the measured server.
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const HEAD = 9
const [DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE] = [0, 1, 3, 4, 7, 8] as const
const [ACK, END_STREAM, END_HEADERS] = [1, 1, 4] as const
const INITIAL_WINDOW_SIZE = 4
const GREATEST_WINDOW = 2 ** 31 - 1
const INITIAL_WINDOW = 2 ** 16 - 1

/** One request of a session. */
export interface Exchange {
  /** Receives a part of the body: the bytes of `from` to before `to`. The memory is used again after the call. */
  onBytes: (bytes: Buffer, from: number, to: number) => void
  onEnd: () => void
}

/** An HTTP/2 session over TLS that reads the bodies of responses, as cheaply as possible. It opens all windows once. */
export class Http2Session {
  readonly socket: Socket
  readonly #exchanges = new Map<number, Exchange>()
  #lastStream = -1
  readonly #head = Buffer.alloc(HEAD)
  /** The bytes of the head that have arrived, and those of the payload that have not. */
  #seen = 0
  #left = 0

  /** Sessions may share the memory for received bytes. */
  constructor (server: Server, memory: Buffer) {
    this.socket = connectTo(server, {
      buffer: memory,
      callback: length => {
        this.#read(memory, length)
        return true
      }
    })
    this.socket.write(Buffer.concat([
      PREFACE,
      frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, GREATEST_WINDOW)),
      frame(WINDOW_UPDATE, 0, 0, number(GREATEST_WINDOW - INITIAL_WINDOW))
    ]))
  }

  request (path: string, exchange: Exchange): void {
    const id = this.#lastStream += 2
    this.#exchanges.set(id, exchange)
    const fields = [[':method', 'GET'], [':scheme', 'https'], [':authority', '127.0.0.1'], [':path', path],
      ['accept', 'text/event-stream']] as const
    this.socket.write(frame(HEADERS, END_STREAM | END_HEADERS, id, Buffer.concat(fields.map(literal))))
  }

  #read (bytes: Buffer, length: number): void {
    let at = 0
    while (at < length) {
      if (this.#seen < HEAD) {
        const taken = Math.min(HEAD - this.#seen, length - at)
        bytes.copy(this.#head, this.#seen, at, at + taken)
        this.#seen += taken
        at += taken
        if (this.#seen < HEAD) return
        this.#left = this.#head.readUIntBE(0, 3)
      } else {
        const to = Math.min(at + this.#left, length)
        if (this.#head[3] === DATA) this.#exchanges.get(this.#stream)?.onBytes(bytes, at, to)
        this.#left -= to - at
        at = to
      }
      if (this.#left === 0) {
        this.#seen = 0
        this.#end()
      }
    }
  }

  get #stream (): number { return this.#head.readUInt32BE(5) }

  /** The last byte of a frame has arrived. */
  #end (): void {
    const [type, flags] = [this.#head[3]!, this.#head[4]!]
    if (type === SETTINGS && (flags & ACK) === 0) this.socket.write(frame(SETTINGS, ACK, 0))
    if (type === RST_STREAM || type === GOAWAY) {
      this.socket.destroy(new Error(`The server ended ${type === GOAWAY ? 'an HTTP/2 session' : 'an HTTP/2 stream'}`))
    }
    if ((type !== DATA && type !== HEADERS) || (flags & END_STREAM) === 0) return
    const id = this.#stream
    const exchange = this.#exchanges.get(id)
    this.#exchanges.delete(id)
    exchange?.onEnd()
  }
}

function frame (type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(HEAD)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

function number (value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

const setting = (name: number, value: number): Buffer => Buffer.concat([Buffer.from([0, name]), number(value)])

/** A literal header field without indexing (RFC 7541 §6.2.2). Texts of up to 126 bytes. */
const literal = ([name, value]: readonly [name: string, value: string]): Buffer =>
  Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)])
