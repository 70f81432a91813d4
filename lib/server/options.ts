import type { FastifyRequest } from 'fastify'
import type { EventLogFactory } from '../log/log.ts'
import { DEFAULTS, RULES, type ResolvedOptions, type SseOptions } from '../stream/options.ts'
import { aFunction, delay, isOptions, validateOptions, type Rule } from '../validate-options.ts'

/** Limits of open streams. A request beyond them is rejected before a head is sent. */
export interface Limits {
  /** Streams that may be open at once, in this process. Default: no limit. */
  readonly maxStreams: number
  /** Streams that may be open at once with one key. Default: no limit. */
  readonly maxStreamsPerKey: number
  /**
   * Returns the key that all streams of one client share: a user, a tenant, a token. `undefined`: not counted. Default:
   * `request.ip`. A promise is rejected with FST_SSE_OPTION.
   */
  readonly keyGenerator: ((request: FastifyRequest) => string | undefined) | undefined
  /** Milliseconds until a rejected client reconnects: a random delay from this value to twice as much. Default 5000. */
  readonly retryAfter: number
}

/** Options of the registration alone. Times are milliseconds. */
export interface ServerOptions {
  /** Limits of open streams: `{ maxStreams, maxStreamsPerKey, keyGenerator, retryAfter }`. */
  limits?: Partial<Limits> | undefined
  /**
   * The time that `app.close()` may spend on streams: half of it to end them in turn, the rest for streams that drain.
   * Default 10000.
   */
  shutdownTimeout?: number | undefined
  /**
   * The time over which the clients of a closing server reconnect: each gets its own random delay. 0: no delay is sent.
   * Default 5000.
   */
  reconnectWindow?: number | undefined
}

/** Options of the registration: for all streams, for the server, and for the event logs of channels. */
export interface RegisterOptions extends SseOptions, ServerOptions {
  /** Opens the log of each channel. Default: `memoryLog()`, for a service of one process. */
  eventLog?: EventLogFactory | undefined
}

const LIMITS: Limits = { maxStreams: Infinity, maxStreamsPerKey: Infinity, keyGenerator: undefined, retryAfter: 5_000 }
const SERVER = { limits: LIMITS, shutdownTimeout: 10_000, reconnectWindow: 5_000 }

/** Options of the registration alone, with the defaults filled in. */
export type ResolvedServerOptions = typeof SERVER

const streams: Rule = {
  expected: 'a whole number of streams, 0 or more, or Infinity',
  fits: value => value === Infinity || (Number.isSafeInteger(value) && Number(value) >= 0)
}
const LIMIT_RULES: Record<keyof Limits, Rule> = {
  maxStreams: streams,
  maxStreamsPerKey: streams,
  keyGenerator: aFunction,
  retryAfter: delay
}
const SERVER_RULES: Record<keyof ResolvedServerOptions, Rule> = {
  limits: { expected: 'an object', fits: isOptions },
  shutdownTimeout: delay,
  reconnectWindow: delay
}

/** Returns all options of the registration except `eventLog`, with the defaults filled in. Throws FST_SSE_OPTION. */
export function resolveRegistration (
  input: RegisterOptions
): { server: ResolvedServerOptions, streams: ResolvedOptions } {
  const { limits, shutdownTimeout, reconnectWindow, ...streams } = validateOptions(input, { ...DEFAULTS, ...SERVER }, {
    ...RULES,
    ...SERVER_RULES
  })
  return {
    server: { limits: validateOptions(limits, LIMITS, LIMIT_RULES, 'limits'), shutdownTimeout, reconnectWindow },
    streams
  }
}
