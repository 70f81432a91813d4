import type { FastifyReply, FastifyRequest } from 'fastify'
import { diagnostics } from '../metrics/diagnostics.ts'
import type { CloseReason, CloseReport } from '../lifecycle.ts'
import { logSafely } from '../log-safely.ts'
import { logsRequest } from './fastify-internals.ts'
import { Scope } from '../scope.ts'
import { isThenable, catchRejection } from '../source/source.ts'
import type { RouteCounters } from '../metrics/statistics.ts'

// One line for each stream, because Fastify logs nothing for a request whose client disconnected. A disconnect is
// routine. A lagging subscriber may indicate a server problem. An error has its own line.
const LEVELS: Record<CloseReason, 'info' | 'warn'> = {
  client: 'info',
  complete: 'info',
  error: 'info',
  shutdown: 'info',
  stalled: 'info',
  lagging: 'warn',
  expired: 'info',
  'channel-ended': 'info',
  revoked: 'info'
}

/** A route whose streams are counted. */
export interface CountedRoute { readonly name: string, readonly counters: RouteCounters }

export interface StreamRecordSetup {
  reply: FastifyReply
  route: CountedRoute
  key: string | undefined
  time: { readonly now: number }
  /** Whether the stream is counted. False for a response without a body: it is no stream. */
  counted: boolean
}

/** The bookkeeping of one stream: its counters, diagnostics and log lines, when it opens, fails and closes. */
export class StreamRecord {
  lastEventId: string | undefined
  /** The system events that were left out. */
  omittedSystemEvents = 0
  readonly startedAt: number
  /** The scope of the request. Log lines and all callbacks run in it. */
  readonly scope = new Scope()
  /** The key of `limits.maxStreamsPerKey`. */
  readonly key: string | undefined
  readonly #route: CountedRoute
  readonly #reply: FastifyReply
  readonly #time: { readonly now: number }
  readonly #counted: boolean

  constructor ({ reply, route, key, time, counted }: StreamRecordSetup) {
    this.key = key
    this.#reply = reply
    this.#route = route
    this.#time = time
    this.#counted = counted
    this.startedAt = time.now
    this.lastEventId = reply.request.lastEventId
    if (!counted) return
    route.counters.opened()
    if (diagnostics.open.hasSubscribers) diagnostics.open.publish({ request: this.request, route: this.route })
  }

  get request (): FastifyRequest { return this.#reply.request }
  /** Method and URL of the request. */
  get name (): string { return `${this.request.method} ${this.request.url}` }
  /** Method and path of the route, as they were declared. */
  get route (): string { return this.#route.name }
  /** Milliseconds since the start. */
  get age (): number { return this.#time.now - this.startedAt }

  /** Logs an error and publishes it to the diagnostics channel. */
  logError (error: unknown, text: string): void {
    this.scope.runInAsyncScope(logSafely, undefined, this.#reply.log, 'error', { err: error }, text)
    this.reportError(error)
  }

  /** Publishes an error that is logged elsewhere. */
  reportError (error: unknown): void {
    if (diagnostics.error.hasSubscribers) {
      this.scope.runInAsyncScope(() => diagnostics.error.publish({ request: this.request, error }))
    }
  }

  /** Counts, publishes and logs the end of the stream. Returns its report. */
  close (
    reason: CloseReason,
    { events, bytes, lastEventId }: Pick<CloseReport, 'events' | 'bytes' | 'lastEventId'>
  ): CloseReport {
    const { omittedSystemEvents } = this
    const report = { reason, duration: this.age, events, bytes, lastEventId, omittedSystemEvents }
    if (!this.#counted) return report
    this.#route.counters.closed(report)
    this.scope.runInAsyncScope(this.#publishClose, this, report)
    return report
  }

  /** Calls `onOpen` or `onClose` in the scope of the request. Its error is logged. */
  notify<R> (report: R, callback: (report: R) => void): void {
    try {
      this.watchCallback(this.scope.runInAsyncScope(callback, undefined, report))
    } catch (err) {
      this.#callbackFailed(err)
    }
  }

  /** Logs the rejection of a callback that is async by mistake: an unhandled one would end the process. */
  watchCallback (result: unknown): void {
    if (isThenable(result)) catchRejection(result, err => this.#callbackFailed(err))
  }

  #callbackFailed (err: unknown): void {
    this.scope.runInAsyncScope(logSafely, undefined, this.#reply.log, 'error', { err }, 'sse callback failed')
  }

  #publishClose (report: CloseReport): void {
    if (diagnostics.close.hasSubscribers) {
      diagnostics.close.publish({ request: this.request, route: this.route, ...report })
    }
    if (logsRequest(this.#reply)) logSafely(this.#reply.log, LEVELS[report.reason], report, 'sse stream closed')
  }
}
