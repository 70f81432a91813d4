import type { FastifyRequest } from 'fastify'
import type { AnyEvent } from '../contract/event-types.ts'
import type { CloseReport } from '../lifecycle.ts'
import { aBoolean, aFunction, delay, functionOrNull, validateOptions, type Rule } from '../validate-options.ts'

/** Options of `app.register(sse, options)`, and per stream of `reply.sse(source, options)`. Times are milliseconds. */
export interface SseOptions {
  /** A comment goes out after that much silence, measured to a tenth; 0 = none. Default 15000. */
  heartbeatInterval?: number | undefined
  /** Reconnection delay told to the client in the first frame (WHATWG HTML §9.2.6, `retry`). Default: the client's own. */
  retry?: number | undefined
  /** How long the first event may take before the head is sent without it. Until then an error is an ordinary HTTP error. A client that comes back with an id waits up to a second for its channel, which may be over. Default 50. */
  flushHeadersAfter?: number | undefined
  /** A client that takes no byte for that long while bytes wait is disconnected; 0 = never. Default 30000. */
  stallTimeout?: number | undefined
  /** The stream ends cleanly after that long, give or take 10 %, so that load balancers and tokens get their turn; 0 = never. Default 0. */
  maxLifetime?: number | undefined
  /** What happens to an event that cannot be sent: thrown at the generator's `yield`, or left out and logged. Default 'error'. */
  onInvalid?: 'error' | 'skip' | ((error: Error, event: unknown) => 'error' | 'skip') | undefined
  /** The last event after an error in mid-stream; `null` or a function that returns null: none. Default: `error` with RFC 9457 problem JSON. */
  errorEvent?: ((error: Error, request: FastifyRequest) => AnyEvent | null) | null | undefined
  /** What `app.close()` does with the stream: ends it when its turn comes, or leaves it to end by itself within `shutdownTimeout`. Default 'end'. */
  onShutdown?: 'close' | 'drain' | undefined
  /**
   * Whether the stream is still permitted, asked every `reauthorizeInterval`. Where the answer is no, it ends as
   * `revoked`, with an error (403) after which our client does not come back. If it throws or does not settle within
   * the interval, the error is logged (FST_SSE_REAUTHORIZE_TIMEOUT for the latter), and it is called again.
   */
  reauthorize?: ((request: FastifyRequest) => boolean | Promise<boolean>) | undefined
  /** How often `reauthorize` is asked. Default 15000. */
  reauthorizeInterval?: number | undefined
  /** Called exactly once for every stream, however it ended. */
  onClose?: ((report: CloseReport) => void) | undefined
  /**
   * What Fastify and Node would only pass on goes past them, wherever nothing can tell the difference: a stream that no onSend hook is to see
   * past `reply.send`, and frames to the socket as chunks of our own framing (RFC 9112 §7.1). False: all of it goes through `reply.send` and
   * `response.write`, for comparison and for trust. Default true.
   */
  directWrites?: boolean | undefined
}

/** Options of one stream. */
export interface StreamOptions extends SseOptions {
  /**
   * A finite stream: its end is marked with an id of its own, and the reconnect that brings that id back is answered
   * with 204, which stops an `EventSource` for good. Default false: the browser connects again and gets it all once more.
   */
  finite?: boolean | undefined
}

type Defaulted = 'heartbeatInterval' | 'flushHeadersAfter' | 'stallTimeout' | 'maxLifetime' | 'onShutdown' | 'reauthorizeInterval' | 'onInvalid' | 'directWrites' | 'finite'

/** Options with the defaults filled in. */
export type ResolvedOptions = { [K in Defaulted]: NonNullable<StreamOptions[K]> } & { [K in Exclude<keyof StreamOptions, Defaulted>]: StreamOptions[K] }

export const DEFAULTS: ResolvedOptions = {
  heartbeatInterval: 15_000,
  retry: undefined,
  flushHeadersAfter: 50,
  stallTimeout: 30_000,
  maxLifetime: 0,
  onInvalid: 'error',
  errorEvent: undefined,
  onShutdown: 'close',
  reauthorize: undefined,
  reauthorizeInterval: 15_000,
  onClose: undefined,
  directWrites: true,
  finite: false
}

export const RULES: Record<keyof ResolvedOptions, Rule> = {
  heartbeatInterval: delay,
  flushHeadersAfter: delay,
  stallTimeout: delay,
  maxLifetime: delay,
  retry: { expected: 'a whole number of milliseconds, 0 or more', fits: value => Number.isSafeInteger(value) && Number(value) >= 0 },
  onInvalid: { expected: "'error', 'skip' or a function", fits: value => value === 'error' || value === 'skip' || typeof value === 'function' },
  errorEvent: functionOrNull,
  onShutdown: { expected: "'close' or 'drain'", fits: value => value === 'close' || value === 'drain' },
  reauthorize: aFunction,
  reauthorizeInterval: { expected: 'a number of milliseconds from 1 to 2147483647', fits: value => delay.fits(value) && Number(value) >= 1 },
  onClose: aFunction,
  directWrites: aBoolean,
  finite: aBoolean
}

/** The options of a stream on top of those of the registration, or these on top of the defaults. */
export function resolveOptions (given: StreamOptions | undefined, defaults: ResolvedOptions = DEFAULTS): ResolvedOptions {
  return given === undefined ? defaults : validateOptions(given, defaults, RULES)
}
