import type { FastifyRequest } from 'fastify'
import type { AnyEvent, SystemEvent } from '../contract/event-types.ts'
import { REPRESENTATIONS, type StreamFormat } from './formats.ts'
import type { CloseReport, OpenReport } from '../lifecycle.ts'
import {
  aBoolean, aFunction, delay, functionOrNull, milliseconds, validateOptions, type Rule
} from '../validate-options.ts'

/** Options of `app.register(sse, options)`, and per stream of `reply.sse(source, options)`. Times are milliseconds. */
export interface SseOptions {
  /** A comment is sent after this time without bytes, with a precision of a tenth; 0: none. Default 15000. */
  heartbeatInterval?: number | undefined
  /**
   * The client's reconnection delay, sent in the first frame (WHATWG HTML §9.2.6, `retry`). Default: the client's own.
   */
  retry?: number | undefined
  /**
   * The head is sent without an event after this time. Until then an error is an ordinary HTTP error. A client that
   * sends `Last-Event-ID` waits up to one second, because the answer of its channel may be 204. Default 50.
   */
  flushHeadersAfter?: number | undefined
  /** A client that reads no byte for this time while bytes wait is disconnected; 0: never. Default 30000. */
  stallTimeout?: number | undefined
  /**
   * The stream ends cleanly after this time, ±10 %, for load balancing and for tokens that expire; 0: never. Default 0.
   */
  maxLifetime?: number | undefined
  /**
   * The treatment of an event that cannot be sent: thrown at the generator's `yield`, or dropped and logged. Default
   * 'error'.
   */
  onInvalid?: 'error' | 'skip' | ((error: Error, event: unknown) => 'error' | 'skip') | undefined
  /**
   * The last event of a stream that failed after its head; `null` or a function that returns null: none. Default:
   * `error` with RFC 9457 problem JSON.
   */
  errorEvent?: ((error: Error, request: FastifyRequest) => AnyEvent | null) | null | undefined
  /**
   * Returns the event to send in place of `sse.reset` or `sse.gap`, or null for none. The event gets the position of
   * the channel. `null`: neither these nor `sse.position` are sent, for a protocol in which each event is a message of
   * its own. Events that are left out count in `CloseReport.omittedSystemEvents`. Default: they are sent.
   */
  systemEvent?: ((event: SystemEvent, request: FastifyRequest) => AnyEvent | null) | null | undefined
  /**
   * The formats that the stream is available in, by the `Accept` of the request (RFC 9110 §12.5.1). The first is for
   * clients without a preference. FST_SSE_NOT_ACCEPTABLE (406) for a client that accepts none. Default
   * `['event-stream']`, for which `Accept` is not read.
   */
  formats?: readonly StreamFormat[] | undefined
  /**
   * The longest time that a JSON array of channels waits for its first event, with the query parameter `wait` in
   * seconds. Default 60000.
   */
  maxWait?: number | undefined
  /**
   * The effect of `app.close()` on the stream: the server ends it in turn, or the source ends it within
   * `shutdownTimeout`. Default 'close'.
   */
  onShutdown?: 'close' | 'drain' | undefined
  /**
   * Returns whether the stream is still permitted, called every `reauthorizeInterval`. If it returns false, the stream
   * ends as `revoked`, with an error (403) after which our client does not reconnect. If it throws or does not settle
   * within the interval, the error is logged (FST_SSE_REAUTHORIZE_TIMEOUT for the latter), and it is called again.
   */
  reauthorize?: ((request: FastifyRequest) => boolean | Promise<boolean>) | undefined
  /** The time between two calls of `reauthorize`. Default 15000. */
  reauthorizeInterval?: number | undefined
  /** Called when the head of a stream was sent: not for HEAD, 204, an error response or a rejected request. */
  onOpen?: ((report: OpenReport) => void) | undefined
  /** Called exactly once for every stream, after its end. */
  onClose?: ((report: CloseReport) => void) | undefined
  /**
   * Writes past `reply.send` if no onSend hook gets the body, and past `response.write` to the socket, in chunks that
   * are framed here (RFC 9112 §7.1). Neither the client nor a hook sees a difference. False: all writes go through
   * `reply.send` and `response.write`, for comparison. Default true.
   */
  directWrites?: boolean | undefined
  /**
   * Compresses the stream with gzip for clients that accept it. Each event is sent at once. Do not mix secrets with
   * text of other users in a compressed stream. Default: as all channels of the stream say, else false.
   */
  compress?: boolean | undefined
}

/** Options of one stream. `E`: the events of its route. */
export interface StreamOptions<E = AnyEvent> extends SseOptions {
  /**
   * The last event, or a function that returns it, for a protocol with an end of its own. It is sent when the source
   * or its channel has ended without an error, and not after any other end. Default: none.
   */
  end?: E | (() => E) | undefined
  /**
   * Marks the end of a finite stream with a reserved id. A client that reconnects with that id gets 204, which stops an
   * `EventSource`. Default false: the browser reconnects and gets all events again.
   */
  finite?: boolean | undefined
}

type Defaulted = 'heartbeatInterval' | 'flushHeadersAfter' | 'stallTimeout' | 'maxLifetime' | 'onShutdown'
  | 'reauthorizeInterval' | 'onInvalid' | 'directWrites' | 'finite' | 'formats' | 'maxWait'

/** Options with the defaults filled in. */
export type ResolvedOptions = { [K in Defaulted]: NonNullable<StreamOptions[K]> } & {
  [K in Exclude<keyof StreamOptions, Defaulted>]: StreamOptions[K]
}

export const DEFAULTS: ResolvedOptions = {
  heartbeatInterval: 15_000,
  retry: undefined,
  flushHeadersAfter: 50,
  stallTimeout: 30_000,
  maxLifetime: 0,
  onInvalid: 'error',
  errorEvent: undefined,
  systemEvent: undefined,
  formats: ['event-stream'],
  maxWait: 60_000,
  onShutdown: 'close',
  reauthorize: undefined,
  reauthorizeInterval: 15_000,
  onOpen: undefined,
  onClose: undefined,
  directWrites: true,
  compress: undefined,
  end: undefined,
  finite: false
}

export const RULES: Record<keyof ResolvedOptions, Rule> = {
  heartbeatInterval: delay,
  flushHeadersAfter: delay,
  stallTimeout: delay,
  maxLifetime: delay,
  retry: {
    expected: 'a whole number of milliseconds, 0 or more',
    fits: value => Number.isSafeInteger(value) && Number(value) >= 0
  },
  onInvalid: {
    expected: "'error', 'skip' or a function",
    fits: value => value === 'error' || value === 'skip' || typeof value === 'function'
  },
  errorEvent: functionOrNull,
  systemEvent: functionOrNull,
  formats: {
    expected: "a list of 'event-stream', 'ndjson' and 'json', each at most once",
    fits: value => Array.isArray(value) && value.length > 0 && new Set(value).size === value.length &&
      value.every(format => typeof format === 'string' && Object.hasOwn(REPRESENTATIONS, format))
  },
  maxWait: delay,
  onShutdown: { expected: "'close' or 'drain'", fits: value => value === 'close' || value === 'drain' },
  reauthorize: aFunction,
  reauthorizeInterval: milliseconds(1),
  onOpen: aFunction,
  onClose: aFunction,
  directWrites: aBoolean,
  compress: aBoolean,
  end: {
    expected: 'an event or a function that returns one',
    fits: value => typeof value === 'function' || (typeof value === 'object' && value !== null)
  },
  finite: aBoolean
}

/**
 * Returns options with defaults: for a stream from the registration, for the registration from DEFAULTS. Throws
 * FST_SSE_OPTION.
 */
export function resolveOptions (
  input: StreamOptions | undefined,
  defaults: ResolvedOptions = DEFAULTS
): ResolvedOptions {
  return input === undefined ? defaults : validateOptions(input, defaults, RULES)
}
