import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Channels } from '../channel/channels.ts'
import { logRule } from '../channel/settings.ts'
import { freeContract } from '../contract/contract.ts'
import { FST_SSE_OPTION, FST_SSE_REPLY_SENT, FST_SSE_ALREADY_STARTED, describe } from '../errors.ts'
import type { Lifecycle } from '../lifecycle.ts'
import { memoryLog } from '../log/memory.ts'
import { logSafely } from '../log-safely.ts'
import { Statistics } from '../metrics/statistics.ts'
import { AllRuns } from '../runs/all-runs.ts'
import { loadTypeBoxes } from '../schema/packages.ts'
import { dispose } from '../source/source.ts'
import { missingInternals } from '../stream/fastify-internals.ts'
import { NOT_NEGOTIATED, negotiate } from '../stream/formats.ts'
import { resolveOptions, type ResolvedOptions, type StreamOptions } from '../stream/options.ts'
import { StreamRegistry } from '../stream/registry.ts'
import { Stream } from '../stream/stream.ts'
import { END_ID } from '../wire/protocol.ts'
import { Admission } from './admission.ts'
import { registriesOf } from './app-registry.ts'
import { DisconnectRelay } from './disconnect-relay.ts'
import { sendInPlace, wrapRoute } from './handler-wrapper.ts'
import { resolveRegistration, type RegisterOptions } from './options.ts'
import {
  STATE, factsOf, kHandler, kStream, lifecycleOf, readRequest, restartLifecycle, setResponse, signal,
  stateOf
} from './request-state.ts'
import { rememberRoute } from './route-declarations.ts'
import { Routes, type Route } from './routes.ts'
import { SseServer } from './sse-server.ts'
import './types.ts'

// The log of messages between nodes about keys to disconnect. A node that was disconnected reads them later. No channel
// can have this name.
const CONTROL = 'sse.control'
const CONTROL_HISTORY = { maxEvents: 1_000, maxBytes: 1_048_576, maxAge: 300_000 }

// The servers that have the warning about missing internals.
const warned = new WeakSet<object>()

const sse: FastifyPluginAsync<RegisterOptions> = async (app, input) => {
  // Fastify passes its own register options to the plugin too.
  const { prefix: _prefix, logLevel: _level, logSerializers: _serializers, eventLog = memoryLog(), ...own } = input as
    & RegisterOptions
    & Record<string, unknown>
  if (!logRule.fits(eventLog)) throw new FST_SSE_OPTION('eventLog', logRule.expected, describe(eventLog))
  const { server, streams: options } = resolveRegistration(own)
  const { errorEvent, systemEvent, formats } = options
  // A channel compiles its events when the program makes it, which may be before the app is ready.
  await loadTypeBoxes()
  const streams = new StreamRegistry<Stream>()
  registriesOf(app).add(streams)
  const statistics = new Statistics()
  const routes = new Routes(statistics)
  const admission = new Admission(server, streams, statistics)
  const channels = new Channels({
    eventLog,
    log: app.log,
    statistics,
    compile: (events, place) =>
      events === undefined ? freeContract : routes.compiled({ scope: app, map: events, place })
  })

  const runs = new AllRuns({ channels, log: app.log, isClosing: () => streams.signal.aborted })

  const disconnectRelay = new DisconnectRelay({
    streams,
    keyed: server.limits.keyGenerator !== undefined || server.limits.maxStreamsPerKey < Infinity,
    eventLog: input.eventLog === undefined ? undefined : () => eventLog(CONTROL, CONTROL_HISTORY),
    log: app.log
  })
  const drain = (): Promise<void> => streams.close(server)

  let directWrites = true

  if (!app.hasRequestDecorator(kStream)) {
    for (const key of STATE) app.decorateRequest(key, null)
  }
  app.decorateRequest('lastEventId', { getter (this: FastifyRequest) { return factsOf(this).lastEventId } })
  app.decorateRequest('signal', { getter: signal })
  app.decorate('sse', new SseServer({ channels, runs, streams, statistics, disconnectRelay, drain }))
  app.decorateReply('sse', function (this: FastifyReply, source: unknown, streamOptions?: StreamOptions) {
    return answer(this, source, streamOptions)
  })

  app.addHook('onRoute', function (this: FastifyInstance, route) {
    const map = route.schema?.sse
    if (map === undefined) return
    routes.declare({ scope: this, map, place: `${String(route.method)} ${route.url}` })
    wrapRoute(route)
    rememberRoute(route, map, { shared: () => this.getSchemas(), errorEvent, systemEvent, formats })
  })
  app.addHook('onRequest', (request, reply, done) => {
    readRequest(request, reply, admission.addressed)
    done()
  })
  app.addHook('onError', (request, _reply, error, done) => {
    const state = stateOf(request)
    // The stream of an error handler is not the stream of the route's handler, which may still run after its timeout.
    if (state[kHandler] === 'running') state[kHandler] = null
    state[kStream]?.failures.replaced(error)
    done()
  })
  app.addHook('onReady', async () => {
    directWrites = await checkInternals(app)
    routes.compile()
    warnOfTimeout(app, options)
    disconnectRelay.start()
  })
  app.addHook('preClose', async () => {
    await drain()
    // After the streams: a source may end within the time of streams that drain.
    await runs.close()
    await channels.release()
    streams.closeSessions(server)
    channels.close()
    disconnectRelay.close()
    await channels.closeLogs()
  })

  function answer (reply: FastifyReply, source: unknown, input: StreamOptions | undefined): Promise<void> {
    const { request } = reply
    const state = stateOf(request)
    const first = state[kStream] ?? undefined
    // An error handler may answer with its own stream. Error handlers run one after the other, and none of them twice.
    if (first?.abandoned === true && !reply.sent) restartLifecycle(request)
    else if (first !== undefined) {
      return misuse(reply, source === first.source ? undefined : source, new FST_SSE_ALREADY_STARTED())
    }
    if (reply.sent || reply.raw.headersSent) return misuse(reply, source, new FST_SSE_REPLY_SENT())
    setResponse(request, reply.raw)
    let route: Route | undefined
    let resolved = options
    let negotiated = NOT_NEGOTIATED
    let key: string | undefined
    let invalid: Error | undefined
    try {
      route = routes.of(reply)
      resolved = resolveOptions(input, options)
      key = admission.keyOf(request, factsOf(request))
      negotiated = negotiate(reply, resolved)
      invalid = negotiated.refusal
    } catch (error) {
      invalid = error as Error
    }
    route ??= routes.free(reply)
    const lifecycle = lifecycleOf(request)
    const finished = resolved.finite && request.lastEventId === END_ID
    const counts = invalid === undefined && !finished && lifecycle.reason === undefined
    if (counts && admission.reject(reply, { route: route.name, key, retryable: factsOf(request).eventSource })) {
      return afterRejection(lifecycle, source)
    }
    if (finished) reply.code(204)
    if (!directWrites && resolved.directWrites) resolved = { ...resolved, directWrites }
    const bodiless = finished || request.method === 'HEAD' || negotiated.refusal !== undefined

    // A handler that calls `reply.callNotFound` still counts as running. The handler of that response is not wrapped.
    const wrapped = state[kHandler] === 'running' && !request.is404
    const stream = new Stream(
      { reply, route, negotiated, streams, key, lifecycle, options: resolved, bodiless, wrapped }
    )
    state[kStream] = stream
    if (wrapped) {
      state[kHandler] = stream
      reply.send = sendInPlace
    }
    if (invalid !== undefined || bodiless) dispose(source)
    if (invalid !== undefined) stream.start(() => { throw invalid })
    else stream.start(bodiless ? [] : source)
    return stream.over
  }
}

/**
 * Returns whether direct writes work with this Fastify and this Node. Logs a warning, once for each server, if they do
 * not.
 */
async function checkInternals (app: FastifyInstance): Promise<boolean> {
  const missing = await missingInternals(app, signal)
  if (missing.length > 0 && !warned.has(app.server)) {
    warned.add(app.server)
    app.log.warn({ missing },
      'this version of Fastify or Node lacks internals for direct writes: sse streams use reply.send and response.write')
  }
  return missing.length === 0
}

/**
 * Warns of a `connectionTimeout`, after which Node closes a connection without traffic. A heartbeat may be a tenth
 * late.
 */
function warnOfTimeout ({ server, log }: FastifyInstance, { heartbeatInterval }: ResolvedOptions): void {
  const { timeout } = server
  if (!(timeout > 0) || (heartbeatInterval > 0 && heartbeatInterval * 1.1 < timeout)) return
  log.warn({ connectionTimeout: timeout, heartbeatInterval },
    'connectionTimeout closes quiet sse streams: keep heartbeatInterval below it')
}

/** Settles when the response of a rejected request is closed. */
function afterRejection (lifecycle: Lifecycle, source: unknown): Promise<void> {
  dispose(source)
  return new Promise(resolve => { lifecycle.stream = { closed: resolve } })
}

/**
 * Rejects a call that cannot be served. Logs it too, for callers that ignore the promise. It is never an unhandled
 * rejection.
 */
function misuse (reply: FastifyReply, source: unknown, error: Error): Promise<never> {
  dispose(source)
  logSafely(reply.log, 'warn', { err: error }, 'sse call rejected')
  const rejection = Promise.reject(error)
  rejection.catch(() => {})
  return rejection
}

export default fp(sse, { name: 'fastify-typed-sse', fastify: '5.x' })
