import type { FastifyReply, FastifyRequest } from 'fastify'
import { diagnostics } from '../metrics/diagnostics.ts'
import type { CloseReason, CloseReport } from '../lifecycle.ts'
import { logSafely } from '../log-safely.ts'
import { logsRequest } from './fastify-internals.ts'
import { Scope } from '../scope.ts'
import type { RouteCounters } from '../metrics/statistics.ts'

// One line for each stream, since Fastify logs nothing for a request whose client left. A client that falls behind may
// be the server's trouble. An error has a line of its own.
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

/** A route as its streams know it. */
export interface CountedRoute { readonly name: string, readonly counters: RouteCounters }

export interface StreamRecordSetup {
  reply: FastifyReply
  route: CountedRoute
  key: string | undefined
  time: { readonly now: number }
  /** Whether it is a stream, and counts as one. */
  counted: boolean
}

/** What is known of a stream, and told of it: when it opens, when something goes wrong, and once when it is over. */
export class StreamRecord {
  lastEventId: string | undefined
  readonly startedAt: number
  /** The request's scope: the log and all callbacks run in it. */
  readonly scope = new Scope()
  /** What it is counted by among the others. */
  readonly key: string | undefined
  readonly #route: CountedRoute
  readonly #reply: FastifyReply
  readonly #time: { readonly now: number }
  readonly #counted: boolean

  constructor ({ reply, route, key, time, counted: counts }: StreamRecordSetup) {
    this.key = key
    this.#reply = reply
    this.#route = route
    this.#time = time
    this.#counted = counts
    this.startedAt = time.now
    this.lastEventId = reply.request.lastEventId
    if (!counts) return
    route.counters.opened()
    if (diagnostics.open.hasSubscribers) diagnostics.open.publish({ request: this.request, route: this.route })
  }

  get request (): FastifyRequest { return this.#reply.request }
  /** What was asked for, method and path. */
  get name (): string { return `${this.request.method} ${this.request.url}` }
  /** The same, as it was declared. */
  get route (): string { return this.#route.name }
  /** Milliseconds since the start. */
  get age (): number { return this.#time.now - this.startedAt }

  /** For the log, and for those who listen. */
  logError (error: unknown, text: string): void {
    this.scope.runInAsyncScope(logSafely, undefined, this.#reply.log, 'error', { err: error }, text)
    this.reportError(error)
  }

  /** The log has it from elsewhere. */
  reportError (error: unknown): void {
    if (diagnostics.error.hasSubscribers) this.scope.runInAsyncScope(() => diagnostics.error.publish({ request: this.request, error }))
  }

  /** It is over. */
  close (reason: CloseReason, { events, bytes, lastEventId }: Pick<CloseReport, 'events' | 'bytes' | 'lastEventId'>): CloseReport {
    const report = { reason, duration: this.age, events, bytes, lastEventId }
    if (!this.#counted) return report
    this.#route.counters.closed(report)
    this.scope.runInAsyncScope(this.#publishClose, this, report)
    return report
  }

  #publishClose (report: CloseReport): void {
    if (diagnostics.close.hasSubscribers) diagnostics.close.publish({ request: this.request, route: this.route, ...report })
    if (logsRequest(this.#reply)) logSafely(this.#reply.log, LEVELS[report.reason], report, 'sse stream closed')
  }
}
