import type { FastifyRequest } from 'fastify'
import type { AnyEvent } from '../contract/contract.ts'
import { FST_SSE_OPTION, shown } from '../errors.ts'
import type { CloseReason } from '../lifecycle.ts'
import type { OpenLog } from '../log/log.ts'

/** What `onClose` is told about a stream that is over. */
export interface CloseReport {
  /** Why it ended. */
  reason: CloseReason
  /** Milliseconds from `reply.sse()` to the end. */
  duration: number
  /** Events taken from the source and put on the wire; comments and heartbeats do not count. */
  events: number
  /** Bytes of body handed to the connection, heartbeats included. */
  bytes: number
  /** The last event id that was sent, or the one that the client came with. */
  lastEventId: string | undefined
}

/** Options of `app.register(sse, options)`, and per stream of `reply.sse(source, options)`. Times are milliseconds. */
export interface SseOptions {
  /** A comment goes out after that much silence, measured to a tenth; 0 = none. Default 15000. */
  heartbeatInterval?: number | undefined
  /** Reconnection delay told to the client in the first frame (WHATWG HTML §9.2.6, `retry`). Default: the client's own. */
  retry?: number | undefined
  /** How long the first event may take before the head is sent without it. Until then an error is an ordinary HTTP error. A client that comes back with an id waits up to a second for its channel, which may be over. Default 50. */
  commitDelay?: number | undefined
  /** A client that takes no byte for that long while bytes wait is disconnected; 0 = never. Default 30000. */
  stallTimeout?: number | undefined
  /** The stream ends cleanly after that long, give or take 10 %, so that load balancers and tokens get their turn; 0 = never. Default 0. */
  maxLifetime?: number | undefined
  /** What happens to an event that cannot be sent: thrown at the generator's `yield`, or left out and logged. Default 'error'. */
  onInvalid?: 'error' | 'skip' | ((error: Error, event: unknown) => 'error' | 'skip') | undefined
  /** The last event after an error in mid-stream; `null` or a function that returns null: none. Default: `error` with RFC 9457 problem JSON. */
  errorEvent?: ((error: Error, request: FastifyRequest) => AnyEvent | null) | null | undefined
  /** What `app.close()` does with the stream: ends it when its turn comes, or leaves it to end by itself within `grace`. Default 'end'. */
  shutdown?: 'end' | 'finish' | undefined
  /**
   * Whether the stream is still permitted, asked every `revalidateInterval`. Where the answer is no, it ends as
   * `revoked`, with an error (403) after which our client does not come back. If it throws or does not settle within
   * the interval, the error is logged (FST_SSE_UNSETTLED for the latter), and it is called again.
   */
  revalidate?: ((request: FastifyRequest) => boolean | Promise<boolean>) | undefined
  /** How often `revalidate` is asked. Default 15000. */
  revalidateInterval?: number | undefined
  /** Called exactly once for every stream, however it ended. */
  onClose?: ((report: CloseReport) => void) | undefined
  /**
   * What Fastify and Node would only pass on goes past them, wherever nothing can tell the difference: a stream that no onSend hook is to see
   * past `reply.send`, and frames to the socket as chunks of our own framing (RFC 9112 §7.1). False: all of it goes through `reply.send` and
   * `response.write`, for comparison and for trust. Default true.
   */
  directWrites?: boolean | undefined
}

/** How many streams there may be. A request beyond that is turned away before there is a head. */
export interface Limits {
  /** Open at once, in this process. Default: no limit. */
  readonly total: number
  /** Open at once with one key. Default: no limit. */
  readonly perKey: number
  /**
   * The key that all streams of one client have: a user, a tenant, a token. `undefined`: not counted. Default:
   * `request.ip`. The function answers at once: a promise is FST_SSE_OPTION.
   */
  readonly key: ((request: FastifyRequest) => string | undefined) | undefined
  /** When those who were turned away are to come back: after that long, or up to twice as long. Default 5000. */
  readonly retryAfter: number
}

/** Options of the registration alone. */
export interface ServerOptions {
  /** How many streams there may be: `{ total, perKey, key, retryAfter }`. */
  limits?: Partial<Limits> | undefined
  /** How long `app.close()` may take with the streams: half of it for telling them, the rest for those that finish. Default 10000. */
  grace?: number | undefined
  /** The time over which clients come back that a closing server ends: each is told its own moment. 0: they are not told. Default 5000. */
  reconnectWindow?: number | undefined
}

/** Options of the registration: those of all streams, of the server, and where channels keep their events. */
export interface RegisterOptions extends SseOptions, ServerOptions {
  /** Opens the log of each channel. Default: `memoryLog()`, for a service of one process. */
  log?: OpenLog | undefined
}

/** Options of one stream. */
export interface StreamOptions extends SseOptions {
  /**
   * A finite stream: its end is marked with an id of its own, and the reconnect that brings that id back is answered
   * with 204, which stops an `EventSource` for good. Default false: the browser connects again and gets it all once more.
   */
  once?: boolean | undefined
}

type Defaulted = 'heartbeatInterval' | 'commitDelay' | 'stallTimeout' | 'maxLifetime' | 'shutdown' | 'revalidateInterval' | 'onInvalid' | 'directWrites' | 'once'

/** Options with the defaults filled in. */
export type ResolvedOptions = { [K in Defaulted]: NonNullable<StreamOptions[K]> } & { [K in Exclude<keyof StreamOptions, Defaulted>]: StreamOptions[K] }

export const DEFAULTS: ResolvedOptions = {
  heartbeatInterval: 15_000,
  retry: undefined,
  commitDelay: 50,
  stallTimeout: 30_000,
  maxLifetime: 0,
  onInvalid: 'error',
  errorEvent: undefined,
  shutdown: 'end',
  revalidate: undefined,
  revalidateInterval: 15_000,
  onClose: undefined,
  directWrites: true,
  once: false
}

/** What a value of an option must be; undefined is always its default. */
export interface Rule { expected: string, fits: (value: unknown) => boolean }

export const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

// Node's timers hold 31 bits; a longer delay would fire at once.
const MAX_DELAY = 2 ** 31 - 1
const delay: Rule = { expected: 'a number of milliseconds from 0 to 2147483647', fits: value => typeof value === 'number' && value >= 0 && value <= MAX_DELAY }
export const aFunction: Rule = { expected: 'a function', fits: value => typeof value === 'function' }
export const functionOrNull: Rule = { expected: 'a function or null', fits: value => value === null || typeof value === 'function' }

const aBoolean: Rule = { expected: 'a boolean', fits: value => typeof value === 'boolean' }

const RULES: Record<keyof ResolvedOptions, Rule> = {
  heartbeatInterval: delay,
  commitDelay: delay,
  stallTimeout: delay,
  maxLifetime: delay,
  retry: { expected: 'a whole number of milliseconds, 0 or more', fits: value => Number.isSafeInteger(value) && Number(value) >= 0 },
  onInvalid: { expected: "'error', 'skip' or a function", fits: value => value === 'error' || value === 'skip' || typeof value === 'function' },
  errorEvent: functionOrNull,
  shutdown: { expected: "'end' or 'finish'", fits: value => value === 'end' || value === 'finish' },
  revalidate: aFunction,
  revalidateInterval: { expected: 'a number of milliseconds from 1 to 2147483647', fits: value => delay.fits(value) && Number(value) >= 1 },
  onClose: aFunction,
  directWrites: aBoolean,
  once: aBoolean
}

/** The options of a stream on top of those of the registration, or these on top of the defaults. */
export function resolveOptions (given: StreamOptions | undefined, defaults: ResolvedOptions = DEFAULTS): ResolvedOptions {
  return given === undefined ? defaults : checked(given, defaults, RULES)
}

const LIMITS: Limits = { total: Infinity, perKey: Infinity, key: undefined, retryAfter: 5_000 }
const SERVER = { limits: LIMITS, grace: 10_000, reconnectWindow: 5_000 }

/** Options of the registration alone, with the defaults filled in. */
export type ResolvedServerOptions = typeof SERVER

const streams: Rule = { expected: 'a whole number of streams, 0 or more, or Infinity', fits: value => value === Infinity || (Number.isSafeInteger(value) && Number(value) >= 0) }
const LIMIT_RULES: Record<keyof Limits, Rule> = { total: streams, perKey: streams, key: aFunction, retryAfter: delay }
const SERVER_RULES: Record<keyof ResolvedServerOptions, Rule> = { limits: { expected: 'an object', fits: isObject }, grace: delay, reconnectWindow: delay }

/** All options of the registration but the log. */
export function resolveRegistration (given: RegisterOptions): { server: ResolvedServerOptions, streams: ResolvedOptions } {
  const { limits, grace, reconnectWindow, ...streams } = checked(given, { ...DEFAULTS, ...SERVER }, { ...RULES, ...SERVER_RULES })
  return { server: { limits: checked(limits, LIMITS, LIMIT_RULES, 'limits'), grace, reconnectWindow }, streams }
}

/**
 * Options on top of their defaults. One that does not exist or does not fit throws FST_SSE_OPTION, which names it,
 * what was expected and what was got. `within` is the option that they are the options of.
 */
export function checked<T extends object> (given: unknown, defaults: T, rules: Record<keyof T & string, Rule>, within?: string): T {
  if (!isObject(given)) throw new FST_SSE_OPTION(within ?? 'options', 'an object', shown(given))
  const resolved = { ...defaults }
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue
    const path = within === undefined ? name : `${within}.${name}`
    if (!Object.hasOwn(rules, name)) throw new FST_SSE_OPTION(path, `one of ${Object.keys(rules).join(', ')}`, 'an option that does not exist')
    const rule = rules[name as keyof T & string]
    if (!rule.fits(value)) throw new FST_SSE_OPTION(path, rule.expected, shown(value))
    Object.assign(resolved, { [name]: value })
  }
  return resolved
}
