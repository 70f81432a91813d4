import { OutgoingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Chunk } from './channel/chunk.ts'

/**
 * The way from a stream to its client: a response, and past it the socket.
 *
 * Node writes each chunk of a chunked body as four pieces: its length, a line end, the bytes, a line end. For a broadcast
 * that is the same work for every client, and a third of what a small event costs. A chunk that many clients get brings all
 * four as one buffer, which goes to the socket, wherever nothing can tell the difference.
 */
export class Connection {
  readonly #response: ServerResponse
  readonly #drained: () => void
  /** Nobody stands between us and the socket: not HTTP/2, no `inject`, no middleware that replaced `write`. */
  readonly #plain: boolean
  #begun = false

  /** `drained` is called when a write that was refused has gone. */
  constructor (response: ServerResponse, drained: () => void) {
    this.#response = response
    this.#drained = drained
    this.#plain = response.write === OutgoingMessage.prototype.write
    response.on('drain', drained)
    response.once('close', () => {
      response.removeListener('drain', drained)
      response.req.socket.removeListener('drain', drained)
    })
  }

  /** False when the client has enough for now. */
  write (text: string): boolean {
    this.#begun = true
    return this.#response.write(text)
  }

  /** False when the client has enough for now. */
  pass (chunk: Chunk): boolean {
    const socket = this.#socket()
    if (socket === undefined) return this.#response.write(chunk.bytes)
    if (socket.write(chunk.framed)) return true
    // The response knows nothing of this write: it will not tell.
    socket.once('drain', this.#drained)
    return false
  }

  /** The socket, when it is this response's turn, the head is out, and nothing waits to go before. */
  #socket (): Socket | undefined {
    const response = this.#response
    const { socket } = response
    const direct = this.#plain && this.#begun && response.chunkedEncoding && response.writableCorked === 0 && response.writableLength === 0
    return direct && socket !== null ? socket : undefined
  }
}
