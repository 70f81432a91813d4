import type { FastifyReply, FastifyRequest } from 'fastify'
import { problemDetails } from '../contract/problem.ts'
import { logSafely } from '../log-safely.ts'
import { toError } from '../thrown-value.ts'

/** An error handler of a route, or of `app.setErrorHandler`. */
export type ErrorHandler = (error: unknown, request: FastifyRequest, reply: FastifyReply) => void

/**
 * The parts of a request that the last event of a stream needs. The error of a channel has none of them: its second
 * argument is a `ChannelErrorContext`.
 */
export interface ErrorContext { readonly id?: string | undefined, readonly channel?: string | undefined }

/**
 * Returns the error handler of a protocol. It logs the error as Fastify does, and replies with its status and the body
 * of the protocol.
 */
export function errorHandler (bodyOf: (error: Error, request: FastifyRequest) => object | string): ErrorHandler {
  return (thrown, request, reply) => {
    const error = toError(thrown, 'The handler')
    const { status } = problemDetails(error)
    logSafely(request.log, status < 500 ? 'info' : 'error', { err: error }, error.message)
    reply.code(status).send(bodyOf(error, request))
  }
}
