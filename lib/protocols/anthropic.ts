import { problemDetails } from '../contract/problem.ts'
import type { StreamOptions } from '../stream/options.ts'
import { errorHandler, type ErrorContext, type ErrorHandler } from './error-response.ts'
import { openObject, type OpenObject } from './open-object.ts'

/** The events of a streamed message, by name. Those of the official SDK have these types. Other fields are sent too. */
export interface MessageEventTypes {
  message_start: {
    type: 'message_start'
    message: { id: string, type: 'message', role: 'assistant', model: string, content: readonly object[], usage: object }
  }
  content_block_start: {
    type: 'content_block_start'
    index: number
    content_block: { type: string, id?: string, name?: string, text?: string, thinking?: string, signature?: string }
  }
  content_block_delta: {
    type: 'content_block_delta'
    index: number
    delta: { type: string, text?: string, partial_json?: string, thinking?: string, signature?: string }
  }
  content_block_stop: { type: 'content_block_stop', index: number }
  message_delta: {
    type: 'message_delta'
    delta: { stop_reason: string | null, stop_sequence?: string | null }
    usage: object
  }
  message_stop: { type: 'message_stop' }
  ping: { type: 'ping' }
  error: AnthropicError
}

/** An event of a streamed message. */
export type MessageStreamEvent = MessageEventTypes[keyof MessageEventTypes]

/** The body of an error response, and the last event of a stream that failed. */
export interface AnthropicError {
  type: 'error'
  error: { type: string, message: string }
  request_id?: string | null
}

const type = { type: 'string' }
const index = { type: 'integer' }
const object = { type: 'object', additionalProperties: true }

function event<N extends keyof MessageEventTypes> (
  properties: Record<string, object> = {}
): OpenObject<MessageEventTypes[N]> {
  return openObject<MessageEventTypes[N]>({ type, ...properties })
}

/**
 * The events of a streamed message. For `schema.sse`, with the source `named(chunks)`. A later event of the API is one
 * more property.
 */
export const messageEvents = {
  message_start: event<'message_start'>({ message: object }),
  content_block_start: event<'content_block_start'>({ index, content_block: openObject({ type }) }),
  content_block_delta: event<'content_block_delta'>({ index, delta: openObject({ type }) }),
  content_block_stop: event<'content_block_stop'>({ index }),
  message_delta: event<'message_delta'>({ delta: object }),
  message_stop: event<'message_stop'>(),
  ping: event<'ping'>(),
  error: event<'error'>({ error: openObject({ type, message: { type: 'string' } }) })
}

const byStatus: Record<number, string> = {
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  408: 'timeout_error',
  409: 'conflict_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
  504: 'timeout_error'
}

function errorOf (error: Error, context?: ErrorContext): AnthropicError {
  const { status, title, detail, instance = null } = problemDetails(error, context?.id)
  const type = byStatus[status] ?? (detail === undefined ? 'api_error' : 'invalid_request_error')
  return { type: 'error', error: { type, message: detail ?? title }, request_id: instance }
}

/**
 * Replies to a request that failed before its stream, in the form of the Anthropic API. An error handler of a route or
 * of `app.setErrorHandler`.
 */
export const anthropicErrorHandler: ErrorHandler = errorHandler(errorOf)

/**
 * The options of a streamed message: `reply.sse(named(chunks), messageOptions)`. A stream that fails ends with the
 * event `error`, for which the client of Anthropic throws. At shutdown the answer may end.
 */
export const messageOptions = {
  errorEvent: (error: Error, context?: ErrorContext) => ({ event: 'error', data: errorOf(error, context) } as const),
  systemEvent: null,
  onShutdown: 'drain'
} as const satisfies StreamOptions
