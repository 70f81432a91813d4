import type { FastifyReply } from 'fastify'
import { isError } from '../errors.ts'
import { toError } from '../thrown-value.ts'
import { clearErrorMark } from './fastify-internals.ts'

/** The state of the head that decides which payloads belong to the stream. */
interface OverriddenHead {
  /** Whether the error handlers own the reply. */
  readonly released: boolean
  /** The content type that was sent with the body. */
  readonly type: unknown
}

interface OverriddenStream {
  handlerFailed: (error: Error) => void
  handlerReturned: (value: unknown) => void
  /** Called when Fastify has another reply for the request. */
  replaced: () => void
}

/**
 * Replaces `reply.send` until the head of the stream is sent, where the handler is not wrapped. Fastify sends
 * `undefined` for an async handler that returns nothing, which must not end the response. An error thrown there ends
 * the stream.
 */
export function overrideSend (reply: FastifyReply, head: OverriddenHead, stream: OverriddenStream): void {
  const original = reply.send
  const send: FastifyReply['send'] = (payload?: unknown) => {
    if (head.released || reply.sent || errorReplyUnderWay(reply, head, payload)) return original.call(reply, payload)
    const marked = clearErrorMark(reply)
    if (marked === true || isError(payload)) {
      stream.handlerFailed(toError(payload, 'The handler'))
    } else if (marked === undefined && payload !== undefined) {
      // Only Fastify knows whether the handler threw or returned it.
      stream.replaced()
      return original.call(reply, payload)
    } else {
      stream.handlerReturned(payload)
    }
    return reply
  }
  // A named function: V8 puts a function that is written to the right of a property among its long-lived objects. There
  // it would hold everything of a finished request until the next full collection.
  reply.send = send
}

/**
 * When an onSend hook fails, Fastify replies with that error, and first removes the content type that the stream has
 * set.
 */
export function errorReplyUnderWay (reply: FastifyReply, head: Pick<OverriddenHead, 'type'>, payload: unknown): boolean {
  if (head.type === undefined) return false
  const type = reply.getHeader('content-type')
  // The error handler may have set another type. The `undefined` of a handler that returns nothing is still dropped.
  return type === undefined || (payload !== undefined && type !== head.type)
}
