import { OutgoingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FrameBatch } from '../channel/frame-batch.ts'
import { onceClosed } from '../lifecycle.ts'

/**
 * The way from a stream to its client: a response, and past it the socket.
 *
 * Node writes each chunk of a chunked body as four pieces: its length, a line end, the bytes, a line end. That is a third of what
 * a small event costs. Here all four go as one, wherever nothing can tell the difference: with the head in front of them where that is
 * still to go, past the response where nothing is. What many clients get brings them as one buffer that was made once.
 */
export class ResponseWriter {
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
    return this.#framesChunks() ? this.#toSocket(framed(text, bytes), encodingOf(text, bytes)) : this.#watchDrain(this.#response, this.#response.write(text))
  }

  /** False when the client has enough for now. */
  writeShared (chunk: FrameBatch): boolean {
    return this.#framesChunks() ? this.#toSocket(chunk.framed) : this.#watchDrain(this.#response, this.#response.write(chunk.bytes))
  }

  /** Never an empty last write: over HTTP/2 Node takes that for the end of all that waits, and lets go of its memory before it is sent. */
  end (text: string, bytes = Buffer.byteLength(text)): void {
    if (text === '') {
      this.#response.end()
    } else if (this.#framesChunks()) {
      // Through the response, which holds it until the end joins it.
      this.#respond(framed(text, bytes), encodingOf(text, bytes))
      this.#response.end()
    } else {
      this.#response.end(text)
    }
  }

  /** Whether the body's chunks are framed here. While a response is corked, Node keeps its own chunks back. */
  #framesChunks (): boolean {
    return this.#direct && this.#response.chunkedEncoding && this.#response.writableCorked === 0
  }

  /** To the socket, when the head is out, nothing waits to go before, and nobody has ended it. */
  #toSocket (chunk: string | Buffer, encoding?: BufferEncoding): boolean {
    const { socket, writableLength } = this.#response
    // Node keeps what it cannot write any more; a socket makes an error of it, which counts as the client's.
    if (this.#begun && writableLength === 0 && socket?.writable === true) return this.#watchDrain(socket, socket.write(chunk, encoding))
    this.#begun = true
    return this.#watchDrain(this.#response, this.#respond(chunk, encoding))
  }

  /** What is framed already gets no frame of Node's. */
  #respond (chunk: string | Buffer, encoding: BufferEncoding = 'utf8'): boolean {
    const response = this.#response
    response.chunkedEncoding = false
    const room = response.write(chunk, encoding)
    response.chunkedEncoding = true
    return room
  }

  /** Who has no room is asked to tell when there is some, the socket too: the response knows nothing of what goes past it. */
  #watchDrain (way: ServerResponse | Socket, room: boolean): boolean {
    const drained = this.#drained
    if (!room && !way.listeners('drain').includes(drained)) {
      way.on('drain', drained)
      onceClosed(this.#response, () => way.removeListener('drain', drained))
    }
    return room
  }
}

/** A chunk of a chunked body (RFC 9112 §7.1). */
const framed = (text: string, bytes: number): string => `${bytes.toString(16)}\r\n${text}\r\n`

/** As many bytes as characters: all of them are ASCII, which takes no encoder. */
const encodingOf = (text: string, bytes: number): BufferEncoding => bytes === text.length ? 'latin1' : 'utf8'
