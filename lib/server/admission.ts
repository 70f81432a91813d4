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

/** The streams that are currently open. */
interface OpenStreams {
  readonly size: number
  countOf: (key: string) => number
  /** Aborts when the server begins to close. */
  readonly signal: AbortSignal
}

/** A request for a stream. */
interface StreamRequest {
  readonly route: string
  readonly key: string | undefined
  /**
   * Whether a rejection must be a stream that ends at once. An `EventSource` never reconnects after a status other than
   * 200 (WHATWG HTML §9.2.2, "fail the connection"). It accepts an event stream alone. Our client, and others that read
   * a status, accept other types too.
   */
  readonly retryable: boolean
}

/** Admits or rejects a request for a stream, by the limits and the state of the server, before the stream is made. */
export class Admission {
  readonly #options: ResolvedServerOptions
  readonly #streams: OpenStreams
  readonly #statistics: Statistics

  constructor (options: ResolvedServerOptions, streams: OpenStreams, statistics: Statistics) {
    this.#options = options
    this.#streams = streams
    this.#statistics = statistics
  }

  /** Whether streams are counted by the address of their client. */
  get addressed (): boolean {
    const { keyGenerator, maxStreamsPerKey } = this.#options.limits
    return keyGenerator === undefined && maxStreamsPerKey < Infinity
  }

  /**
   * Returns the key by which the stream of a request is counted; undefined if it is not counted. Throws the error of
   * the user's function, and FST_SSE_OPTION for a result that is neither a string nor undefined.
   */
  keyOf (request: FastifyRequest, { address }: RequestFacts): string | undefined {
    const { keyGenerator } = this.#options.limits
    if (keyGenerator === undefined) return this.addressed ? address : undefined
    const value: unknown = keyGenerator(request)
    if (value === undefined || typeof value === 'string') return value
    // A stream cannot wait for its key. It is counted at once, or two streams of one client would both find room.
    catchRejection(value)
    throw new FST_SSE_OPTION('limits.keyGenerator', 'a function that returns a string or undefined',
      isThenable(value) ? 'one that returns a promise' : describe(value))
  }

  /**
   * Rejects a request for which there is no room. Returns false if the request is admitted: its stream counts once it
   * is added.
   */
  reject (reply: FastifyReply, { route, key, retryable }: StreamRequest): boolean {
    const reason = this.#reasonFor(key)
    if (reason === undefined) return false
    this.#statistics.rejected[reason]++
    const { request } = reply
    if (diagnostics.reject.hasSubscribers) diagnostics.reject.publish({ request, route, reason, retryable })
    logSafely(request.log, 'debug', { reason, key }, 'sse stream rejected')
    const { limits: { retryAfter }, reconnectWindow } = this.#options
    // With jitter, so that clients do not reconnect together. During shutdown the delay is short: another node accepts
    // them.
    const delay = Math.ceil(
      reason === 'closing' ? 1_000 + reconnectWindow * Math.random() : retryAfter * (1 + Math.random())
    )
    // A closing server must not keep the connection: close() would wait for it.
    if (reason === 'closing' && request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
    if (retryable) sendEmptyStream(reply, delay)
    else sendProblem(reply, ERRORS[reason](), delay)
    return true
  }

  #reasonFor (key: string | undefined): RejectReason | undefined {
    const { maxStreams, maxStreamsPerKey } = this.#options.limits
    if (this.#streams.signal.aborted) return 'closing'
    if (this.#streams.size >= maxStreams) return 'maxStreams'
    return key !== undefined && this.#streams.countOf(key) >= maxStreamsPerKey ? 'maxStreamsPerKey' : undefined
  }
}

const ERRORS: Record<RejectReason, () => FastifyError> = {
  closing: () => new FST_SSE_CLOSING(),
  maxStreams: () => new FST_SSE_LIMIT(),
  maxStreamsPerKey: () => new FST_SSE_KEY_LIMIT()
}

/** Sends a stream that ends at once, with the client's reconnection delay. */
function sendEmptyStream (reply: FastifyReply, delay: number): void {
  setHead(reply)
  reply.code(200).send(`retry: ${delay}\n\n`)
}

/** Sends problem details (RFC 9457), with the delay in seconds as Retry-After (RFC 9110 §10.2.3). */
function sendProblem (reply: FastifyReply, error: FastifyError, delay: number): void {
  const problem = { ...problemDetails(error, reply.request.id), detail: error.message, code: error.code }
  reply.code(error.statusCode!).header('retry-after', Math.ceil(delay / 1_000)).type('application/problem+json')
  // Serialized here: the response schema of a route describes the route's own responses.
  reply.send(JSON.stringify(problem))
}
