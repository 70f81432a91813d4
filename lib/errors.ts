import { types } from 'node:util'
import createError from '@fastify/error'

/**
 * Every error of this package, by its code. Messages say what to do next;
 * programs switch on `code`, never on the text.
 */
export const FST_SSE_OPTION = createError('FST_SSE_OPTION', "Option '%s' must be %s, got %s", 500, TypeError)

export const FST_SSE_MAP = createError('FST_SSE_MAP', '%s: the events must be a map of names to TypeBox schemas: %s', 500, TypeError)

export const FST_SSE_SCHEMA = createError('FST_SSE_SCHEMA', "%s: the schema of event '%s' cannot be used: %s", 500, TypeError)

export const FST_SSE_SOURCE = createError('FST_SSE_SOURCE', 'A source is an async iterable, an iterable, a readable stream, a channel or a function that returns one, got %s', 500, TypeError)

export const FST_SSE_ALREADY_STARTED = createError('FST_SSE_ALREADY_STARTED', 'reply.sse() was called twice for one request: merge the sources into one before the call')

export const FST_SSE_REPLY_SENT = createError('FST_SSE_REPLY_SENT', 'reply.sse() was called after the reply was sent: call it instead of reply.send(), not after it')

export const FST_SSE_SEND_AFTER_SSE = createError('FST_SSE_SEND_AFTER_SSE', 'reply.send() was called after reply.sse(): the payload was dropped; yield it as an event of the source instead')

export const FST_SSE_HEADER = createError('FST_SSE_HEADER', "The header '%s: %s' of a stream was dropped because a stream has no length: set it on other replies only")

export const FST_SSE_TYPE = createError('FST_SSE_TYPE', "An EventSource refuses the content type '%s' of a stream: leave the content type to the plugin")

export const FST_SSE_CLOSING = createError('FST_SSE_CLOSING', 'The server is closing: connect again in a moment', 503)

export const FST_SSE_LIMIT = createError('FST_SSE_LIMIT', 'As many streams are open as this server serves: connect again in a while', 503)

export const FST_SSE_KEY_LIMIT = createError('FST_SSE_KEY_LIMIT', 'As many streams are open as one client may have: close one, or connect again in a while', 429)

export const FST_SSE_REVOKED = createError('FST_SSE_REVOKED', 'The stream was ended: %s', 403)

export const FST_SSE_NO_KEY = createError('FST_SSE_NO_KEY', 'disconnect() was called with a key, and streams have none: set limits.key at registration, or pass a function')

export const FST_SSE_EVENT = createError('FST_SSE_EVENT', 'Not an event: expected { data, event?, id?, retry? }, { comment }, { id } or { retry }, got %s', 500, TypeError)

export const FST_SSE_UNKNOWN_EVENT = createError('FST_SSE_UNKNOWN_EVENT', "Event '%s' is not declared: add it to the map, or send one of %s", 500, TypeError)

export const FST_SSE_FIELD = createError('FST_SSE_FIELD', "The field '%s' of an event must be %s, got %s", 500, TypeError)

export const FST_SSE_DATA = createError('FST_SSE_DATA', "Event '%s' does not fit its schema at '%s': %s", 500, TypeError)

export const FST_SSE_SERIALIZE = createError('FST_SSE_SERIALIZE', "Event '%s' cannot be serialised at '%s': %s", 500, TypeError)

export const FST_SSE_QUEUE_LOCKED = createError('FST_SSE_QUEUE_LOCKED', 'This EventQueue already has its reader: make one queue per stream')

export const FST_SSE_QUEUE_ENDED = createError('FST_SSE_QUEUE_ENDED', 'push() was called after end(): push everything first, then end the queue')

export const FST_SSE_PUBLISH = createError('FST_SSE_PUBLISH', 'This cannot be published: %s', 500, TypeError)

export const FST_SSE_CHANNEL_OPTIONS = createError('FST_SSE_CHANNEL_OPTIONS', "The channel '%s' exists with another '%s': make the options once, outside of the handler, and pass the same everywhere")

export const FST_SSE_CHANNEL_ENDED = createError('FST_SSE_CHANNEL_ENDED', 'The channel has ended: publish before end(), or use another name')

export const FST_SSE_CHANNEL_EVENTS = createError('FST_SSE_CHANNEL_EVENTS', "The events of the channel '%s' are not those of schema.sse: declare the same schema objects in both, or narrow with subscribe({ map })", 500, TypeError)

export const FST_SSE_CHANNELS = createError('FST_SSE_CHANNELS', 'A stream follows 1 to %s different channels, got %s', 500, TypeError)

export const FST_SSE_SNAPSHOT = createError('FST_SSE_SNAPSHOT', "The snapshot of the channel '%s' brings an id that is no position in it: %s")

export const FST_SSE_LAGGING = createError('FST_SSE_LAGGING', "The subscriber of '%s' fell behind its history: read faster, keep more history, or choose another policy for slow readers")

export const FST_SSE_LOG_UNAVAILABLE = createError('FST_SSE_LOG_UNAVAILABLE', "The log of the channel '%s' %s", 503)

export const FST_SSE_LOG_FOREIGN = createError('FST_SSE_LOG_FOREIGN', "The keys of the channel '%s' %s: nothing was changed")

export const FST_SSE_NOT_REGISTERED = createError('FST_SSE_NOT_REGISTERED', 'The inspector shows a registration of fastify-typed-sse: register that before it, in the same app or in one around it')

export const FST_SSE_FORBIDDEN = createError('FST_SSE_FORBIDDEN', 'This is not permitted: %s', 403)

export const FST_SSE_NOT_FOUND = createError('FST_SSE_NOT_FOUND', 'There is no %s: it is over, or it never was', 404)

export const FST_SSE_REAUTHORIZE_TIMEOUT = createError('FST_SSE_REAUTHORIZE_TIMEOUT', '%s did not settle within %s milliseconds')

export const FST_SSE_TEST_TIMEOUT = createError('FST_SSE_TEST_TIMEOUT', '%s did not come %s; so far: %s')

/** An error of this realm or of another, as tests and `vm` make them. */
export function isError (value: unknown): value is Error {
  try {
    return types.isNativeError(value) || value instanceof Error
  } catch {
    // A revoked proxy, or one whose traps throw.
    return false
  }
}

/** Shows a value in an error message: its type, and the value where that is short. */
export function describe (value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'string') return `${JSON.stringify(value.length > 40 ? value.slice(0, 40) + '…' : value)} (string)`
  if (typeof value === 'object') return describeObject(value)
  if (typeof value === 'function') return 'a function'
  return value === undefined ? 'undefined' : `${String(value)} (${typeof value})`
}

function describeObject (value: object): string {
  try {
    if (Array.isArray(value)) return 'an array'
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === null) return 'an object (no prototype)'
    const maker: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
    return `an object (${typeof maker === 'function' ? maker.name : 'Object'})`
  } catch {
    return 'an object (that cannot be read)'
  }
}
