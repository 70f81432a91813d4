import type { FastifyRequest } from 'fastify'
import type { AnyEvent } from './events.ts'
import { FST_SSE_OPTION, shown } from './errors.ts'
import type { CloseReason } from './life.ts'

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
  /** How long the first event may take before the head is sent without it. Until then an error is an ordinary HTTP error. Default 50. */
  commitDelay?: number | undefined
  /** A client that takes no byte for that long while bytes wait is disconnected; 0 = never. Default 30000. */
  stallTimeout?: number | undefined
  /** The stream ends cleanly after that long, give or take 10 %, so that load balancers and tokens get their turn; 0 = never. Default 0. */
  maxLifetime?: number | undefined
  /** What happens to an event that cannot be sent: thrown at the generator's `yield`, or left out and logged. Default 'error'. */
  onInvalid?: 'error' | 'skip' | ((error: Error, event: unknown) => 'error' | 'skip') | undefined
  /** The last event after an error in mid-stream; `null` or a function that returns null: none. Default: `error` with RFC 9457 problem JSON. */
  errorEvent?: ((error: Error, request: FastifyRequest) => AnyEvent | null) | null | undefined
  /** Called exactly once for every stream, however it ended. */
  onClose?: ((report: CloseReport) => void) | undefined
}

/** Options of one stream. */
export interface StreamOptions extends SseOptions {
  /**
   * A finite stream: its end is marked with an id of its own, and the reconnect that brings that id back is answered
   * with 204, which stops an `EventSource` for good. Default false: the browser connects again and gets it all once more.
   */
  once?: boolean | undefined
}

type Defaulted = 'heartbeatInterval' | 'commitDelay' | 'stallTimeout' | 'maxLifetime' | 'onInvalid' | 'once'

/** Options with the defaults filled in. */
export type ResolvedOptions = { [K in Defaulted]: NonNullable<StreamOptions[K]> } & { [K in Exclude<keyof StreamOptions, Defaulted>]: StreamOptions[K] }

const DEFAULTS: ResolvedOptions = {
  heartbeatInterval: 15_000,
  retry: undefined,
  commitDelay: 50,
  stallTimeout: 30_000,
  maxLifetime: 0,
  onInvalid: 'error',
  errorEvent: undefined,
  onClose: undefined,
  once: false
}

// Node's timers hold 31 bits; a longer delay would fire at once.
const MAX_DELAY = 2 ** 31 - 1
const delay = { expected: 'a number of milliseconds from 0 to 2147483647', fits: (value: unknown) => typeof value === 'number' && value >= 0 && value <= MAX_DELAY }
const optionalFunction = { expected: 'a function', fits: (value: unknown) => value === undefined || typeof value === 'function' }

const RULES: Record<keyof ResolvedOptions, { expected: string, fits: (value: unknown) => boolean }> = {
  heartbeatInterval: delay,
  commitDelay: delay,
  stallTimeout: delay,
  maxLifetime: delay,
  retry: { expected: 'a whole number of milliseconds, 0 or more', fits: value => value === undefined || (Number.isSafeInteger(value) && Number(value) >= 0) },
  onInvalid: { expected: "'error', 'skip' or a function", fits: value => value === 'error' || value === 'skip' || typeof value === 'function' },
  errorEvent: { expected: 'a function or null', fits: value => value === null || optionalFunction.fits(value) },
  onClose: optionalFunction,
  once: { expected: 'a boolean', fits: value => typeof value === 'boolean' }
}

/**
 * The user's options on top of the defaults. An option that does not exist or does not fit
 * throws FST_SSE_OPTION, which names it, what was expected and what was got.
 */
export function resolveOptions (given: StreamOptions | undefined, defaults: ResolvedOptions = DEFAULTS): ResolvedOptions {
  if (given === undefined) return defaults
  if (given === null || typeof given !== 'object' || Array.isArray(given)) throw new FST_SSE_OPTION('options', 'an object', shown(given))
  const resolved = { ...defaults }
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue
    if (!Object.hasOwn(RULES, name)) throw new FST_SSE_OPTION(name, `one of ${Object.keys(RULES).join(', ')}`, 'an option that does not exist')
    const rule = RULES[name as keyof ResolvedOptions]
    if (!rule.fits(value)) throw new FST_SSE_OPTION(name, rule.expected, shown(value))
    Object.assign(resolved, { [name]: value })
  }
  return resolved
}
