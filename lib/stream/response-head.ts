import type { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { clearTimeout, setTimeout } from '../clock.ts'
import { FST_SSE_SEND_AFTER_SSE, isError } from '../errors.ts'
import { assertHead, checkHead, clearHead, dropFraming, setHead } from './response-headers.ts'
import { logSafely } from '../log-safely.ts'
import { headersOf, canWriteHeadDirectly, clearErrorMark } from './fastify-internals.ts'
import type { Scope } from '../scope.ts'
import { toError } from '../thrown-value.ts'

// queueMicrotask makes a resource of each.
const settled = Promise.resolve()

/** When all that is ready now has run: a tick comes before the microtasks when it is asked for outside of them, so ask inside. */
function afterMicrotasks (callback: () => void): void {
  settled.then(() => process.nextTick(callback))
}

/**
 * The time until the head of a response goes out, once: as that of a stream, or of an ordinary error.
 *
 * For so long the reply belongs to the stream. Fastify sends `undefined` for an async handler that returns nothing,
 * which must not end the response; an error thrown there is the stream's.
 */
export class ResponseHead {
  /** True from the moment it is decided what goes out. */
  committed = false
  readonly #reply: FastifyReply
  readonly #send: FastifyReply['send']
  /** Where the hooks of the response run. */
  readonly #scope: Scope
  /** The content type that went out with the body. */
  #type: unknown
  /** True once the error handlers own the reply. */
  released = false
  #timer: NodeJS.Timeout | undefined

  /** `stream` is told of an error of the handler. */
  constructor (reply: FastifyReply, stream: { readonly scope: Scope, handlerFailed: (error: Error) => void }) {
    this.#reply = reply
    this.#send = reply.send
    this.#scope = stream.scope
    const send: FastifyReply['send'] = (payload?: unknown) => {
      if (this.released || reply.sent || this.#errorReplyUnderWay(payload)) return this.#send.call(reply, payload)
      const marked = clearErrorMark(reply)
      if (marked || isError(payload)) stream.handlerFailed(toError(payload, 'The handler'))
      else if (payload !== undefined) logSafely(reply.log, 'warn', { err: new FST_SSE_SEND_AFTER_SSE() }, 'sse reply taken')
      return reply
    }
    // By its name: V8 puts a function that is written to the right of a property among what lives long, and there it would hold
    // everything of this request, long done, until the next full collection.
    reply.send = send
  }

  /** When an onSend hook fails, Fastify answers with that error, and for it removes the content type that `send` has set. */
  #errorReplyUnderWay (payload: unknown): boolean {
    if (this.#type === undefined) return false
    const type = this.#reply.getHeader('content-type')
    // The error handler may have set another; a handler that returns nothing is still to be kept out.
    return type === undefined || (payload !== undefined && type !== this.#type)
  }

  /** Calls back when nothing was committed for so long. What is ready by itself makes no timer; nor does a test's clock hold it. */
  flushAfter (delay: number, late: () => void): void {
    afterMicrotasks(() => {
      if (this.committed) return
      if (delay === 0) late()
      else this.#timer = setTimeout(late, delay)
    })
  }

  /** False when it was committed before. */
  commit (): boolean {
    clearTimeout(this.#timer)
    if (this.committed) return false
    this.committed = true
    return true
  }

  /**
   * Sends the head of a stream by itself, where `reply.send` would do nothing but that and pipe a body: a readable, the listeners on it
   * and on the response are most of what a short stream costs. False where it has more to do. Throws as `send` does.
   */
  writeDirectly (): boolean {
    const { raw } = this.#reply
    // What has no body, or may have none, is for those who know all the cases; so is a `send` that somebody has put in place of Fastify's.
    if (raw.statusCode !== 200 || this.#send !== (Object.getPrototypeOf(this.#reply) as FastifyReply).send || !canWriteHeadDirectly(this.#reply)) return false
    setHead(this.#reply)
    checkHead(this.#reply)
    raw.writeHead(200, headersOf(this.#reply))
    // Its `sent` is true from here on, and says all that our `send` knows.
    this.#reply.hijack().send = this.#send
    return true
  }

  /** Sends the head of a stream, and the body through the onSend hooks. Throws what Fastify throws, for a header that cannot be sent, say. */
  send (body: Readable): void {
    setHead(this.#reply)
    dropFraming(this.#reply)
    assertHead(this.#reply)
    this.#type = this.#reply.getHeader('content-type')
    this.#scope.runInAsyncScope(this.#send, this.#reply, body)
  }

  /** Nothing is sent yet: an ordinary error of an ordinary request, with its hooks, handlers and status. */
  sendError (error: Error): void {
    this.commit()
    // By then a handler that ended without returning the stream has sent its `undefined`; what comes later is the error handler's.
    afterMicrotasks(() => {
      this.released = true
      try {
        clearHead(this.#reply)
        this.#scope.runInAsyncScope(this.#send, this.#reply, error)
      } catch (err) {
        this.released = false
        logSafely(this.#reply.log, 'error', { err }, 'sse error reply failed')
        this.#reply.raw.destroy()
      }
    })
  }
}
