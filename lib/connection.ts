import { OutgoingMessage, type ServerResponse } from 'node:http'
import type { Http2Session, Http2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { Chunk } from './channel/chunk.ts'

/**
 * The way from a stream to its client: a response, and past it the socket.
 *
 * Node writes each chunk of a chunked body as four pieces: its length, a line end, the bytes, a line end. That is a third of what
 * a small event costs. Here all four go to the socket as one, wherever nothing can tell the difference; what many clients get
 * brings them as one buffer that was made once.
 */
export class Connection {
  readonly #response: ServerResponse
  readonly #drained: () => void
  /** Nobody stands between us and the socket: not HTTP/2, no `inject`, no middleware that replaced `write`. */
  readonly #direct: boolean
  #begun = false

  /** `drained` is called when a write that was refused has gone. `direct`: the option `directWrites`. */
  constructor (response: ServerResponse, drained: () => void, direct = true) {
    this.#response = response
    this.#drained = drained
    this.#direct = direct && response.write === OutgoingMessage.prototype.write
  }

  /** False when the client has enough for now. `bytes`: the text's length as UTF-8. */
  write (text: string, bytes = Buffer.byteLength(text)): boolean {
    const socket = this.#socket()
    if (socket !== undefined) {
      // As many bytes as characters: all of them are ASCII, which takes no encoder.
      return this.#told(socket, socket.write(`${bytes.toString(16)}\r\n${text}\r\n`, bytes === text.length ? 'latin1' : 'utf8'))
    }
    this.#begun = true
    return this.#told(this.#response, this.#response.write(text))
  }

  /** False when the client has enough for now. */
  pass (chunk: Chunk): boolean {
    const socket = this.#socket()
    return socket === undefined ? this.#told(this.#response, this.#response.write(chunk.bytes)) : this.#told(socket, socket.write(chunk.framed))
  }

  /** Never an empty last write: over HTTP/2 Node takes that for the end of all that waits, and lets go of its memory before it is sent. */
  end (text: string): void {
    if (text === '') this.#response.end()
    else this.#response.end(text)
  }

  /** The socket, when it is this response's turn, the head is out, nothing waits to go before, and nobody has ended it. */
  #socket (): Socket | undefined {
    if (!this.#direct || !this.#begun) return undefined
    const response = this.#response
    const direct = response.chunkedEncoding && response.writableCorked === 0 && response.writableLength === 0
    // Node keeps what it cannot write any more; a socket makes an error of it, which counts as the client's.
    return direct && response.socket?.writable === true ? response.socket : undefined
  }

  /** Who has no room is asked to tell when there is some, the socket too: the response knows nothing of what goes past it. */
  #told (way: ServerResponse | Socket, room: boolean): boolean {
    const drained = this.#drained
    if (!room && !way.listeners('drain').includes(drained)) {
      way.on('drain', drained)
      this.#response.once('close', () => way.removeListener('drain', drained))
    }
    return room
  }
}

/** What a response over HTTP/2 shares with others; undefined over HTTP/1. */
export function sessionOf (response: ServerResponse): Pick<Http2Session, 'close' | 'destroy'> | undefined {
  return (response as { stream?: Http2Stream }).stream?.session
}
