import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import { isThenable } from '../source/source.ts'
import type { Stream } from '../stream/stream.ts'
import { toError } from '../thrown-value.ts'
import { kHandler, stateOf } from './request-state.ts'

/**
 * Wraps the handler of a route. A handler that a later onRoute hook sets is wrapped too: the outermost wrapper gets the
 * result of every other wrapper, and all of them get the promise of the stream.
 */
export function wrapRoute (route: { handler: RouteHandlerMethod }): void {
  let wrapped = wrapHandler(route.handler)
  Object.defineProperty(route, 'handler', {
    configurable: true,
    enumerable: true,
    get: () => wrapped,
    // Fastify itself rejects a handler that is no function.
    set: (handler: RouteHandlerMethod) => { wrapped = typeof handler === 'function' ? wrapHandler(handler) : handler }
  })
}

/**
 * Wraps the handler of a route with `schema.sse`. If the handler starts a stream, the stream gets its result and its
 * error, and Fastify gets neither: it would send `undefined` for an async handler that returns nothing.
 */
export function wrapHandler (handler: RouteHandlerMethod): RouteHandlerMethod {
  return function (this: FastifyInstance, request, reply) {
    const state = stateOf(request)
    // The handler of an outer wrapper, which has started the stream or may start it.
    if ((state[kHandler] ?? null) !== null) return handler.call(this, request, reply)
    state[kHandler] = 'running'
    let result: unknown
    try {
      result = handler.call(this, request, reply)
    } catch (error) {
      return failed(request, reply, error)
    }
    // The common case: the handler returns the promise of its stream.
    if (result !== undefined && result === startedBy(request)?.over) return undefined
    return isThenable(result) ? settled(request, reply, result) : returned(request, reply, result)
  }
}

/** The `reply.send` of a reply for which a wrapped handler started a stream. All such replies share it. */
export function sendInPlace (this: FastifyReply, payload?: unknown): FastifyReply {
  startedBy(this.request)!.head.sendInPlace(payload)
  return this
}

/** Returns the stream that the wrapped handler started. */
function startedBy (request: FastifyRequest): Stream | undefined {
  const started = stateOf(request)[kHandler]
  return started === 'running' ? undefined : started ?? undefined
}

/** Settles as the handler does. Never settles if the handler started a stream whose head is not sent yet. */
async function settled (request: FastifyRequest, reply: FastifyReply, result: PromiseLike<unknown>): Promise<unknown> {
  try {
    const value = returned(request, reply, await result)
    // Fastify does nothing for a reply that is sent.
    if (startedBy(request) === undefined || reply.sent) return value
  } catch (error) {
    failed(request, reply, error)
  }
  return await new Promise(() => {})
}

/** Returns the value of the handler for Fastify, unless the handler started a stream. */
function returned (request: FastifyRequest, reply: FastifyReply, value: unknown): unknown {
  const stream = startedBy(request)
  if (stream === undefined) return value
  if (!stream.abandoned && !reply.sent) stream.failures.handlerReturned(value)
  return undefined
}

/** Throws the error of the handler for Fastify, unless the handler started a stream whose head is not sent yet. */
function failed (request: FastifyRequest, reply: FastifyReply, error: unknown): undefined {
  const stream = startedBy(request)
  if (stream === undefined || reply.sent) throw error
  stream.failures.handlerFailed(toError(error, 'The handler'))
}
