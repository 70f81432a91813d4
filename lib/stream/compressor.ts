import type { FastifyReply } from 'fastify'
import { acceptsGzip } from './accept.ts'
import { GzipSink } from './gzip-sink.ts'
import { addVary, setCoding } from './response-headers.ts'
import type { ByteSink, ChunkSink, SinkWrapper } from './response-writer.ts'

/** Compresses a stream that has the option `compress`, if its head permits it. */
export class Compressor implements SinkWrapper {
  readonly #reply: FastifyReply
  readonly #shares: boolean
  readonly #ownCaching: boolean
  #applies = false

  /** Made before the head has default headers. `shares`: whether other streams receive most of its frames, too. */
  constructor (reply: FastifyReply, shares: boolean) {
    this.#reply = reply
    this.#shares = shares
    this.#ownCaching = !reply.hasHeader('cache-control')
  }

  /**
   * Sets the headers of the coding, if the client accepts it and no other is set. Called just before the head is sent,
   * and only if the body is written here: a hook that reads or transforms the body gets it without a coding.
   */
  prepare (): void {
    const { raw, request } = this.#reply
    if (raw.headersSent || this.#reply.hasHeader('content-encoding')) return
    addVary(this.#reply, 'Accept-Encoding', true)
    if (!acceptsGzip(request.raw.headers['accept-encoding'])) return
    setCoding(this.#reply, 'gzip', this.#ownCaching)
    this.#applies = true
  }

  /** Returns a sink that compresses frames for the given sink; the given sink itself without compression. */
  wrap (sink: ByteSink & ChunkSink): ByteSink {
    return this.#applies ? new GzipSink(sink, this.#shares) : sink
  }
}
