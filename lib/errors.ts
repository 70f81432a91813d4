import { types } from 'node:util'
import { createError } from '@fastify/error'

/**
 * All errors of this package, by code. A message says what happened and what to do next. Programs switch on `code`,
 * never on the text. lib/errors.md lists the codes.
 */
export const FST_SSE_OPTION = createError('FST_SSE_OPTION', "Option '%s' must be %s, got %s", 500, TypeError)

export const FST_SSE_MAP = createError('FST_SSE_MAP', '%s: the events must map names to schemas: %s', 500, TypeError)

export const FST_SSE_SCHEMA = createError('FST_SSE_SCHEMA', '%s: the schema of event %s cannot be compiled: %s', 500,
  TypeError)

export const FST_SSE_SOURCE = createError('FST_SSE_SOURCE',
  'A source must be an async iterable, an iterable, a readable stream, a channel or a function that returns one of these, got %s',
  500, TypeError)

export const FST_SSE_ALREADY_STARTED = createError('FST_SSE_ALREADY_STARTED',
  'reply.sse() was called twice for one request: merge the sources and call it once')

export const FST_SSE_REPLY_SENT = createError('FST_SSE_REPLY_SENT',
  'reply.sse() was called after the reply was sent: call it instead of reply.send()')

export const FST_SSE_SEND_AFTER_SSE = createError('FST_SSE_SEND_AFTER_SSE',
  'reply.send() was called after reply.sse(): yield the payload from the source as an event instead')

export const FST_SSE_HEADER = createError('FST_SSE_HEADER',
  "The header '%s: %s' was dropped, because a stream has no length: set it only on replies that are no streams")

export const FST_SSE_TYPE = createError('FST_SSE_TYPE',
  "An EventSource rejects the content type '%s' of a stream: leave the content type to the plugin")

export const FST_SSE_CLOSING = createError('FST_SSE_CLOSING', 'The server is closing: reconnect in a moment', 503)

export const FST_SSE_LIMIT = createError('FST_SSE_LIMIT',
  'The server has reached its limit of open streams: try again later', 503)

export const FST_SSE_KEY_LIMIT = createError('FST_SSE_KEY_LIMIT',
  'The client has reached its limit of open streams: close one, or try again later', 429)

export const FST_SSE_NOT_ACCEPTABLE = createError('FST_SSE_NOT_ACCEPTABLE',
  'The Accept header allows no format of this stream, which are: %s', 406)

export const FST_SSE_WAIT = createError('FST_SSE_WAIT',
  "The query parameter 'wait' must be a number of seconds, 0 or more, got %s", 400)

export const FST_SSE_INCOMPLETE = createError('FST_SSE_INCOMPLETE',
  'The array ended before its source: request it again', 503)

export const FST_SSE_REVOKED = createError('FST_SSE_REVOKED', 'The stream was ended: %s', 403)

export const FST_SSE_NO_KEY = createError('FST_SSE_NO_KEY',
  'disconnect() was called with a key, but streams have no key: set limits.keyGenerator at registration, or pass a function')

export const FST_SSE_EVENT = createError('FST_SSE_EVENT',
  'Not an event: expected { data, event?, id?, retry? }, { comment }, { id } or { retry }, got %s', 500, TypeError)

export const FST_SSE_UNKNOWN_EVENT = createError('FST_SSE_UNKNOWN_EVENT',
  "Event '%s' is not declared: add it to the event map, or send one of %s", 500, TypeError)

export const FST_SSE_FIELD = createError('FST_SSE_FIELD', "The field '%s' of an event must be %s, got %s", 500,
  TypeError)

export const FST_SSE_DATA = createError('FST_SSE_DATA', "Event '%s' does not match its schema at '%s': %s", 500,
  TypeError)

export const FST_SSE_SERIALIZE = createError('FST_SSE_SERIALIZE', "Event '%s' cannot be serialized at '%s': %s", 500,
  TypeError)

export const FST_SSE_QUEUE_LOCKED = createError('FST_SSE_QUEUE_LOCKED',
  'This EventQueue already has a reader: create one queue for each stream')

export const FST_SSE_QUEUE_ENDED = createError('FST_SSE_QUEUE_ENDED',
  'push() was called after end(): push all events before end()')

export const FST_SSE_PUBLISH = createError('FST_SSE_PUBLISH', 'The event cannot be published: %s', 500, TypeError)

export const FST_SSE_BATCH = createError('FST_SSE_BATCH', 'A batch must have 1 to %s events, got %s', 400)

export const FST_SSE_CHANNEL_OPTIONS = createError('FST_SSE_CHANNEL_OPTIONS',
  "The channel '%s' exists with another '%s': create the options once, outside the handler, and pass the same values everywhere")

export const FST_SSE_CHANNEL_ENDED = createError('FST_SSE_CHANNEL_ENDED',
  'The channel has ended: publish before end(), or use a channel with another name')

export const FST_SSE_CHANNEL_EVENTS = createError('FST_SSE_CHANNEL_EVENTS',
  "The events of the channel '%s' differ from schema.sse: declare the same schema objects in both, or convert the events with subscribe({ map })",
  500, TypeError)

export const FST_SSE_CHANNELS = createError('FST_SSE_CHANNELS',
  'A stream must subscribe to 1 to %s different channels, got %s', 500, TypeError)

export const FST_SSE_SNAPSHOT = createError('FST_SSE_SNAPSHOT',
  "The snapshot of the channel '%s' returned an id that is not a position in it: %s")

export const FST_SSE_LAGGING = createError('FST_SSE_LAGGING',
  "The subscriber of '%s' fell behind the history: read faster, raise the history limits, or set another slowConsumer policy")

export const FST_SSE_LOG_UNAVAILABLE = createError('FST_SSE_LOG_UNAVAILABLE', "The event log of the channel '%s' %s",
  503)

export const FST_SSE_LOG_FOREIGN = createError('FST_SSE_LOG_FOREIGN',
  "The %s '%s' %s: nothing was changed")

export const FST_SSE_LOG_IN_USE = createError('FST_SSE_LOG_IN_USE',
  "The file '%s' is in use: an event log of SQLite belongs to one process, and to one sqliteLog() in it", 503)

export const FST_SSE_LOG_METHOD = createError('FST_SSE_LOG_METHOD',
  "The event log has no '%s', which %s: use another log, such as postgresLog(), or add the method", 500, TypeError)

export const FST_SSE_RUN_BROKEN = createError('FST_SSE_RUN_BROKEN',
  "The node of the run '%s' has stopped before the run was complete: start another run", 503)

export const FST_SSE_NOT_REGISTERED = createError('FST_SSE_NOT_REGISTERED',
  'The inspector needs fastify-typed-sse: register the plugin before it, in the same scope or in a parent scope')

export const FST_SSE_FORBIDDEN = createError('FST_SSE_FORBIDDEN', 'Access denied: %s', 403)

export const FST_SSE_NOT_FOUND = createError('FST_SSE_NOT_FOUND', 'There is no %s: it has ended, or it never existed',
  404)

// The status of each rejection is that of the protocol.
export const FST_SSE_MCP = createError('FST_SSE_MCP', '%s', 400)

export const FST_SSE_REAUTHORIZE_TIMEOUT = createError('FST_SSE_REAUTHORIZE_TIMEOUT',
  'The promise of %s did not settle within %s milliseconds: resolve or reject it sooner')

export const FST_SSE_TEST_TIMEOUT = createError('FST_SSE_TEST_TIMEOUT', '%s did not arrive %s; so far: %s')

/** Whether a value is an error, of this realm or of another one, such as a `vm` context. */
export function isError (value: unknown): value is Error {
  try {
    return types.isNativeError(value) || value instanceof Error
  } catch {
    // A revoked proxy, or a proxy whose traps throw.
    return false
  }
}

/** Describes a value for an error message: its type, and the value itself if it is short. */
export function describe (value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'string') {
    return `${JSON.stringify(value.length > 40 ? value.slice(0, 40) + '…' : value)} (string)`
  }
  if (typeof value === 'object') return describeObject(value)
  if (typeof value === 'function') return 'a function'
  return value === undefined ? 'undefined' : `${String(value)} (${typeof value})`
}

function describeObject (value: object): string {
  try {
    if (Array.isArray(value)) return 'an array'
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === null) return 'an object (no prototype)'
    const builder: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
    return `an object (${typeof builder === 'function' ? builder.name : 'Object'})`
  } catch {
    return 'an object (that cannot be read)'
  }
}
