import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { Compressor } from './compressor.ts'
import { hasTrailers } from './fastify-internals.ts'
import { dropFraming } from './response-headers.ts'
import { destroyOnHalfClose, openResponse, writeHead, type FrameWriter } from './response-writer.ts'

/**
 * The body that goes through `reply.send`, so that every onSend hook gets an ordinary readable stream and may set
 * headers.
 *
 * Piped to the response, it ends at once and the writer writes to the response itself: no copy, no second buffer.
 * Piped to another stream, by a hook that transforms bodies, it is a plain readable. Resumed without a pipe, as Fastify
 * does for HEAD, its data is discarded.
 */
export class ReplyBody extends Readable {
  readonly #writer: FrameWriter
  readonly #reply: FastifyReply
  readonly #direct: boolean
  readonly #compressor: Compressor | undefined
  #reading = false

  /** `direct`: the option `directWrites`. */
  constructor (writer: FrameWriter, reply: FastifyReply, direct = true, compressor?: Compressor) {
    super()
    this.#writer = writer
    this.#reply = reply
    this.#direct = direct
    this.#compressor = compressor
    // A body that a hook made of this one reaches the response by its own pipe.
    reply.raw.on('pipe', this.#detach)
  }

  /** Detaches the reply from Fastify: the handler timeout would cut a live stream. */
  readonly #detach = (): void => {
    const { raw } = this.#reply.hijack()
    raw.removeListener('pipe', this.#detach)
    // A payload that a hook makes of this body has no length either. A payload in its place may have one.
    if (this.readableFlowing !== null && !raw.headersSent) dropFraming(this.#reply)
  }

  override pipe<T extends NodeJS.WritableStream> (destination: T, options?: { end?: boolean }): T {
    const { raw } = this.#reply
    if (destination as unknown !== raw) return super.pipe(destination, options)
    // First the head: while Fastify owns the reply, a head that cannot be sent becomes an ordinary error.
    this.#compressor?.prepare()
    writeHead(this.#reply, this.#writer.contentType)
    this.#detach()
    this.#reading = true
    // Fastify waits for the end of this readable: with trailers to send them and end the response, else to release it.
    // Fastify 5.8 passes no `end: false` for trailers.
    const trailers = options?.end === false || hasTrailers(this.#reply)
    if (!trailers) this.push(null)
    this.resume()
    const end = trailers ? () => { this.push(null) } : undefined
    openResponse(this.#reply, this.#writer, this.#direct, { end, wrapper: this.#compressor })
    return destination
  }

  /** Fastify calls this for HEAD after all hooks. */
  override resume (): this {
    const { raw, request } = this.#reply
    if (request.method === 'HEAD' && !raw.headersSent) {
      this.#compressor?.prepare()
      dropFraming(this.#reply)
    }
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
      writeShared: frames => this.push(frames.bytes),
      end: text => {
        if (text !== '') this.push(text)
        this.push(null)
      }
    })
  }
}
