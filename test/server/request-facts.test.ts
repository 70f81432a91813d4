import { Type, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type FastifySchema } from 'fastify'
import t, { type Test } from 'tap'
import { requestFactsOf } from '../../lib/server/request-facts.ts'
import sse, { type RegisterOptions } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

const EVENT_SOURCE = { accept: 'text/event-stream' }

/** The whole answer, over a socket. */
async function answer (
  port: number,
  headers: Record<string, string> = {},
  path = '/'
): Promise<{ status: number, body: string }> {
  const client = await open(port, { path, headers: { connection: 'close', ...headers } })
  await within('the answer', client.closed)
  return client.responses()[0]!
}

/** Tells the position in an event. */
const echo = (request: FastifyRequest, reply: FastifyReply): Promise<void> =>
  reply.sse([{ data: request.lastEventId ?? 'none' }])

async function serve (t: Test, schema: FastifySchema, options: RegisterOptions = {}): Promise<number> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, options)
  app.get('/', { schema }, echo)
  return listen(t, app)
}

const closed = { additionalProperties: false }

t.test('the position, the accepted types and the address are read from the request', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.all('/', async (request, reply) => reply.send([requestFactsOf(request, false), requestFactsOf(request, true)]))
  const cases: Array<[object, object]> = [
    [{}, { eventSource: false }],
    [{ headers: EVENT_SOURCE }, { eventSource: true }],
    [{ headers: EVENT_SOURCE, method: 'POST' }, { eventSource: false }],
    [{ headers: { accept: 'text/event-stream, */*' } }, { eventSource: false }],
    [{ headers: { ...EVENT_SOURCE, 'last-event-id': 'a-1' } }, { eventSource: true, lastEventId: 'a-1' }],
    [{ url: '/?lastEventId=b-2' }, { eventSource: false, lastEventId: 'b-2' }]
  ]
  for (const [request, asked] of cases) {
    t.same((await app.inject({ url: '/', ...request })).json(), [asked, { ...asked, address: '127.0.0.1' }])
  }
})

t.test('L11: the position survives a schema of headers that removes it, converts it to a number, or has a default', async t => {
  const schemas: TSchema[] = [
    Type.Object({ authorization: Type.Optional(Type.String()) }, closed),
    Type.Object({ 'last-event-id': Type.Optional(Type.Integer()) }),
    Type.Object({ 'last-event-id': Type.String({ default: '9' }) }, closed)
  ]
  for (const headers of schemas) {
    const port = await serve(t, { headers })
    t.equal((await answer(port, { 'last-event-id': '1' })).body, 'data: 1\n\n')
    t.equal((await answer(port)).body, 'data: none\n\n')
  }
})

t.test('L11: the position survives a schema of the query that removes it or converts it to a list', async t => {
  for (const querystring of [Type.Object({}, closed),
    Type.Object({ lastEventId: Type.Optional(Type.Array(Type.Integer())) })]) {
    const port = await serve(t, { querystring })
    t.equal((await answer(port, {}, '/?lastEventId=2')).body, 'data: 2\n\n')
    t.equal((await answer(port)).body, 'data: none\n\n')
  }
})

t.test('L11: the position survives a validator that returns another object', async t => {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse)
  app.setValidatorCompiler<TSchema>(({ schema }) => data => ({ value: Value.Clean(schema, Value.Clone(data)) }))
  app.get('/', { schema: { querystring: Type.Object({ a: Type.Optional(Type.String()) }), headers: Type.Object({}) } },
    echo)
  const port = await listen(t, app)
  t.equal((await answer(port, {}, '/?a=1&lastEventId=2')).body, 'data: 2\n\n')
  t.equal((await answer(port, { 'last-event-id': '3' }, '/?a=1&lastEventId=2')).body, 'data: 3\n\n')
})

t.test('L11: an EventSource is recognized although a schema removes its accept header', async t => {
  const port = await serve(t, { headers: Type.Object({}, closed) }, { limits: { maxStreams: 0 } })
  t.match(await answer(port, EVENT_SOURCE), { status: 200, body: /^retry: \d+\n\n$/ })
  t.match(await answer(port, { accept: '*/*' }), { status: 503 })
})

t.test('L11: an address of a header counts even if a schema removes that header', async t => {
  const app = Fastify({ forceCloseConnections: true, trustProxy: true })
  await app.register(sse, { limits: { maxStreamsPerKey: 1 } })
  app.get('/', { schema: { headers: Type.Object({}, closed) } },
    (_request, reply) =>
      reply.sse(async function * ({ signal }) {
        yield { data: 'open' }
        await new Promise(resolve => signal.addEventListener('abort', resolve))
      }))
  const port = await listen(t, app)
  for (const from of ['10.0.0.1', '10.0.0.2']) {
    const client = await open(port, { headers: { 'x-forwarded-for': from } })
    t.teardown(() => client.socket.destroy())
    await within('the stream', client.until('data: open\n\n'))
  }
  t.strictSame(app.sse.streams().map(({ key }) => key), ['10.0.0.1', '10.0.0.2'])
  t.equal((await answer(port, { 'x-forwarded-for': '10.0.0.2' })).status, 429)
})

t.test('L11: a hook before the plugin can change the position, and read it', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const seen: unknown[] = []
  app.addHook('onRequest', async request => {
    seen.push(request.lastEventId)
    request.headers['last-event-id'] = 'another'
    seen.push(request.lastEventId)
  })
  await app.register(sse)
  app.get('/', { schema: { headers: Type.Object({}, closed) } }, echo)
  t.equal((await app.inject({ url: '/', headers: { 'last-event-id': 'one' } })).payload, 'data: another\n\n')
  t.strictSame(seen, ['one', 'another'])
})

/** Ways to a stream that are no ordinary route after the registration. */
const ways: Array<[what: string, make: (app: FastifyInstance) => unknown]> = [
  ['a route that was declared before the plugin', app => {
    app.get('/', { schema: { headers: Type.Object({}, closed), querystring: Type.Object({}, closed) } }, echo)
    return app.register(sse)
  }],
  ['a handler of requests that are not found', async app => {
    await app.register(sse)
    app.setNotFoundHandler(echo)
  }],
  ['a handler of errors', async app => {
    await app.register(sse)
    app.setErrorHandler((_error, request, reply) => echo(request, reply))
    app.get('/', {
      schema: { headers: Type.Object({ 'x-needed': Type.String() }, closed), querystring: Type.Object({}, closed) }
    }, echo)
  }],
  ['a registration within another', async app => {
    await app.register(sse)
    await app.register(async child => {
      await child.register(sse)
      child.get('/', { schema: { headers: Type.Object({}, closed), querystring: Type.Object({}, closed) } }, echo)
    })
  }]
]
for (const [what, make] of ways) {
  t.test(`L11: the position is known in ${what}`, async t => {
    const app = Fastify({ forceCloseConnections: true })
    await make(app)
    const port = await listen(t, app)
    t.equal((await answer(port, { 'last-event-id': '5' })).body, 'data: 5\n\n')
    t.equal((await answer(port, {}, '/?lastEventId=6')).body, 'data: 6\n\n')
  })
}

t.test('L11: the position is known under another URL and with another query parser', async t => {
  const querystringParser = (text: string): Record<string, string> => ({ lastEventId: `parsed ${text}` })
  const app = Fastify({
    forceCloseConnections: true,
    routerOptions: { querystringParser },
    rewriteUrl: ({ url }) => url!.replace('/old', '/')
  })
  await app.register(sse)
  app.get('/', { schema: { querystring: Type.Object({}, closed) } }, echo)
  const port = await listen(t, app)
  t.equal((await answer(port, {}, '/old?x')).body, 'data: parsed x\n\n')
})

t.test('a scope that is older than the plugin has streams, positions and signals', async t => {
  const app = Fastify({ forceCloseConnections: true })
  app.register(async child => {
    child.get('/', { schema: { sse: { message: Type.String() } } }, (request, reply) => {
      if (request.signal.aborted) throw new Error('It is over before it begins')
      return echo(request, reply)
    })
  })
  app.register(sse, { limits: { maxStreamsPerKey: 5 } })
  const port = await listen(t, app)
  t.equal((await answer(port, { 'last-event-id': '7' })).body, 'data: 7\n\n')
})
