import type { FastifyRequest } from 'fastify'
import type { EventLogFactory } from '../log/log.ts'
import { DEFAULTS, RULES, type ResolvedOptions, type SseOptions } from '../stream/options.ts'
import { aFunction, delay, isObject, validateOptions, type Rule } from '../validate-options.ts'

/** How many streams there may be. A request beyond that is turned away before there is a head. */
export interface Limits {
  /** Open at once, in this process. Default: no limit. */
  readonly maxStreams: number
  /** Open at once with one key. Default: no limit. */
  readonly maxStreamsPerKey: number
  /**
   * The key that all streams of one client have: a user, a tenant, a token. `undefined`: not counted. Default:
   * `request.ip`. The function answers at once: a promise is FST_SSE_OPTION.
   */
  readonly keyGenerator: ((request: FastifyRequest) => string | undefined) | undefined
  /** When those who were turned away are to come back: after that long, or up to twice as long. Default 5000. */
  readonly retryAfter: number
}

/** Options of the registration alone. */
export interface ServerOptions {
  /** How many streams there may be: `{ total, perKey, key, retryAfter }`. */
  limits?: Partial<Limits> | undefined
  /** How long `app.close()` may take with the streams: half of it for telling them, the rest for those that finish. Default 10000. */
  shutdownTimeout?: number | undefined
  /** The time over which clients come back that a closing server ends: each is told its own moment. 0: they are not told. Default 5000. */
  reconnectWindow?: number | undefined
}

/** Options of the registration: those of all streams, of the server, and where channels keep their events. */
export interface RegisterOptions extends SseOptions, ServerOptions {
  /** Opens the log of each channel. Default: `memoryLog()`, for a service of one process. */
  eventLog?: EventLogFactory | undefined
}

const LIMITS: Limits = { maxStreams: Infinity, maxStreamsPerKey: Infinity, keyGenerator: undefined, retryAfter: 5_000 }
const SERVER = { limits: LIMITS, shutdownTimeout: 10_000, reconnectWindow: 5_000 }

/** Options of the registration alone, with the defaults filled in. */
export type ResolvedServerOptions = typeof SERVER

const streams: Rule = { expected: 'a whole number of streams, 0 or more, or Infinity', fits: value => value === Infinity || (Number.isSafeInteger(value) && Number(value) >= 0) }
const LIMIT_RULES: Record<keyof Limits, Rule> = { maxStreams: streams, maxStreamsPerKey: streams, keyGenerator: aFunction, retryAfter: delay }
const SERVER_RULES: Record<keyof ResolvedServerOptions, Rule> = { limits: { expected: 'an object', fits: isObject }, shutdownTimeout: delay, reconnectWindow: delay }

/** All options of the registration but the log. */
export function resolveRegistration (given: RegisterOptions): { server: ResolvedServerOptions, streams: ResolvedOptions } {
  const { limits, shutdownTimeout, reconnectWindow, ...streams } = validateOptions(given, { ...DEFAULTS, ...SERVER }, { ...RULES, ...SERVER_RULES })
  return { server: { limits: validateOptions(limits, LIMITS, LIMIT_RULES, 'limits'), shutdownTimeout, reconnectWindow }, streams }
}
