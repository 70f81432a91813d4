import type { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { clearTimeout, setTimeout } from '../clock.ts'
import { isError } from '../errors.ts'
import { logSafely } from '../log-safely.ts'
import type { SourceDriver } from '../source/source.ts'
import { canWriteHeadDirectly } from './fastify-internals.ts'
import type { Representation } from './formats.ts'
import type { ResolvedOptions } from './options.ts'
import { Compressor } from './compressor.ts'
import { ReplyBody } from './reply-body.ts'
import { assertHead, checkHead, clearHead, dropFraming, replyHeaders, setHead } from './response-headers.ts'
import { openDirectly, type FrameWriter } from './response-writer.ts'
import { errorReplyUnderWay, overrideSend } from './send-override.ts'
import type { StreamRecord } from './stream-record.ts'

// Milliseconds that a resuming client waits for the decision whether any event is left for it.
const RESUME_DECISION_TIMEOUT = 1_000

/** The stream of a head. */
export interface HeadOwner {
  readonly reply: FastifyReply
  readonly options: Pick<ResolvedOptions, 'flushHeadersAfter' | 'retry' | 'directWrites'>
  readonly record: Pick<StreamRecord, 'scope' | 'lastEventId' | 'age'>
  readonly driver: Pick<SourceDriver, 'hasAnswer' | 'sharesFrames'> | undefined
  readonly representation: Representation
  readonly writer: FrameWriter & {
    readonly isEmpty: boolean
    append: (frame: string) => void
    prepend: (frame: string) => void
  }
  readonly failures: {
    handlerFailed: (error: Error) => void
    handlerReturned: (value: unknown) => void
    replaced: () => void
    replacedBySend: () => void
    giveUp: (error: Error) => void
  }
  /** Whether the response has no body. */
  readonly bodiless: boolean
  /** Whether the stream is compressed for clients that accept it. */
  readonly compresses: boolean
  /** Whether the handler is wrapped, so that Fastify gets neither its result nor its error. */
  readonly wrapped: boolean
}

// queueMicrotask makes an async resource for each call.
const settled = Promise.resolve()

/**
 * Calls back after all work that is ready now. A tick that is requested outside the microtasks would run before them.
 */
function afterMicrotasks (callback: () => void): void {
  settled.then(() => process.nextTick(callback))
}

/**
 * The head of a response, which is sent once: for a stream, for a response without content, or for an ordinary error.
 * Until then the reply belongs to the stream.
 */
export class ResponseHead {
  /** Whether it is decided which head is sent. */
  committed = false
  /** Whether the error handlers own the reply. */
  released = false
  /** The content type that was sent with the body. */
  type: unknown
  readonly #reply: FastifyReply
  readonly #stream: HeadOwner
  /** The `send` of the reply before it was replaced. */
  readonly #send: FastifyReply['send']
  #timer: NodeJS.Timeout | undefined

  constructor (stream: HeadOwner) {
    const { reply, wrapped } = stream
    this.#reply = reply
    this.#stream = stream
    this.#send = reply.send
    if (!wrapped) overrideSend(reply, this, stream.failures)
  }

  /** Starts the wait for the first event. */
  start (): void {
    this.flushAfter(this.#stream.options.flushHeadersAfter, () => this.#flushIfIdle())
  }

  /** Sends the head without an event, for `onopen` and for proxies that wait for a first byte. */
  #flushIfIdle (): void {
    const { record, driver, representation, writer } = this.#stream
    // The answer to a resuming client may be 204, which only a head can carry: wait until the channel has answered.
    const left = record.lastEventId !== undefined && driver?.hasAnswer === false
      ? RESUME_DECISION_TIMEOUT - record.age
      : 0
    if (left > 0) this.flushAfter(left, () => this.#flushIfIdle())
    else if (writer.isEmpty) writer.append(representation.wire.heartbeat)
  }

  /**
   * Calls back if no head is committed within the delay. Work that is ready at once makes no timer, and runs under a
   * fake clock.
   */
  flushAfter (delay: number, callback: () => void): void {
    afterMicrotasks(() => {
      if (this.committed) return
      if (delay === 0) callback()
      else this.#timer = setTimeout(callback, delay)
    })
  }

  /** Returns false if the head was committed before. */
  commit (): boolean {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.committed) return false
    this.committed = true
    return true
  }

  /** Sends the head of the stream, once, and opens the writer on the response. */
  open (): void {
    const { options: { retry, directWrites }, bodiless, representation, writer, driver } = this.#stream
    // Another payload was sent in place of the stream.
    if (this.#reply.sent && !this.committed) return this.#stream.failures.replacedBySend()
    if (!this.commit()) return
    if (retry !== undefined && !bodiless) writer.prepend(representation.wire.control({ retry }))
    const compressor = this.#stream.compresses
      ? new Compressor(this.#reply, driver?.sharesFrames === true)
      : undefined
    try {
      if (!directWrites || bodiless || !this.writeDirectly(compressor)) {
        return this.send(new ReplyBody(writer, this.#reply, directWrites, compressor))
      }
      openDirectly(this.#reply, writer, compressor)
    } catch (error) {
      // No caller outside the handler would catch it.
      this.#stream.failures.giveUp(error as Error)
    }
  }

  /**
   * Makes the response one without content: a client that has everything must not connect again (R7). Returns whether
   * it is still possible.
   */
  setNoContent (): boolean {
    if (this.committed || !this.#stream.writer.isEmpty) return false
    this.#reply.code(204)
    return true
  }

  /**
   * Sends the head of a stream by itself, where `reply.send` would only do that and pipe a body: a readable and the
   * listeners on it and on the response are most of the cost of a short stream. Returns false where `reply.send` does
   * more. Throws as `send` does.
   */
  writeDirectly (compressor?: Compressor): boolean {
    const { raw } = this.#reply
    // Fastify knows all cases of a response without a body. A `send` that replaces Fastify's must be called, too.
    if (raw.statusCode !== 200 || this.#send !== (Object.getPrototypeOf(this.#reply) as FastifyReply).send ||
      !canWriteHeadDirectly(this.#reply)) return false
    const { contentType } = this.#stream.representation
    setHead(this.#reply, contentType)
    compressor?.prepare()
    checkHead(this.#reply, contentType)
    raw.writeHead(200, replyHeaders(this.#reply))
    this.#reply.hijack()
    // From here on `reply.sent` is true, and Fastify's own `send` rejects every payload.
    if (!this.#stream.wrapped) this.#reply.send = this.#send
    return true
  }

  /**
   * Sends the head of a stream, and the body through the onSend hooks. Throws as Fastify does, for example for a bad
   * header.
   */
  send (body: Readable): void {
    setHead(this.#reply, this.#stream.representation.contentType)
    dropFraming(this.#reply)
    assertHead(this.#reply)
    this.type = this.#reply.getHeader('content-type')
    this.#stream.record.scope.runInAsyncScope(this.#send, this.#reply, body)
  }

  /**
   * Sends a payload of `reply.send` in place of a stream without a head. The stream ends at once: two replies would mix
   * their bytes. Drops the payload if the head of the stream is in the onSend hooks. An error ends the stream in the
   * onError hook.
   */
  sendInPlace (payload: unknown): void {
    const { failures } = this.#stream
    const over = this.released || this.#reply.sent || isError(payload)
    if (!over && this.committed && !errorReplyUnderWay(this.#reply, this, payload)) {
      return failures.handlerReturned(payload)
    }
    if (!over && !this.committed) failures.replacedBySend()
    this.#send.call(this.#reply, payload)
  }

  /** Sends an ordinary error response in place of the stream, with its hooks, handlers and status. */
  sendError (error: Error): void {
    this.commit()
    // By then the `undefined` of a handler that did not return the stream is sent. Later payloads are the error
    // handler's.
    afterMicrotasks(() => {
      this.released = true
      try {
        clearHead(this.#reply)
        this.#stream.record.scope.runInAsyncScope(this.#send, this.#reply, error)
      } catch (err) {
        this.released = false
        logSafely(this.#reply.log, 'error', { err }, 'sse error reply failed')
        this.#reply.raw.destroy()
      }
    })
  }
}
