import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'
import type { FrameBatch } from '../channel/frame-batch.ts'
import { onceClosed, watchHalfClose } from '../lifecycle.ts'
import type { Chunk } from '../wire/gzip.ts'
import { hasNodeWrite, isChunked, writeFramed } from './fastify-internals.ts'
import { checkHead, clearHead } from './response-headers.ts'

/** A receiver of frames. `write` returns false when the receiver has enough for now. */
export interface ByteSink {
  /** `bytes`: the length of the text as UTF-8, where it is known. */
  write: (text: string, bytes?: number) => boolean
  /** Writes frames that other connections get too. */
  writeShared: (frames: FrameBatch) => boolean
  end: (text: string, bytes?: number) => unknown
  /** Bytes written to the connection, where they are not those of the frames. */
  readonly bytes?: number
}

/** A receiver of bytes that are chunks of a body already. */
export interface ChunkSink {
  writeShared: (chunk: BodyChunk) => boolean
  endWith: (chunk: BodyChunk) => void
}

type BodyChunk = Pick<Chunk, 'framed' | 'bytes'>

/** A writer that waits for its sink. The sink calls `drained` when it has room again. */
export interface FrameWriter {
  /** The content type of the frames. */
  readonly contentType: string
  open: (sink: ByteSink) => void
  drained: () => void
}

/**
 * Writes frames to the response, and past it to the socket.
 *
 * Node writes each chunk of a chunked body as four pieces: its length, a line end, the bytes, a line end. That is a
 * third of the cost of a small event. Here all four are one write, wherever the client and the hooks see no difference:
 * behind the head where the head is still to be sent, past the response where nothing waits there. Frames for many
 * clients arrive with these pieces in one buffer, which is made once.
 */
export class ResponseWriter implements ByteSink, ChunkSink {
  readonly #response: ServerResponse
  readonly #owner: Pick<FrameWriter, 'drained'>
  /** The listener of `drain`, from the first write without room on. */
  #drained: (() => void) | undefined
  /** Whether `response.write` is Node's for HTTP/1: not HTTP/2, no `inject`, no middleware that replaced `write`. */
  readonly #direct: boolean
  #begun = false

  /** `drained` is called when there is room after a write that returned false. `direct`: the option `directWrites`. */
  constructor (response: ServerResponse, owner: Pick<FrameWriter, 'drained'>, direct = true) {
    this.#response = response
    this.#owner = owner
    this.#direct = direct && hasNodeWrite(response)
  }

  /** Returns false when the client has enough for now. `bytes`: the length of the text as UTF-8. */
  write (text: string, bytes = Buffer.byteLength(text)): boolean {
    return this.#framesChunks()
      ? this.#toSocket(framed(text, bytes), bufferEncodingOf(text, bytes))
      : this.#watchDrain(this.#response, this.#response.write(text))
  }

  /** Returns false when the client has enough for now. */
  writeShared (chunk: BodyChunk): boolean {
    return this.#framesChunks()
      ? this.#toSocket(chunk.framed)
      : this.#watchDrain(this.#response, this.#response.write(chunk.bytes))
  }

  /**
   * Ends the response, never with an empty last write: over HTTP/2 Node takes an empty write for the end of all pending
   * writes, and frees their memory before they are sent.
   */
  end (text: string, bytes = Buffer.byteLength(text)): void {
    if (text === '') {
      this.#response.end()
    } else if (this.#framesChunks()) {
      this.#endFramed(framed(text, bytes), bufferEncodingOf(text, bytes))
    } else {
      this.#response.end(text)
    }
  }

  /** Ends the response with a chunk, which is not empty. */
  endWith (chunk: BodyChunk): void {
    if (this.#framesChunks()) this.#endFramed(chunk.framed)
    else this.#response.end(chunk.bytes)
  }

  #endFramed (chunk: string | Buffer, encoding?: BufferEncoding): void {
    // Through the response, which holds it until the end joins it.
    writeFramed(this.#response, chunk, encoding)
    this.#response.end()
  }

  /** Whether the body's chunks are framed here. While a response is corked, Node holds back its own chunks. */
  #framesChunks (): boolean {
    return this.#direct && isChunked(this.#response) && this.#response.writableCorked === 0
  }

  /** Writes to the socket if the head is sent, nothing waits in the response, and neither is ended. */
  #toSocket (chunk: string | Buffer, encoding?: BufferEncoding): boolean {
    const { socket, writableLength } = this.#response
    // After its end a response drops a write silently. A socket makes an error of it, which would count as the
    // client's.
    if (this.#begun && writableLength === 0 && socket?.writable === true) {
      return this.#watchDrain(socket, socket.write(chunk, encoding))
    }
    this.#begun = true
    return this.#watchDrain(this.#response, writeFramed(this.#response, chunk, encoding))
  }

  /**
   * Listens for `drain` on the target that had no room. The response emits none for bytes that were written past it.
   */
  #watchDrain (target: ServerResponse | Socket, room: boolean): boolean {
    if (!room) this.#listen(target, this.#drained ??= () => this.#owner.drained())
    return room
  }

  #listen (target: ServerResponse | Socket, drained: () => void): void {
    if (target.listeners('drain').includes(drained)) return
    target.on('drain', drained)
    onceClosed(this.#response, () => target.removeListener('drain', drained))
  }
}

/** Returns a chunk of a chunked body (RFC 9112 §7.1). */
const framed = (text: string, bytes: number): string => `${bytes.toString(16)}\r\n${text}\r\n`

/** Returns 'latin1' for a text with as many bytes as characters: it is ASCII, and needs no encoder. */
const bufferEncodingOf = (text: string, bytes: number): BufferEncoding => bytes === text.length ? 'latin1' : 'utf8'

/**
 * Destroys the response when the client half-closes the connection. Node itself answers a FIN only when all is written,
 * which never happens for a client that does not read.
 */
export function destroyOnHalfClose ({ raw, server, request }: FastifyReply): void {
  const { httpAllowHalfOpen } = server.server as { httpAllowHalfOpen?: boolean }
  // All streams of an HTTP/2 connection share its socket, and each of them has a close event.
  if (raw.destroyed || request.raw.httpVersionMajor !== 1 || httpAllowHalfOpen === true) return
  watchHalfClose(raw)
}

/**
 * Whether the client disconnected while the hooks ran, or another payload ended the response. A destroyed HTTP/2
 * response does not report it; its view of the socket does.
 */
const isGone = ({ raw, request }: FastifyReply): boolean =>
  raw.destroyed || raw.writableEnded || request.raw.socket.destroyed

/**
 * Sends the head if it is not sent yet. The head is explicit: a body that ends in its first write would get a
 * Content-Length. Throws Node's error, for example for a status text that cannot be sent.
 */
export function writeHead (reply: FastifyReply, contentType: string): void {
  const { raw } = reply
  if (raw.headersSent || isGone(reply)) return
  checkHead(reply, contentType)
  try {
    raw.writeHead(raw.statusCode)
  } catch (error) {
    clearHead(reply)
    throw error
  }
}

/** Puts a sink of frames between a writer and its response. */
export interface SinkWrapper { wrap: (sink: ByteSink & ChunkSink) => ByteSink }

interface OpenOptions {
  /** Ends the response in place of the writer, for trailers. */
  end?: (() => void) | undefined
  wrapper?: SinkWrapper | undefined
}

/** Opens the writer on the response itself. `direct`: the option `directWrites`. */
export function openResponse (
  reply: FastifyReply,
  writer: FrameWriter,
  direct: boolean,
  { end, wrapper }: OpenOptions = {}
): void {
  const { raw } = reply
  // No `close` event follows that would remove the listeners.
  if (isGone(reply)) return
  writeHead(reply, writer.contentType)
  const response = new ResponseWriter(raw, writer, direct)
  const sink: ByteSink & ChunkSink = end === undefined
    ? response
    : {
        write: (text, bytes) => response.write(text, bytes),
        writeShared: chunk => response.writeShared(chunk),
        end: text => {
          if (text !== '') response.write(text)
          end()
        },
        endWith: chunk => {
          response.writeShared(chunk)
          end()
        }
      }
  writer.open(wrapper === undefined ? sink : wrapper.wrap(sink))
  // A stream that ended in its first write waits for no client.
  if (!raw.writableEnded) destroyOnHalfClose(reply)
}

const ignore = (): void => {}

/** Opens the writer on a response whose head is sent without `reply.send`. */
export function openDirectly (reply: FastifyReply, writer: FrameWriter, wrapper?: SinkWrapper): void {
  // A write after the end makes an 'error' event, which would crash the process without a listener.
  reply.raw.on('error', ignore)
  openResponse(reply, writer, true, { wrapper })
}
