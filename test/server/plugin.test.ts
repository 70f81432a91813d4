import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import t from 'tap'
import sse, {
  EventQueue, memoryLog, type AnyEvent, type Channel, type CloseReport, type EventMap, type EventLogFactory,
  type RegisterOptions, type SseOptions
} from '../../lib/index.ts'
import { injectStream } from '../../lib/testing.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

const map = { count: Type.Object({ n: Type.Integer() }) }
const counts = [{ event: 'count' as const, data: { n: 1 } }]

// Registration

t.test('a second registration on one instance fails with Fastify\'s error', async t => {
  const app = Fastify()
  app.register(sse)
  app.register(sse)
  await t.rejects(async () => app.ready(), { code: 'FST_ERR_DEC_ALREADY_PRESENT' })
})

t.test('a nested registration has its own options, and the outer one keeps its options', async t => {
  const app = Fastify()
  await app.register(sse, { retry: 1 })
  app.register(async child => {
    await child.register(sse, { retry: 2 })
    child.get('/inner', { schema: { sse: map } }, (_request, reply) => reply.sse(counts))
  })
  app.get('/outer', { schema: { sse: map } }, (_request, reply) => reply.sse(counts))
  t.equal((await app.inject('/inner')).payload, 'retry: 2\n\nevent: count\ndata: {"n":1}\n\n')
  t.equal((await app.inject('/outer')).payload, 'retry: 1\n\nevent: count\ndata: {"n":1}\n\n')
})

t.test('request.signal is right in nested registrations', async t => {
  const app = Fastify()
  await app.register(sse)
  app.register(async child => {
    await child.register(sse)
    child.get('/sse', { schema: { sse: map } }, (request, reply) => reply.sse(({ signal }) => {
      t.equal(signal, request.signal)
      return counts
    }))
    child.get('/plain', async request => {
      const { signal } = request
      return { own: request.signal === signal, aborted: signal.aborted }
    })
  })
  t.equal((await app.inject('/sse')).statusCode, 200)
  t.same((await app.inject('/plain')).json(), { own: true, aborted: false })
})

t.test('a sibling scope of the plugin\'s has no reply.sse', async t => {
  const app = Fastify()
  app.register(async child => {
    await child.register(sse)
    t.equal(child.hasReplyDecorator('sse'), true)
  })
  app.register(async child => {
    t.equal(child.hasReplyDecorator('sse'), false)
    t.equal(child.hasRequestDecorator('lastEventId'), false)
  })
  await app.ready()
})

t.test('sibling scopes may each register the plugin', async t => {
  const app = Fastify()
  for (const retry of [1, 2]) {
    app.register(async child => {
      await child.register(sse, { retry })
      child.get(`/${retry}`, (_request, reply) => reply.sse([]))
    })
  }
  t.equal((await app.inject('/1')).payload, 'retry: 1\n\n')
  t.equal((await app.inject('/2')).payload, 'retry: 2\n\n')
})

t.test('Fastify\'s own options of register() are ignored', async t => {
  const app = Fastify()
  await app.register(sse, { prefix: '/events', logLevel: 'warn', logSerializers: {}, retry: 3 } as SseOptions)
  app.get('/', (_request, reply) => reply.sse([]))
  t.equal((await app.inject('/')).payload, 'retry: 3\n\n')
})

const bad: Array<[options: unknown, message: string]> = [
  [{ heartbeatInterval: -1 },
    "Option 'heartbeatInterval' must be a number of milliseconds from 0 to 2147483647, got -1 (number)"],
  [{ onClose: 'log' }, 'Option \'onClose\' must be a function, got "log" (string)'],
  [{ heartbeat: 5 },
    "Option 'heartbeat' must be one of heartbeatInterval, flushHeadersAfter, stallTimeout, maxLifetime, retry, onInvalid, errorEvent, systemEvent, formats, maxWait, onShutdown, reauthorize, reauthorizeInterval, onOpen, onClose, directWrites, compress, end, finite, limits, shutdownTimeout, reconnectWindow, got an unknown option"]
]
for (const [options, message] of bad) {
  t.test(`an invalid option fails the registration: ${message}`, async t => {
    const app = Fastify()
    app.register(sse, options as SseOptions)
    await t.rejects(async () => app.ready(), { code: 'FST_SSE_OPTION', message })
  })
}

// Event maps

const unusable: Array<[what: string, map: unknown, error: { code: string, message: string }]> = [
  ['is no map', 'events', {
    code: 'FST_SSE_MAP',
    message: 'GET /orders: the events must map names to schemas: got "events" (string)'
  }],
  ['is empty', {}, {
    code: 'FST_SSE_MAP',
    message: 'GET /orders: the events must map names to schemas: got no event'
  }],
  ['has no schema', { paid: 'yes' }, {
    code: 'FST_SSE_MAP',
    message:
      'GET /orders: the events must map names to schemas: the schema of event \'paid\' is "yes" (string)'
  }],
  ['cannot compile', { paid: Type.Object({}), sent: Type.Unsafe({ type: 'nonsense' }) }, {
    code: 'FST_SSE_SCHEMA',
    message: "GET /orders: the schema of event 'sent' (@sinclair/typebox) cannot be compiled: "
  }],
  ['refers to what is not there', { paid: Type.Object({ by: Type.Ref('customer#') }) }, {
    code: 'FST_SSE_SCHEMA',
    message: "GET /orders: the schema of event 'paid' (@sinclair/typebox) cannot be compiled: "
  }],
  ['has a name that cannot be sent', { 'a\nb': Type.String() }, {
    code: 'FST_SSE_SCHEMA',
    message: "GET /orders: the schema of event 'a\nb' (@sinclair/typebox) cannot be compiled: The field 'event'"
  }]
]
for (const [what, sse_, { code, message }] of unusable) {
  t.test(`C3: a map that ${what} fails the start with the route, the event and the reason`, async t => {
    const app = Fastify()
    await app.register(sse)
    app.get('/orders', { schema: { sse: sse_ as EventMap } }, (_request, reply) => reply.sse([]))
    const error: unknown = await app.ready().then(() => undefined, (thrown: unknown) => thrown)
    t.match(error, { code })
    t.equal(String((error as Error).message).slice(0, message.length), message)
    t.ok((error as Error).message.length > message.length || code === 'FST_SSE_MAP', 'a reason follows')
  })
}

for (const ref of ['customer', 'customer#']) {
  t.test(`C1: a schema may refer to ${ref} of app.addSchema, also if it is added after the route`, async t => {
    const app = Fastify()
    await app.register(sse)
    app.get('/', { schema: { sse: { paid: Type.Object({ by: Type.Ref(ref) }) } } }, (_request, reply) => reply.sse([
      { event: 'paid', data: { by: { name: 'Ada', secret: 1 }, secret: 2 } },
      { event: 'paid', data: { by: { name: 5 } } }
    ] as Iterable<never>))
    app.addSchema({ $id: 'customer', type: 'object', required: ['name'], properties: { name: { type: 'string' } } })
    const { payload } = await app.inject('/')
    t.match(payload, /^event: paid\ndata: \{"by":\{"name":"Ada"\}\}\n\nevent: error\n/)
  })
}

t.test('C1: scopes have their own shared schemas under the same name', async t => {
  const app = Fastify()
  await app.register(sse)
  for (const type of ['string', 'integer']) {
    app.register(async child => {
      child.addSchema({ $id: 'id', type })
      child.get(`/${type}`, { schema: { sse: shared } }, (_request, reply) => reply.sse([{ data: { id: 'x' } }]))
    })
  }
  const shared = { message: Type.Object({ id: Type.Unsafe<string>({ $ref: 'id#' }) }) }
  t.equal((await app.inject('/string')).payload, 'data: {"id":"x"}\n\n')
  t.equal((await app.inject('/integer')).json().code, 'FST_SSE_DATA')
})

t.test('C3: a map on two routes is compiled once, and checks both', async t => {
  const app = Fastify()
  await app.register(sse)
  let reads = 0
  const watched = new Proxy(map, { ownKeys: target => { reads++; return Reflect.ownKeys(target) } })
  for (const url of ['/a', '/b']) {
    app.get(url, { schema: { sse: watched } }, (_request, reply) =>
      reply.sse([{ event: 'count', data: { n: 'one' } }] as unknown as Iterable<never>))
  }
  await app.ready()
  t.equal(reads, 1)
  for (const url of ['/a', '/b']) t.equal((await app.inject(url)).json().code, 'FST_SSE_DATA')
})

t.test('C1: a route without schema.sse takes any event', async t => {
  const app = Fastify()
  await app.register(sse)
  app.get('/', (_request, reply) => reply.sse([{ data: 'text' }, { event: 'any', data: { a: [1] } }]))
  t.equal((await app.inject('/')).payload, 'data: text\n\nevent: any\ndata: {"a":[1]}\n\n')
})

t.test('C1: a route that was declared before the plugin is validated like any other', async t => {
  const app = Fastify()
  app.register(sse)
  app.get('/', { schema: { sse: map } }, (request, reply) =>
    reply.sse([
      ...counts,
      { event: 'count', data: { n: request.query } }
    ] as Iterable<never>))
  for (let round = 0; round < 2; round++) {
    t.match((await app.inject('/')).payload, /^event: count\ndata: \{"n":1\}\n\nevent: error\n/)
  }
})

t.test('L3: on a route that was declared before the plugin, request.signal aborts with the client from its first use', async t => {
  const app = Fastify({ forceCloseConnections: true })
  app.register(sse)
  const left = new Promise<unknown>(resolve => {
    app.get('/', { schema: { sse: map } }, async (request, reply) => {
      const { signal } = request
      signal.addEventListener('abort', () => resolve(signal.reason))
      client.reset()
      await left
      await reply.sse(counts)
    })
  })
  const client = await open(await listen(t, app))
  t.match(await within('the abort', left), { name: 'AbortError', reason: 'client' })
})

t.test('C3: an invalid map of a route that was declared before the plugin is a 500 with its error, and the source is disposed of', async t => {
  const app = Fastify()
  app.register(sse)
  const queue = new EventQueue()
  app.get('/', { schema: { sse: {} } }, (_request, reply) => reply.sse(queue as AsyncIterable<never>))
  const response = await app.inject('/')
  t.equal(response.statusCode, 500)
  t.equal(response.json().code, 'FST_SSE_MAP')
  t.equal(queue.signal.aborted, true)
})

// HEAD

t.test('L8: HEAD gets the head alone, and the source is disposed of and never started', async t => {
  const app = Fastify()
  let reports = 0
  await app.register(sse, { retry: 5, onClose: () => reports++ })
  let starts = 0
  const sources: Array<AsyncGenerator<AnyEvent>> = []
  async function * start (): AsyncGenerator<AnyEvent> {
    starts++
    yield { data: 1 }
  }
  const handler = (_request: FastifyRequest, reply: FastifyReply) => {
    const source = start()
    sources.push(source)
    return reply.sse(source, { finite: true })
  }
  app.get('/auto', handler)
  app.route({ method: 'HEAD', url: '/custom', handler })
  app.get('/function', (_request, reply) => reply.sse(() => { starts++; return [] }))
  for (const url of ['/auto', '/custom', '/function']) {
    const response = await app.inject({ method: 'HEAD', url })
    t.equal(response.statusCode, 200)
    t.equal(response.headers['content-type'], 'text/event-stream; charset=utf-8')
    t.equal(response.headers['content-length'], undefined)
    t.equal(response.payload, '')
  }
  t.equal(starts, 0)
  for (const source of sources) t.same(await source.next(), { value: undefined, done: true })
  t.equal(reports, 0, 'no stream, no report')
})

t.test('L8: HEAD ends even if the source never ends', async t => {
  const app = Fastify()
  await app.register(sse)
  const queue = new EventQueue()
  app.get('/', { schema: { sse: map } }, (_request, reply) => reply.sse(queue as AsyncIterable<never>))
  const client = await open(await listen(t, app), { method: 'HEAD' })
  await client.until('\r\n\r\n')
  client.request({ method: 'HEAD' })
  while (client.responses().length < 2) await client.until('\r\n\r\n', client.received.length)
  t.match(client.responses(), [{ status: 200, body: '' }, { status: 200, body: '' }])
  t.equal(queue.signal.aborted, true)
  client.fin()
})

t.test('L8: an invalid option answers HEAD with its error', async t => {
  const app = Fastify()
  await app.register(sse)
  app.get('/', (_request, reply) => reply.sse([], { retry: -1 }))
  t.equal((await app.inject({ method: 'HEAD', url: '/' })).statusCode, 500)
})

// Where else reply.sse may be called

t.test('a 404 handler and an error handler may answer with a stream', async t => {
  const app = Fastify()
  await app.register(sse)
  app.setNotFoundHandler((request, reply) => reply.code(404).sse([{ data: request.url }]))
  app.setErrorHandler((error: Error, _request, reply) => reply.code(503).sse([{ event: 'error', data: error.message }]))
  app.get('/', async () => { throw new Error('no luck') })
  const missing = await app.inject('/nowhere')
  t.equal(missing.statusCode, 404)
  t.equal(missing.payload, 'data: /nowhere\n\n')
  const failed = await app.inject('/')
  t.equal(failed.statusCode, 503)
  t.equal(failed.headers['content-type'], 'text/event-stream; charset=utf-8')
  t.equal(failed.payload, 'event: error\ndata: no luck\n\n')
})

t.test('a hook may answer with a stream, and the handler does not run', async t => {
  const app = Fastify()
  await app.register(sse)
  app.get('/', {
    preHandler: async (_request, reply) => {
      reply.sse([{ data: 'from the hook' }])
      return reply
    }
  }, async () => t.fail('the handler ran'))
  t.equal((await app.inject('/')).payload, 'data: from the hook\n\n')
})

t.test('L10: a second call is rejected and logged, and its source is disposed of', async t => {
  const log: Array<{ level: number, err?: { code?: string } }> = []
  const app = Fastify({
    logger: {
      level: 'warn',
      stream: {
        write: (line: string) => {
          log.push(JSON.parse(line))
        }
      }
    }
  })
  await app.register(sse)
  const queues = [new EventQueue(), new EventQueue()] as const
  app.get('/twice', (_request, reply) => {
    reply.sse([{ data: 1 }])
    // Nobody looks at the promise: that must not be an unhandled rejection.
    reply.sse(queues[0])
  })
  app.get('/sent', async (_request, reply) => {
    reply.send('sent')
    await t.rejects(reply.sse(queues[1]), { code: 'FST_SSE_REPLY_SENT' })
  })
  t.equal((await app.inject('/twice')).payload, 'data: 1\n\n')
  t.equal((await app.inject('/sent')).payload, 'sent')
  t.same(log.map(line => [line.level, line.err?.code]), [[40, 'FST_SSE_ALREADY_STARTED'], [40, 'FST_SSE_REPLY_SENT']])
  t.same(queues.map(queue => queue.signal.aborted), [true, true])
})

t.test('L7: a call while the server closes gets 503 with Retry-After', async t => {
  const app = Fastify()
  await app.register(sse)
  const closing = new Promise<void>(resolve => {
    app.addHook('preClose', done => {
      resolve()
      done()
    })
  })
  let closed: Promise<unknown> | undefined
  app.get('/', async (_request, reply) => {
    closed = app.close()
    await closing
    return reply.sse([])
  })
  const response = await app.inject('/')
  t.equal(response.statusCode, 503)
  t.match(response.headers['retry-after'], /^[1-6]$/)
  t.equal(response.json().code, 'FST_SSE_CLOSING')
  await closed
})

t.test('a finite stream that the client has read to its end gets 204', async t => {
  const app = Fastify()
  await app.register(sse)
  app.get('/', (_request, reply) => reply.sse([{ data: 1 }], { finite: true }))
  t.equal((await app.inject('/')).payload, 'data: 1\n\nevent: sse.position\nid: sse.end\ndata: \n\n')
  t.equal((await app.inject({ url: '/', headers: { 'last-event-id': 'sse.end' } })).statusCode, 204)
})

// A request before its stream

for (const hooks of [undefined, 'one', 'several'] as const) {
  t.test(`L3: a client that disconnects during a slow hook is reported, and its source is disposed of; ${hooks ?? 'no'} onRequest of the route`, async t => {
    const log: Array<{ level: number, msg?: string }> = []
    const app = Fastify({
      logger: {
        level: 'debug',
        stream: {
          write: (line: string) => {
            log.push(JSON.parse(line))
          }
        }
      }
    })
    const reports: CloseReport[] = []
    await app.register(sse, { onClose: report => reports.push(report) })
    const ran: string[] = []
    const own = (name: string) => async () => { ran.push(name) }
    const queue = new EventQueue()
    const called = new Promise<void>(resolve => {
      app.get('/', {
        schema: { sse: map },
        ...(hooks === undefined ? {} : { onRequest: hooks === 'one' ? own('a') : [own('a'), own('b')] }),
        preHandler: async request => {
          client.reset()
          await new Promise(resolve => request.signal.addEventListener('abort', resolve))
        }
      }, async (_request, reply) => {
        await reply.sse(queue as AsyncIterable<never>)
        resolve()
      })
    })
    const client = await open(await listen(t, app))
    await within('the call', called)
    t.equal(queue.signal.aborted, true)
    t.match(reports, [{ reason: 'client', events: 0, bytes: 0 }])
    t.same(ran, hooks === undefined ? [] : hooks === 'one' ? ['a'] : ['a', 'b'])
    t.same(log.filter(line => line.level > 30), [])
    t.ok(log.some(line => line.msg === 'sse stream closed' && line.level === 30))
  })
}

t.test('L2: a signal that was read in a hook before the plugin\'s aborts with its request, for any answer', async t => {
  const app = Fastify()
  let early: AbortSignal | undefined
  app.addHook('onRequest', async request => { early = request.signal })
  await app.register(sse)
  app.get('/plain', { schema: { sse: map } }, async () => 'no stream')
  app.get('/stream', { schema: { sse: map } }, (request, reply) => {
    t.equal(request.signal, early)
    return reply.sse(counts)
  })
  for (const url of ['/plain', '/stream']) {
    t.equal((await app.inject(url)).statusCode, 200)
    t.match(early!.reason, { reason: 'complete' })
  }
})

t.test('W7: every route has request.lastEventId', async t => {
  const app = Fastify()
  await app.register(sse)
  app.get('/', async request => ({ id: request.lastEventId }))
  t.same((await app.inject({ url: '/', headers: { 'last-event-id': '7' } })).json(), { id: '7' })
  t.same((await app.inject('/?lastEventId=8')).json(), { id: '8' })
  t.same((await app.inject('/')).json(), {})
})

t.test('the plugin changes only a copy of a route: the program\'s own objects stay unchanged', async t => {
  const app = Fastify()
  await app.register(sse)
  const config = { mine: true }
  const onRequest = [async () => {}]
  const options = { schema: { sse: map }, config, onRequest }
  for (const url of ['/a', '/b']) {
    app.get(url, options, (request, reply) => {
      t.match(request.routeOptions.config, { mine: true, url })
      return reply.sse(counts)
    })
  }
  for (const url of ['/a', '/b']) t.equal((await app.inject(url)).statusCode, 200)
  t.same(Reflect.ownKeys(config), ['mine'])
  t.equal(onRequest.length, 1)
})

// Channels

const text = { message: Type.String() }

/** A channel that is over and still has all of its events: a stream of it is finite. */
async function over (channel: Channel, ...data: unknown[]): Promise<string> {
  for (const each of data) await channel.publish({ data: each })
  const { id } = await channel.position()
  await channel.end()
  return id
}

t.test('a channel is sent from its oldest event or from the client\'s position, and gets 204 at its end', async t => {
  const app = Fastify()
  await app.register(sse)
  const run = app.sse.channel('run', { start: 'earliest' })
  app.get('/', (_request, reply) => reply.sse(run))
  const end = await over(run, 'a', 'b')
  const epoch = end.replace(/-2$/, '')
  t.equal((await app.inject('/')).payload,
    `: replay\nevent: sse.position\nid: ${epoch}-0\ndata: \n\nid: ${epoch}-1\ndata: a\n\nid: ${epoch}-2\ndata: b\n\n`)
  t.equal((await app.inject({ url: '/', headers: { 'last-event-id': `${epoch}-1` } })).payload,
    `: replay\nevent: sse.position\nid: ${epoch}-1\ndata: \n\nid: ${epoch}-2\ndata: b\n\n`)
  const done = await app.inject({ url: '/', headers: { 'last-event-id': end } })
  t.same([done.statusCode, done.payload], [204, ''])
})

t.test('R7: a new client of an ended channel without events gets 204', async t => {
  const app = Fastify()
  const reports: CloseReport[] = []
  await app.register(sse, { onClose: report => reports.push(report) })
  const [done, empty] = [app.sse.channel('done'), app.sse.channel('empty', { start: 'earliest' })]
  app.get('/done', (_request, reply) => reply.sse(done))
  app.get('/empty', (_request, reply) => reply.sse(empty))
  app.get('/both', (_request, reply) => reply.sse([done, empty]))
  await over(done, 1, 2)
  await over(empty)
  for (const url of ['/done', '/empty', '/both']) t.equal((await app.inject(url)).statusCode, 204, url)
  t.same(reports, [], 'no stream, no report')
})

t.test('several channels are sent in one stream, whose id has the positions of all', async t => {
  const app = Fastify()
  await app.register(sse)
  const [one, other] = [app.sse.channel('one', { start: 'earliest' }), app.sse.channel('other', { start: 'earliest' })]
  app.get('/', (_request, reply) => reply.sse([one, other.subscribe()]))
  app.get('/function', (_request, reply) => reply.sse(async () => [one, other]))
  const [a, b] = [(await over(one, 'a')).slice(0, -2), (await over(other, 'b')).slice(0, -2)]
  const expected =
    `: replay\nevent: sse.position\nid: ${a}-0.${b}-0\ndata: \n\nid: ${a}-1.${b}-0\ndata: a\n\nid: ${a}-1.${b}-1\ndata: b\n\n`
  for (const url of ['/', '/function']) t.equal((await app.inject(url)).payload, expected)
  t.equal((await app.inject({ url: '/', headers: { 'last-event-id': `${a}-1.${b}-1` } })).statusCode, 204)
  t.equal((await app.inject({ url: '/', headers: { 'last-event-id': `${a}-1.${b}-0` } })).payload,
    `: replay\nevent: sse.position\nid: ${a}-1.${b}-0\ndata: \n\nid: ${a}-1.${b}-1\ndata: b\n\n`)
})

t.test('a stream does not subscribe to one channel twice, nor to more than fit into its id', async t => {
  const app = Fastify()
  await app.register(sse)
  const channels = Array.from({ length: 65 }, (_, index) => app.sse.channel(`channel ${index}`))
  app.get('/twice', (_request, reply) => reply.sse([channels[0]!, channels[0]!.subscribe({ start: 'earliest' })]))
  app.get('/many', (_request, reply) => reply.sse(channels))
  for (const [url, got] of [['/twice', 'one of them twice'], ['/many', '65']]) {
    const response = await app.inject(url!)
    t.equal(response.statusCode, 500)
    t.match(response.json(), {
      code: 'FST_SSE_CHANNELS',
      message: `A stream must subscribe to 1 to 64 different channels, got ${got}`
    })
  }
  t.same(channels.filter(channel => channel.subscribers > 0), [], 'and follows none of them')
})

t.test('C4: a typed route accepts channels with the same schema objects, and rejects all others', async t => {
  const app = Fastify()
  await app.register(sse)
  const schema = { sse: { ...map, ...text } }
  const own = app.sse.channel('own', { events: { count: map.count } })
  const fits = await over(own as unknown as Channel)
  const others = [app.sse.channel('copy', { events: { count: Type.Object({ n: Type.Integer() }) } }),
    app.sse.channel('more', { events: { ...schema.sse, more: Type.Null() } }), app.sse.channel('free')]
  app.get('/own', { schema }, (_request, reply) => reply.sse(own))
  for (const channel of others) {
    const sources = {
      alone: channel,
      filtered: (channel as Channel).subscribe({ filter: () => true }),
      among: [own, channel],
      later: () => channel
    }
    for (const [how, source] of Object.entries(sources)) {
      const url = `/${channel.name}/${how}`
      app.get(url, { schema }, (_request, reply) => reply.sse(source as typeof own))
      app.get(`/any${url}`, { handler: (_request, reply) => reply.sse(source as typeof own) })
    }
  }
  t.ok(fits)
  t.equal((await app.inject('/own')).statusCode, 204)
  for (const { name } of others) {
    for (const how of ['alone', 'filtered', 'among', 'later']) {
      const response = await app.inject(`/${name}/${how}`)
      t.equal(response.statusCode, 500)
      t.match(response.json(), {
        code: 'FST_SSE_CHANNEL_EVENTS',
        message:
          `The events of the channel '${name}' differ from schema.sse: declare the same schema objects in both, or convert the events with subscribe({ map })`
      })
    }
  }
  for (const channel of others) await channel.end()
  for (const { name } of others) {
    t.equal((await app.inject(`/any/${name}/alone`)).statusCode, 204, 'a route without schema.sse serves all')
  }
  t.same([own, ...others].filter(channel => channel.subscribers > 0), [])
})

t.test('C4: the events that map returns for another channel are checked and serialized by the route', async t => {
  const app = Fastify()
  await app.register(sse)
  const prices = app.sse.channel('prices', { start: 'earliest' })
  const epoch = (await over(prices, 1, 2, 3)).slice(0, -2)
  app.get('/', { schema: { sse: map } }, (_request, reply) =>
    reply.sse(prices.subscribe({
      map: ({ data }) => data === 2 ? undefined : { event: 'count' as const, data: { n: Number(data), secret: 'x' } }
    })))
  app.get('/wrong', { schema: { sse: map } }, (_request, reply) =>
    reply.sse(prices.subscribe({
      map: () => ({ event: 'count', data: { n: 'x' } }) as never
    }), { errorEvent: null }))
  t.equal((await app.inject('/')).payload,
    `: replay\nevent: sse.position\nid: ${epoch}-0\ndata: \n\nevent: count\nid: ${epoch}-1\ndata: {"n":1}\n\nevent: sse.position\nid: ${epoch}-2\ndata: \n\nevent: count\nid: ${epoch}-3\ndata: {"n":3}\n\n`)
  t.equal((await app.inject('/wrong')).payload, `: replay\nevent: sse.position\nid: ${epoch}-0\ndata: \n\n`)
})

t.test('L8: HEAD of a route with a channel gets the head alone, without a subscriber', async t => {
  const app = Fastify()
  const reports: CloseReport[] = []
  await app.register(sse, { onClose: report => reports.push(report) })
  const live = app.sse.channel('live')
  app.get('/channel', (_request, reply) => reply.sse(live))
  app.get('/subscription',
    (_request, reply) => reply.sse(live.subscribe({ snapshot: () => t.fail('asked for its state') as never })))
  app.get('/several', (_request, reply) => reply.sse([live, app.sse.channel('other')]))
  for (const url of ['/channel', '/subscription', '/several']) {
    const response = await app.inject({ method: 'HEAD', url })
    t.same([response.statusCode, response.headers['content-type'], response.payload], [200,
      'text/event-stream; charset=utf-8', ''])
    t.equal(live.subscribers, 0)
  }
  t.same(reports, [])
})

t.test('C3: a channel with an invalid map throws at its creation, with the channel, the event and the reason', async t => {
  const app = Fastify()
  await app.register(sse)
  const rows: Array<[events: unknown, error: { code: string, message: string | RegExp }]> = [
    [{}, {
      code: 'FST_SSE_MAP',
      message: "channel 'orders': the events must map names to schemas: got no event"
    }],
    [{ paid: 'yes' }, {
      code: 'FST_SSE_MAP',
      message:
        "channel 'orders': the events must map names to schemas: the schema of event 'paid' is \"yes\" (string)"
    }],
    [{ sent: { type: 'nonsense' } }, {
      code: 'FST_SSE_SCHEMA',
      message: /^channel 'orders': the schema of event 'sent' \(JSON Schema\) cannot be compiled: /
    }],
    [{ 'sse.gap': Type.Null() }, { code: 'FST_SSE_MAP', message: /^channel 'orders': .* is reserved$/ }]
  ]
  for (const [events, error] of rows) t.throws(() => app.sse.channel('orders', { events: events as EventMap }), error)
  t.doesNotThrow(() => app.sse.channel('orders', { events: text }), 'and leaves no channel behind')
})

t.test('C3: a channel uses the shared schemas of its creation, and later routes get all of them', async t => {
  const app = Fastify()
  await app.register(sse)
  app.sse.channel('early', { events: text })
  t.throws(() => app.sse.channel('orders', { events: { order: Type.Ref('Order') } }), { code: 'FST_SSE_SCHEMA' })
  app.addSchema({ $id: 'Order', type: 'object', properties: { id: { type: 'integer' } }, required: ['id'] })
  const events = { order: Type.Ref('Order') }
  const orders = app.sse.channel('orders', { events, start: 'earliest' })
  app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(orders))
  app.get('/list', { schema: { sse: { order: Type.Ref('Order') } } },
    (_request, reply) => reply.sse([{ event: 'order', data: { id: 7, secret: 1 } }] as never))
  await orders.publish({ event: 'order', data: { id: 7, secret: 1 } } as never)
  await orders.end()
  t.match((await app.inject('/')).payload, /\ndata: {"id":7}\n\n$/)
  t.equal((await app.inject('/list')).payload, 'event: order\ndata: {"id":7}\n\n')
})

t.test('option eventLog: opens the log of each channel, once, with its name and its limits', async t => {
  const app = Fastify()
  const opened: unknown[] = []
  const memory = memoryLog()
  const log: EventLogFactory = (...given) => {
    opened.push(given)
    return memory(...given)
  }
  await app.register(sse, { eventLog: log, retry: 5 })
  const channel = app.sse.channel('a', { history: { maxEvents: 7 } })
  t.equal(app.sse.channel('a', { history: { maxEvents: 7 } }), channel)
  app.sse.channel('b')
  t.strictSame(opened, [['a', { maxEvents: 7, maxBytes: 1_048_576, maxAge: 300_000 }], ['b', {
    maxEvents: 1_000,
    maxBytes: 1_048_576,
    maxAge: 300_000
  }]])
  app.get('/', (_request, reply) => reply.sse([]))
  t.equal((await app.inject('/')).payload, 'retry: 5\n\n', 'beside the options of streams')
})

for (const [log, got] of [[null, 'null'], ['memory', '"memory" (string)'], [
  memoryLog()('x', { maxEvents: 1, maxBytes: 1, maxAge: 1 }),
  'an object (MemoryLog)'
]] as const) {
  t.test(`an invalid option fails the registration: eventLog is ${got}`, async t => {
    const app = Fastify()
    app.register(sse, { eventLog: log } as unknown as RegisterOptions)
    await t.rejects(async () => app.ready(), {
      code: 'FST_SSE_OPTION',
      message: `Option 'eventLog' must be a function that opens logs, such as memoryLog(), got ${got}`
    })
  })
}

t.test('eventLog is an option of the registration, not of a stream', async t => {
  const app = Fastify()
  await app.register(sse)
  app.get('/', (_request, reply) => reply.sse([], { eventLog: memoryLog() } as SseOptions))
  t.match((await app.inject('/')).json(), { code: 'FST_SSE_OPTION' })
})

t.test('a child scope of the plugin\'s has the same channels', async t => {
  const app = Fastify()
  await app.register(sse)
  const outer = app.sse.channel('a')
  app.register(async child => { t.equal(child.sse.channel('a'), outer) }, { prefix: '/child' })
  app.get('/', async function () { return this.sse.channel('a') === outer })
  t.equal((await app.inject('/')).payload, 'true')
})

t.test('each registration has its own channels, in sibling and in nested scopes', async t => {
  const app = Fastify()
  const seen: Channel[] = []
  for (const name of ['one', 'two']) {
    app.register(async child => {
      await child.register(sse)
      seen.push(child.sse.channel('same', { history: { maxEvents: name.length } }))
      child.register(async inner => {
        await inner.register(sse)
        seen.push(inner.sse.channel('same', { start: 'earliest' }))
        t.not(inner.sse, child.sse)
      })
    })
  }
  app.register(async child => { t.equal(child.hasDecorator('sse'), false) })
  await app.ready()
  t.equal(new Set(seen).size, 4)
  await Promise.all(seen.map((channel, index) => channel.publish({ data: index })))
  t.same(await Promise.all(seen.map(async channel => (await channel.position()).newest)), [1, 1, 1, 1])
  await app.close()
})

t.test('L7: app.close() ends the streams of the channels, and the channels', async t => {
  const app = Fastify()
  const reports: CloseReport[] = []
  await app.register(sse, { onClose: report => reports.push(report) })
  const live = app.sse.channel('live')
  app.get('/', (_request, reply) => reply.sse(live))
  const client = await injectStream(app, '/')
  const next = live.subscribe()[Symbol.asyncIterator]().next()
  t.equal(live.subscribers, 2)
  await within('the close', app.close())
  await client.takeAll()
  t.strictSame(await client.closed, { reason: 'complete' })
  t.match(reports, [{ reason: 'shutdown' }])
  t.same(await within('the end of the loop', next), { done: true, value: undefined })
  await t.rejects(live.publish({ data: 1 }), { code: 'FST_SSE_CLOSING' })
  await t.rejects(app.sse.channel('more').publish({ data: 1 }), { code: 'FST_SSE_CLOSING' })
})

// The package

t.test('the built package can be required', async t => {
  const require = createRequire(import.meta.url)
  t.ok(existsSync(join(import.meta.dirname, '../../dist/index.js')), 'npm run build comes first')
  const required = require('fastify-typed-sse') as typeof import('../../lib/index.ts')
  const app = Fastify()
  await app.register(required.default)
  app.get('/', (_request, reply) => reply.sse([{ data: 1 }]))
  t.equal((await app.inject('/')).payload, 'data: 1\n\n')
  t.equal(typeof required.EventQueue, 'function')

  const asIs = Fastify()
  await asIs.register(require('fastify-typed-sse'))
  t.equal(asIs.hasReplyDecorator('sse'), true, 'as app.register(require(...)), too')
})

t.test('a connectionTimeout that closes silent streams is logged once, when the server starts', async t => {
  const cases: Array<[connectionTimeout: number, heartbeatInterval: number, told: boolean]> = [
    [0, 15_000, false],
    [0, 0, false],
    [10_000, 15_000, true],
    [15_000, 15_000, true],
    [16_000, 15_000, true],
    [17_000, 15_000, false],
    [10_000, 0, true]
  ]
  for (const [connectionTimeout, heartbeatInterval, told] of cases) {
    for (const http2 of [false, true]) {
      const lines: Array<{ level: number, msg: string }> = []
      const logger = { level: 'warn', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } }
      const app = Fastify({ ...(http2 && { http2 }), connectionTimeout, logger } as object)
      await app.register(sse, { heartbeatInterval })
      await app.ready()
      const line = {
        level: 40,
        msg: 'connectionTimeout closes quiet sse streams: keep heartbeatInterval below it',
        connectionTimeout,
        heartbeatInterval
      }
      t.match(lines, told ? [line] : [])
      t.equal(lines.length, told ? 1 : 0)
      await app.close()
    }
  }
})
