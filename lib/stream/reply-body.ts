import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { FrameBatch } from '../channel/frame-batch.ts'
import { ResponseWriter } from './response-writer.ts'
import { checkHead, clearHead, dropFraming } from './response-headers.ts'
import { listenToSocket } from '../lifecycle.ts'

/** Where frames go. `write` is false when the receiver has enough for now; `drained()` says when it wants more. */
export interface ByteSink {
  /** `bytes`: the text's length as UTF-8, where it is known. */
  write: (text: string, bytes?: number) => boolean
  /** Frames that other connections get too. */
  writeShared: (chunk: FrameBatch) => boolean
  end: (text: string, bytes?: number) => unknown
}

interface FrameWriter {
  open: (sink: ByteSink) => void
  drained: () => void
}

/** Node answers a client's FIN with the end of the connection, once all is written: to a client that does not read, never. */
function destroyOnHalfClose ({ raw, server, request }: FastifyReply): void {
  const { httpAllowHalfOpen } = server.server as { httpAllowHalfOpen?: boolean }
  // The socket of HTTP/2 is shared by all its streams, and each of those has its own close.
  if (raw.destroyed || request.raw.httpVersionMajor !== 1 || httpAllowHalfOpen === true) return
  listenToSocket(raw, 'end', () => { if (!raw.writableEnded) raw.destroy() })
}

/**
 * The client left while the hooks ran. An HTTP/2 response does not know that it is destroyed; its view of the socket
 * does.
 */
const isGone = ({ raw, request }: FastifyReply): boolean => raw.destroyed || request.raw.socket.destroyed

/** Lets a writer write to the response itself. `direct`: the option `directWrites`. `end` ends the response in the writer's stead, for trailers. */
function openResponse (reply: FastifyReply, writer: FrameWriter, direct: boolean, end?: () => void): void {
  const { raw } = reply
  // No `close` follows that would remove the listeners.
  if (isGone(reply)) return
  writeHead(reply)
  const connection = new ResponseWriter(raw, () => writer.drained(), direct)
  writer.open(end === undefined
    ? connection
    : {
        write: (text, bytes) => connection.write(text, bytes),
        writeShared: chunk => connection.writeShared(chunk),
        end: text => {
          if (text !== '') connection.write(text)
          end()
        }
      })
  // A stream that was over in its first write waits for nothing.
  if (!raw.writableEnded) destroyOnHalfClose(reply)
}

/**
 * An explicit head: a body that ends in its first write would get a Content-Length. Throws Node's error, for example
 * for a status text that cannot be sent.
 */
function writeHead (reply: FastifyReply): void {
  const { raw } = reply
  if (raw.headersSent || isGone(reply)) return
  checkHead(reply)
  try {
    raw.writeHead(raw.statusCode)
  } catch (error) {
    clearHead(reply)
    throw error
  }
}

const ignore = (): void => {}

/** The head is out and there is no body to pipe: the stream is the response's from the start. */
export function writeWithoutReply (reply: FastifyReply, writer: FrameWriter): void {
  // What somebody writes there after the end is an error of the response, which ends the process where nobody hears it.
  reply.raw.on('error', ignore)
  openResponse(reply, writer, true)
}

/**
 * What goes through `reply.send`, so that every onSend hook sees an ordinary readable stream and may set its headers.
 *
 * Piped to the response, it steps aside and the stream writes there itself: no copy, no second buffer.
 * Piped anywhere else, by a hook that transforms bodies, it is the plain readable that it looks like. Resumed without
 * a pipe, as Fastify does for HEAD, what it gives goes nowhere.
 */
export class ReplyBody extends Readable {
  readonly #writer: FrameWriter
  readonly #reply: FastifyReply
  readonly #direct: boolean
  #reading = false

  /** `direct`: the option `directWrites`. */
  constructor (writer: FrameWriter, reply: FastifyReply, direct = true) {
    super()
    this.#writer = writer
    this.#reply = reply
    this.#direct = direct
    // A body of a hook's making reaches the response with what it reads from here.
    reply.raw.on('pipe', this.#detach)
  }

  /** The response is on its way: from here on Fastify's handler timeout would cut a live stream. */
  readonly #detach = (): void => {
    const { raw } = this.#reply.hijack()
    raw.removeListener('pipe', this.#detach)
    // A payload that a hook makes of this body has no length either. A payload in its place may have one.
    if (this.readableFlowing !== null && !raw.headersSent) dropFraming(this.#reply)
  }

  override pipe<T extends NodeJS.WritableStream> (destination: T, options?: { end?: boolean }): T {
    const { raw } = this.#reply
    if (destination as unknown !== raw) return super.pipe(destination, options)
    // First: while Fastify owns the reply, a head that cannot be sent becomes an ordinary error.
    writeHead(this.#reply)
    this.#detach()
    this.#reading = true
    // Fastify waits for this readable's end: with trailers to send them and end the response, else to let go of it.
    const trailers = options?.end === false
    if (!trailers) this.push(null)
    this.resume()
    openResponse(this.#reply, this.#writer, this.#direct, trailers ? () => { this.push(null) } : undefined)
    return destination
  }

  /** Fastify does this for HEAD after all hooks. */
  override resume (): this {
    const { raw, request } = this.#reply
    if (request.method === 'HEAD' && !raw.headersSent) dropFraming(this.#reply)
    return super.resume()
  }

  override _read (): void {
    if (this.#reading) {
      this.#writer.drained()
      return
    }
    this.#reading = true
    destroyOnHalfClose(this.#reply)
    this.#writer.open({
      write: text => this.push(text),
      writeShared: chunk => this.push(chunk.bytes),
      end: text => {
        if (text !== '') this.push(text)
        this.push(null)
      }
    })
  }
}
