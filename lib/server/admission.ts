import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import type { RequestFacts } from './request-facts.ts'
import { diagnostics, type RejectReason } from '../metrics/diagnostics.ts'
import { FST_SSE_CLOSING, FST_SSE_KEY_LIMIT, FST_SSE_LIMIT, FST_SSE_OPTION, describe } from '../errors.ts'
import { setHead } from '../stream/response-headers.ts'
import { logSafely } from '../log-safely.ts'
import type { ResolvedServerOptions } from './options.ts'
import { problemDetails } from '../contract/problem.ts'
import { catchRejection, isThenable } from '../source/source.ts'
import type { Statistics } from '../metrics/statistics.ts'

/** Who is there already. */
interface Present {
  readonly size: number
  countOf: (key: string) => number
  /** Aborts when the server begins to close. */
  readonly signal: AbortSignal
}

/** A request for a stream. */
interface Asking {
  readonly route: string
  readonly key: string | undefined
  /**
   * Whether the refusal is a stream that ends at once. An `EventSource` never comes back after a status other than 200
   * (WHATWG HTML §9.2.2, "fail the connection"). It accepts an event stream alone; our client, and others that read a
   * status, accept | something else too.
   */
  readonly soft: boolean
}

/** Who gets a stream, while there is room for it and the server is not closing. Asked before anything of the stream is made. */
export class Admission {
  readonly #options: ResolvedServerOptions
  readonly #present: Present
  readonly #statistics: Statistics

  constructor (options: ResolvedServerOptions, present: Present, statistics: Statistics) {
    this.#options = options
    this.#present = present
    this.#statistics = statistics
  }

  /** Whether streams are counted by the address of their client. */
  get addressed (): boolean {
    const { keyGenerator: key, maxStreamsPerKey: perKey } = this.#options.limits
    return key === undefined && perKey < Infinity
  }

  /**
   * The key that its stream counts for; undefined: it counts for none. Throws what the user's function throws, and
   * FST_SSE_OPTION for anything but a string.
   */
  keyOf (request: FastifyRequest, { address }: RequestFacts): string | undefined {
    const { keyGenerator: key } = this.#options.limits
    if (key === undefined) return this.addressed ? address : undefined
    const value: unknown = key(request)
    if (value === undefined || typeof value === 'string') return value
    // A stream cannot wait for its key: it counts at once, or two streams of one client would both find room.
    catchRejection(value)
    throw new FST_SSE_OPTION('limits.keyGenerator', 'a function that returns a string or undefined', isThenable(value) ? 'one that returns a promise' : describe(value))
  }

  /** Answers a request that gets no stream. False for one that gets it: it counts as soon as it is among the others. */
  refuse (reply: FastifyReply, { route, key, soft }: Asking): boolean {
    const why = this.#why(key)
    if (why === undefined) return false
    this.#statistics.rejected[why]++
    const { request } = reply
    if (diagnostics.reject.hasSubscribers) diagnostics.reject.publish({ request, route, reason: why, retryable: soft })
    logSafely(request.log, 'debug', { why, key }, 'sse stream refused')
    const { limits: { retryAfter }, reconnectWindow } = this.#options
    // Not all at once again. Who meets a server that closes finds another one soon.
    const delay = Math.ceil(why === 'closing' ? 1_000 + reconnectWindow * Math.random() : retryAfter * (1 + Math.random()))
    // A connection of a server that closes must not be kept: close() would wait for it.
    if (why === 'closing' && request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
    if (soft) answerSoftly(reply, delay)
    else answerPlainly(reply, ERRORS[why](), delay)
    return true
  }

  #why (key: string | undefined): RejectReason | undefined {
    const { maxStreams: total, maxStreamsPerKey: perKey } = this.#options.limits
    if (this.#present.signal.aborted) return 'closing'
    if (this.#present.size >= total) return 'maxStreams'
    return key !== undefined && this.#present.countOf(key) >= perKey ? 'maxStreamsPerKey' : undefined
  }
}

const ERRORS: Record<RejectReason, () => FastifyError> = {
  closing: () => new FST_SSE_CLOSING(),
  maxStreams: () => new FST_SSE_LIMIT(),
  maxStreamsPerKey: () => new FST_SSE_KEY_LIMIT()
}

/** A stream that is over at once, and says when to come back. */
function answerSoftly (reply: FastifyReply, delay: number): void {
  setHead(reply)
  reply.code(200).send(`retry: ${delay}\n\n`)
}

/** Problem details (RFC 9457), and when to come back in seconds (RFC 9110 §10.2.3). */
function answerPlainly (reply: FastifyReply, error: FastifyError, delay: number): void {
  const problem = { ...problemDetails(error, reply.request.id), detail: error.message, code: error.code }
  reply.code(error.statusCode!).header('retry-after', Math.ceil(delay / 1_000)).type('application/problem+json')
  // Written here: a route's schema of responses is about its own.
  reply.send(JSON.stringify(problem))
}
