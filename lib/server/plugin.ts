import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Admission } from './admission.ts'
import { requestFactsOf, type RequestFacts } from './request-facts.ts'
import { FST_SSE_OPTION, FST_SSE_REPLY_SENT, FST_SSE_ALREADY_STARTED, describe } from '../errors.ts'
import { Channels } from '../channel/channels.ts'
import { rememberRoute } from './route-declarations.ts'
import { freeContract } from '../contract/contract.ts'
import { DisconnectRelay } from './disconnect-relay.ts'
import { SseServer } from './sse-server.ts'
import { END_ID } from '../wire/protocol.ts'
import { Lifecycle } from '../lifecycle.ts'
import { logSafely } from '../log-safely.ts'
import { memoryLog } from '../log/memory.ts'
import { registriesOf } from './app-registry.ts'
import { resolveRegistration, type RegisterOptions } from './options.ts'
import { resolveOptions, type ResolvedOptions, type StreamOptions } from '../stream/options.ts'
import { Routes, type Route } from './routes.ts'
import { dispose } from '../source/source.ts'
import { Statistics } from '../metrics/statistics.ts'
import { Stream } from '../stream/stream.ts'
import { StreamRegistry } from '../stream/registry.ts'
import './types.ts'

// What a request carries for us. Symbols: nobody meets them by accident.
const kAsked = Symbol('fastify-typed-sse.asked')
const kLife = Symbol('fastify-typed-sse.life')
const kResponse = Symbol('fastify-typed-sse.response')
const kStream = Symbol('fastify-typed-sse.stream')

// May be undefined: a scope that is older than the registration has its decorators, but neither these values nor the
// hooks.
interface Ours {
  [kAsked]: RequestFacts | null | undefined
  [kResponse]: FastifyReply['raw'] | null | undefined
  [kLife]: Lifecycle | null | undefined
  [kStream]: Stream | null | undefined
}

type OurRequest = FastifyRequest & Ours

// The log of messages between nodes about keys to disconnect. A node that was away reads them later. No channel can
// have this name.
const CONTROL = 'sse.control'
const CONTROL_HISTORY = { maxEvents: 1_000, maxBytes: 1_048_576, maxAge: 300_000 }

const sse: FastifyPluginAsync<RegisterOptions> = async (app, given) => {
  // Fastify hands its own register options to the plugin too.
  const { prefix: _prefix, logLevel: _level, logSerializers: _serializers, eventLog: openLog = memoryLog(), ...own } = given as RegisterOptions & Record<string, unknown>
  if (typeof openLog !== 'function') throw new FST_SSE_OPTION('eventLog', 'a function that opens logs, such as memoryLog()', describe(openLog))
  const { server, streams: options } = resolveRegistration(own)
  const streams = new StreamRegistry<Stream>()
  registriesOf(app).add(streams)
  const statistics = new Statistics()
  const routes = new Routes(statistics)
  const admission = new Admission(server, streams, statistics)
  const channels = new Channels({
    eventLog: openLog,
    log: app.log,
    statistics,
    compile: (events, place) => events === undefined ? freeContract : routes.compiled({ scope: app, map: events, place })
  })

  const disconnections = new DisconnectRelay({
    streams,
    keyed: server.limits.keyGenerator !== undefined || server.limits.maxStreamsPerKey < Infinity,
    eventLog: given.eventLog === undefined ? undefined : () => openLog(CONTROL, CONTROL_HISTORY),
    log: app.log
  })
  const drain = (): Promise<void> => streams.close(server)

  if (!app.hasRequestDecorator(kLife)) {
    app.decorateRequest(kAsked, null)
    app.decorateRequest(kResponse, null)
    app.decorateRequest(kLife, null)
    app.decorateRequest(kStream, null)
  }
  app.decorateRequest('lastEventId', { getter (this: FastifyRequest) { return asked(this as OurRequest).lastEventId } })
  app.decorateRequest('signal', { getter: signal })
  app.decorate('sse', new SseServer({ channels, streams, statistics, disconnections, drain }))
  app.decorateReply('sse', function (this: FastifyReply, source: unknown, streamOptions?: StreamOptions) {
    return answer(this, source, streamOptions)
  })

  app.addHook('onRoute', function (this: FastifyInstance, route) {
    const map = route.schema?.sse
    if (map === undefined) return
    routes.declare({ scope: this, map, place: `${String(route.method)} ${route.url}` })
    rememberRoute(route, map, { shared: () => this.getSchemas(), errorEvent: options.errorEvent })
  })
  app.addHook('onRequest', (request, reply, done) => {
    const ours = request as OurRequest
    ours[kAsked] = requestFactsOf(request, admission.addressed)
    // For `request.signal`: a Fastify request has no reference to its response.
    ours[kResponse] = reply.raw
    if (ours[kLife] !== null) lifeOf(ours)
    done()
  })
  app.addHook('onReady', async () => {
    routes.compile()
    warnOfTimeout(app, options)
    disconnections.follow()
  })
  app.addHook('preClose', async () => {
    await drain()
    streams.leave(server)
    channels.close()
    disconnections.close()
  })

  function answer (reply: FastifyReply, source: unknown, given: StreamOptions | undefined): Promise<void> {
    const request = reply.request as OurRequest
    const first = request[kStream] ?? undefined
    if (first?.abandoned === true && !reply.sent) {
      // An error handler may answer with its own stream. Error handlers run one after the other, and none of them
      // twice.
      lifeOf(request).closed()
      request[kLife] = null
    } else if (first !== undefined) return misuse(reply, source === first.source ? undefined : source, new FST_SSE_ALREADY_STARTED())
    if (reply.sent || reply.raw.headersSent) return misuse(reply, source, new FST_SSE_REPLY_SENT())
    request[kResponse] = reply.raw
    let route: Route | undefined
    let resolved = options
    let key: string | undefined
    let refused: Error | undefined
    try {
      route = routes.of(reply)
      resolved = resolveOptions(given, options)
      key = admission.keyOf(request, asked(request))
    } catch (error) {
      refused = error as Error
    }
    route ??= routes.free(reply)
    const life = lifeOf(request)
    const finished = resolved.finite && request.lastEventId === END_ID
    const asks = refused === undefined && !finished && life.reason === undefined
    if (asks && admission.refuse(reply, { route: route.name, key, soft: asked(request).eventSource })) return turnedAway(life, source)
    if (finished) reply.code(204)
    const bodiless = finished || request.method === 'HEAD'

    const stream = new Stream({ reply, route, streams, key, lifecycle: life, options: resolved, bodiless })
    request[kStream] = stream
    if (refused !== undefined || bodiless) dispose(source)
    if (refused !== undefined) stream.start(() => { throw refused })
    else stream.start(bodiless ? [] : source)
    return stream.over
  }
}

/** Node closes a connection without traffic after this time. A heartbeat may be a tenth later than its interval. */
function warnOfTimeout ({ server, log }: FastifyInstance, { heartbeatInterval }: ResolvedOptions): void {
  const { timeout } = server
  if (!(timeout > 0) || (heartbeatInterval > 0 && heartbeatInterval * 1.1 < timeout)) return
  log.warn({ connectionTimeout: timeout, heartbeatInterval }, 'connectionTimeout closes quiet sse streams: keep heartbeatInterval below it')
}

/** The request has its answer, which is no stream of the handler's. */
function turnedAway (life: Lifecycle, source: unknown): Promise<void> {
  dispose(source)
  return new Promise(resolve => { life.stream = { closed: resolve } })
}

/** A call that cannot be served: in the log, for those who do not look at the promise, and never an unhandled rejection. */
function misuse (reply: FastifyReply, source: unknown, error: Error): Promise<never> {
  dispose(source)
  logSafely(reply.log, 'warn', { err: error }, 'sse call refused')
  const refusal = Promise.reject(error)
  refusal.catch(() => {})
  return refusal
}

/** A hook before the plugin's own, and a scope without it, get the values at the time of the call. */
function asked (request: OurRequest): RequestFacts {
  return request[kAsked] ?? requestFactsOf(request, true)
}

function lifeOf (request: OurRequest): Lifecycle {
  const life = (request[kLife] ??= new Lifecycle())
  // Unknown as yet only to a hook that stands before ours.
  const response = request[kResponse] ?? undefined
  if (response !== undefined) life.watch(response)
  return life
}

/** `request.signal`: ours on a route with `schema.sse`, Fastify's everywhere else. */
function signal (this: FastifyRequest): AbortSignal {
  if (this.routeOptions.schema?.sse !== undefined) return lifeOf(this as OurRequest).signal
  return Reflect.apply(fastifySignal(this), this, []) as AbortSignal
}

/** The getter that ours stands in front of, on Fastify's own request prototype. */
function fastifySignal (request: FastifyRequest): () => unknown {
  let proto: unknown = request
  let getter: (() => unknown) | undefined
  do {
    proto = Object.getPrototypeOf(proto)
    getter = Object.getOwnPropertyDescriptor(proto, 'signal')?.get
  } while (getter === undefined || getter === signal)
  return getter
}

export default fp(sse, { name: 'fastify-typed-sse', fastify: '5.x' })
