import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { FST_SSE_CLOSING, FST_SSE_OPTION, FST_SSE_REPLY_SENT, FST_SSE_TWICE, shown } from './errors.ts'
import { Channels } from './channel/channels.ts'
import { declare } from './declared.ts'
import { compileContract, freeContract, type Contract, type EventMap } from './events.ts'
import { decodeLastEventId } from './last-event-id.ts'
import { Life } from './life.ts'
import { memoryLog } from './log/memory.ts'
import { resolveOptions, type RegisterOptions, type StreamOptions } from './options.ts'
import { schemaCompiler, type SchemaCompiler } from './schema.ts'
import { dispose } from './source.ts'
import { END_ID, Stream } from './stream.ts'
import { Streams } from './streams.ts'
import './types.ts'

// What a request carries for us. Symbols: nobody meets them by accident.
const kLife = Symbol('fastify-typed-sse.life')
const kResponse = Symbol('fastify-typed-sse.response')
const kStream = Symbol('fastify-typed-sse.stream')

type OurRequest = FastifyRequest & { [kResponse]: FastifyReply['raw'] | null, [kLife]: Life | null, [kStream]: Stream | null }

const sse: FastifyPluginAsync<RegisterOptions> = async (app, given) => {
  // Fastify hands its own register options to the plugin too.
  const { prefix: _prefix, logLevel: _level, logSerializers: _serializers, log: openLog = memoryLog(), ...own } = given as RegisterOptions & Record<string, unknown>
  if (typeof openLog !== 'function') throw new FST_SSE_OPTION('log', 'a function that opens logs, such as memoryLog()', shown(openLog))
  const options = resolveOptions(own)
  const streams = new Streams()
  const contracts = new Contracts()
  const channels = new Channels({
    openLog,
    log: app.log,
    compile: (events, place) => events === undefined ? freeContract : contracts.compiled({ scope: app, map: events, place })
  })

  if (!app.hasRequestDecorator(kLife)) {
    app.decorateRequest(kResponse, null)
    app.decorateRequest(kLife, null)
    app.decorateRequest(kStream, null)
  }
  app.decorateRequest('lastEventId', { getter (this: FastifyRequest) { return decodeLastEventId(this) } })
  app.decorateRequest('signal', { getter: signal })
  app.decorate('sse', channels)
  app.decorateReply('sse', function (this: FastifyReply, source: unknown, streamOptions?: StreamOptions) {
    return answer(this, source, streamOptions)
  })

  app.addHook('onRoute', function (this: FastifyInstance, route) {
    const map = route.schema?.sse
    if (map === undefined) return
    contracts.declare({ scope: this, map, place: `${String(route.method)} ${route.url}` })
    declare(route, map, { shared: () => this.getSchemas(), errorEvent: options.errorEvent })
  })
  // For `request.signal`: a Fastify request does not know its response.
  app.addHook('onRequest', (request, reply, done) => {
    const ours = request as OurRequest
    ours[kResponse] = reply.raw
    if (ours[kLife] !== null) lifeOf(ours)
    done()
  })
  app.addHook('onReady', async () => contracts.compile())
  app.addHook('preClose', async () => {
    await streams.close()
    channels.close()
  })

  function answer (reply: FastifyReply, source: unknown, given: StreamOptions | undefined): Promise<void> {
    const request = reply.request as OurRequest
    const first = request[kStream]
    if (first !== null) return misuse(reply, source === first.source ? undefined : source, new FST_SSE_TWICE())
    if (reply.sent || reply.raw.headersSent) return misuse(reply, source, new FST_SSE_REPLY_SENT())
    request[kResponse] = reply.raw
    let contract = freeContract
    let resolved = options
    let refused: Error | undefined
    try {
      contract = contracts.of(reply)
      resolved = resolveOptions(given, options)
      if (streams.closing) throw closing(request)
    } catch (error) {
      refused = error as Error
    }
    const finished = resolved.once && request.lastEventId === END_ID
    if (finished) reply.code(204)
    const bodiless = finished || request.method === 'HEAD'

    const stream = new Stream({ reply, contract, streams, life: lifeOf(request), options: resolved, bodiless })
    request[kStream] = stream
    if (refused !== undefined || bodiless) dispose(source)
    if (refused !== undefined) stream.start(() => { throw refused })
    else stream.start(bodiless ? [] : source)
    return stream.over
  }
}

/** For a request that is still on its way when the server closes. Its connection must not be kept: close() would wait for it. */
function closing ({ raw }: FastifyRequest): Error {
  const headers = { 'retry-after': '1', ...(raw.httpVersionMajor === 1 && { connection: 'close' }) }
  return Object.assign(new FST_SSE_CLOSING(), { headers })
}

/** A call that cannot be served: in the log, for those who do not look at the promise, and never an unhandled rejection. */
function misuse (reply: FastifyReply, source: unknown, error: Error): Promise<never> {
  dispose(source)
  reply.log.warn({ err: error }, 'sse call refused')
  const refusal = Promise.reject(error)
  refusal.catch(() => {})
  return refusal
}

function lifeOf (request: OurRequest): Life {
  const life = (request[kLife] ??= new Life())
  // Unknown as yet only to a hook that stands before ours.
  if (request[kResponse] !== null) life.watch(request[kResponse])
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

interface Declaration { scope: FastifyInstance, map: EventMap, place: string }

/** The contracts of all routes of one registration, each event map compiled once per scope. */
class Contracts {
  readonly #scopes = new Map<FastifyInstance, { schemas: number, compiler: SchemaCompiler, byMap: WeakMap<EventMap, Contract> }>()
  #declared: Declaration[] = []

  /** To be compiled when everything is registered: a schema may come after the route that refers to it. */
  declare (declaration: Declaration): void {
    this.#declared.push(declaration)
  }

  /** Throws what is wrong with the first map that cannot be used. */
  compile (): void {
    for (const declaration of this.#declared.splice(0)) this.compiled(declaration)
  }

  /** That of the route; a route that was declared before the plugin was loaded gets it now. */
  of ({ request, server }: FastifyReply): Contract {
    const { schema, method, url } = request.routeOptions
    return schema?.sse === undefined ? freeContract : this.compiled({ scope: server, map: schema.sse, place: `${String(method)} ${url}` })
  }

  compiled ({ scope, map, place }: Declaration): Contract {
    const known = this.#scopes.get(scope)
    const made = known?.byMap.get(map)
    if (made !== undefined) return made
    // Shared schemas are only ever added: a channel may be made before the last of them.
    const shared = scope.getSchemas()
    const schemas = Object.keys(shared).length
    const current = known?.schemas === schemas ? known : { schemas, compiler: schemaCompiler(shared), byMap: known?.byMap ?? new WeakMap<EventMap, Contract>() }
    this.#scopes.set(scope, current)
    const contract = compileContract(map, place, current.compiler)
    current.byMap.set(map, contract)
    return contract
  }
}

export default fp(sse, { name: 'fastify-typed-sse', fastify: '5.x' })
