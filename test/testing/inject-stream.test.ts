import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { validate } from '../../lib/client/validate.ts'
import sse, { type CloseReport } from '../../lib/index.ts'
import { bodyOf, injectStream } from '../../lib/testing/inject-stream.ts'
import { openStreams } from '../../lib/testing/open-streams.ts'

const events = { order: Type.Object({ id: Type.Integer() }), note: Type.String() }

async function serve (
  t: Test,
  routes: (app: FastifyInstance) => unknown = () => {}
): Promise<{ app: FastifyInstance, reports: CloseReport[] }> {
  const app = Fastify()
  t.teardown(() => app.close())
  const reports: CloseReport[] = []
  await app.register(sse, { onClose: report => { reports.push(report) } })
  app.get('/orders', (request, reply) => {
    if (request.headers.authorization !== 'Bearer 1') {
      throw Object.assign(new Error('Who are you?'), { statusCode: 401 })
    }
    return reply.header('x-tenant', String(request.headers['x-tenant'])).sse([{
      event: 'order',
      id: 1,
      data: { id: 7 }
    }, { event: 'note', data: 'text' }, { event: 'other', data: 1 }])
  })
  app.get('/silent', (_request, reply) => reply.sse(() => new Promise<never>(() => {})))
  app.get('/mute', (_request, reply) => reply.sse(() => new Promise<never>(() => {}), { flushHeadersAfter: 1e6 }))
  routes(app)
  return { app, reports }
}

t.test('injectStream() resolves with a typed stream when its head has arrived', async t => {
  const { app } = await serve(t)
  const stream = await injectStream(app, {
    url: '/orders',
    events,
    headers: { authorization: 'Bearer 1', 'x-tenant': ['a', 'b'] }
  })
  t.equal(stream.response.statusCode, 200)
  t.match(stream.response.headers, { 'content-type': 'text/event-stream; charset=utf-8', 'x-tenant': 'a, b' })
  t.strictSame(await stream.takeAll(), [{ event: 'order', data: { id: 7 }, id: '1' }, {
    event: 'note',
    data: 'text',
    id: '1'
  }])
  t.strictSame(await stream.closed, { reason: 'complete' })
})

t.test('without a map every event is received as text; headers may be a function', async t => {
  const { app } = await serve(t)
  const stream = await injectStream(app, {
    url: new URL('http://localhost/orders'),
    headers: ({ attempt }) => ({ authorization: `Bearer ${attempt}` })
  })
  t.strictSame(await stream.take(1), [{ event: 'order', data: '{"id":7}', id: '1' }])
  t.equal((await stream.takeAll()).length, 2)
})

t.test('the schema is checked with validate', async t => {
  const { app } = await serve(t)
  const stream = await injectStream(app, {
    url: '/orders',
    events: { order: Type.Object({ id: Type.String() }) },
    validate,
    headers: { authorization: 'Bearer 1' }
  })
  t.strictSame(await stream.takeAll(), [])
  t.match(await stream.closed, { reason: 'error', error: { code: 'FST_SSE_INVALID_EVENT' } })
})

t.test('a response that is no stream rejects, with status, headers and body', async t => {
  const { app } = await serve(t, app => {
    app.get('/text', async (_request, reply) => reply.code(503).header('retry-after', '5').send('busy'))
    app.get('/empty', async (_request, reply) => reply.code(500).send(''))
    app.get('/json', async () => ({ a: 1 }))
    app.get('/broken', (_request, reply) => { reply.hijack().raw.destroy() })
  })
  await t.rejects(injectStream(app, '/orders'), {
    code: 'FST_SSE_STATUS',
    status: 401,
    message:
      'GET /orders: The server answered with status 401: {"statusCode":401,"error":"Unauthorized","message":"Who are you?"}',
    data: { statusCode: 401, message: 'Who are you?' }
  })
  await t.rejects(injectStream(app, '/text'), { code: 'FST_SSE_STATUS', status: 503, data: 'busy', retryAfter: 5_000 })
  await t.rejects(injectStream(app, '/empty'), { code: 'FST_SSE_STATUS', status: 500, data: '' })
  await t.rejects(injectStream(app, '/json'), { code: 'FST_SSE_CONTENT_TYPE', message: /application\/json/ })
  await t.rejects(injectStream(app, '/broken'), { code: 'FST_SSE_NETWORK' })
  t.strictSame(openStreams(app), [])
})

t.test('204 is a stream without events', async t => {
  const { app } = await serve(t, app => app.get('/over', async (_request, reply) => reply.code(204).send()))
  const stream = await injectStream(app, '/over')
  t.equal(stream.response.statusCode, 204)
  t.strictSame(await stream.takeAll(), [])
})

t.test('a head that does not arrive rejects, and the server notices the disconnect', async t => {
  const { app, reports } = await serve(t)
  await t.rejects(injectStream(app, { url: '/mute', timeout: 50 }), {
    code: 'FST_SSE_TEST_TIMEOUT',
    message: 'GET /mute: the head of a response did not arrive within 50 ms; so far: nothing'
  })
  await sleep(1)
  t.strictSame(reports.map(({ reason }) => reason), ['client'])
})

t.test('a body of any kind is sent', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  app.post('/echo',
    (request, reply) => reply.sse([{ data: { body: request.body, type: request.headers['content-type'] } }]))
  const echo = async (options: object): Promise<unknown> => {
    const stream = await injectStream(app, { method: 'post', url: '/echo', ...options })
    return JSON.parse((await stream.takeAll())[0]!.data)
  }
  t.strictSame(await echo({ payload: { a: 1 } }), { body: { a: 1 }, type: 'application/json' })
  t.strictSame(await echo({ body: { a: 1 }, headers: { 'Content-Type': 'application/json; charset=utf-8' } }), {
    body: { a: 1 },
    type: 'application/json; charset=utf-8'
  })
  t.strictSame(await echo({ payload: 'text', headers: { 'content-type': 'text/plain' } }), {
    body: 'text',
    type: 'text/plain'
  })
  t.strictSame(
    await echo({
      payload: Readable.from([Buffer.from('te'), Buffer.from('xt')]),
      headers: { 'content-type': 'text/plain' }
    }),
    { body: 'text', type: 'text/plain' }
  )
  t.strictSame(await echo({}), {})
  await t.rejects(echo({ payload: 'text' }), { status: 415, message: /^POST \/echo: / })
})

t.test('reconnect: true reconnects, and onError receives failures', async t => {
  let asked = 0
  const { app } = await serve(t, app => {
    app.get('/flaky', (request, reply) => {
      if (++asked === 1) return reply.code(503).send('not yet')
      return reply.sse([{ id: asked, data: String(request.lastEventId) }])
    })
    app.get('/never', async (_request, reply) => reply.code(503).send())
  })
  const failures: string[] = []
  const states: string[] = []
  const stream = await injectStream(app, {
    url: '/flaky',
    reconnect: true,
    retryDelay: 1,
    lastEventId: '1',
    onError: ({ code }) => {
      failures.push(code)
    },
    onStateChange: state => {
      states.push(state)
    }
  })
  t.strictSame((await stream.take(3)).map(({ data }) => data), ['1', '2', '3'])
  await stream.disconnect()
  t.strictSame(failures, ['FST_SSE_STATUS'])
  t.strictSame([states.slice(0, 2), states.at(-1)], [['live', 'connecting'], 'closed'])
  await t.rejects(injectStream(app, { url: '/never', reconnect: true, retryDelay: 1e6, timeout: 50 }), {
    message: /50 ms; so far: The server answered with status 503$/
  })
})

t.test('a stream that reconnects ends when the app closes', async t => {
  const { app } = await serve(t,
    app => app.get('/once', (_request, reply) => reply.sse([{ data: '' }], { retry: 1e6 })))
  const [waiting, open, unread] = await Promise.all(
    ['/once', '/silent', '/once'].map(url => injectStream(app, { url, reconnect: true }))
  )
  await waiting!.take(1)
  const rest = open!.takeAll()
  await app.close()
  t.strictSame(await rest, [])
  for (const stream of [waiting, open]) t.strictSame(await stream!.closed, { reason: 'closed' })
  t.strictSame((await unread!.takeAll()).length, 1, 'the text before it can be read')
  await app.close()
  await t.rejects(injectStream(app, '/once'), { code: 'FST_SSE_NETWORK', message: /already been closed/ })
})

t.test('a signal ends the stream, also before its head', async t => {
  const { app, reports } = await serve(t)
  const client = new AbortController()
  const stream = await injectStream(app, { url: '/silent', signal: client.signal })
  client.abort()
  t.strictSame(await stream.closed, { reason: 'closed' })
  await stream.disconnect()
  t.strictSame(reports.map(({ reason }) => reason), ['client'])
  await t.rejects(injectStream(app, { url: '/silent', signal: client.signal }), {
    code: 'FST_SSE_TEST_TIMEOUT',
    message: /before the stream was closed/
  })
})

t.test('a payload of inject becomes a body of fetch', async t => {
  t.strictSame(bodyOf(undefined), {})
  t.strictSame(bodyOf('text'), { body: Buffer.from('text') }, 'bytes, which have no type')
  t.strictSame(bodyOf({ a: 1 }), { body: Buffer.from('{"a":1}'), type: 'application/json' })
  t.strictSame(bodyOf([1]), { body: Buffer.from('[1]'), type: 'application/json' })
  for (const payload of [Buffer.from('x'), new FormData(), Readable.from(['x'])]) {
    t.equal(bodyOf(payload).body, payload, 'as it is')
  }
})
