import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { EventQueue, type Limits, type RegisterOptions } from '../../lib/index.ts'
import { connect } from '../../lib/client.ts'
import { listen } from '../setup/listen.ts'
import { open, type RawClient } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

const EVENT_SOURCE = { accept: 'text/event-stream' }

interface Made { app: FastifyInstance, port: number, queues: EventQueue[] }

/** A server whose streams stay open, and say that they are. */
async function make (t: Test, limits: Partial<Limits> | undefined, options: RegisterOptions = {}): Promise<Made> {
  // A client may have opened a spare connection, and close() would wait for its request.
  const app = Fastify({ return503OnClosing: false, forceCloseConnections: true })
  const queues: EventQueue[] = []
  await app.register(sse, { ...options, limits })
  app.route({
    method: ['GET', 'POST'],
    url: '/',
    handler: (_request, reply) => {
      const queue = new EventQueue()
      queues.push(queue)
      queue.push({ data: 'open' }).catch(() => {})
      return reply.sse(queue)
    }
  })
  return { app, port: await listen(t, app), queues }
}

async function opened (t: Test, port: number, headers: Record<string, string> = {}): Promise<RawClient> {
  const client = await open(port, { headers: { ...EVENT_SOURCE, ...headers } })
  t.teardown(() => client.socket.destroy())
  await within('the stream', client.until('data: open\n\n'))
  return client
}

/** The whole response to a rejected request. */
async function answer (
  port: number,
  request: { path?: string, method?: string, headers?: Record<string, string> } = {}
): Promise<{ status: number, headers: Record<string, string>, body: string }> {
  const client = await open(port, { ...request, headers: { connection: 'close', ...request.headers } })
  await within('the answer', client.closed)
  return client.responses()[0]!
}

t.test('beyond maxStreams, a client that reads a status gets 503, problem details and Retry-After', async t => {
  const { app, port, queues } = await make(t, { maxStreams: 2, retryAfter: 2_000 })
  for (let n = 0; n < 2; n++) await opened(t, port)
  for (const request of [{ headers: { accept: '*/*' } }, { headers: { accept: 'text/event-stream, */*' } }, {}, {
    method: 'POST',
    headers: { ...EVENT_SOURCE, 'content-length': '0' }
  }]) {
    const { status, headers, body } = await answer(port, request)
    t.equal(status, 503)
    t.match(headers, { 'content-type': 'application/problem+json', 'retry-after': /^[234]$/ })
    t.match(JSON.parse(body), {
      type: 'about:blank',
      title: 'Service Unavailable',
      status: 503,
      detail: /its limit of open streams/,
      instance: /^req-/,
      code: 'FST_SSE_LIMIT'
    })
  }
  t.equal(app.sse.stats().rejected.maxStreams, 4)
  t.same(queues.slice(2).map(queue => queue.signal.aborted), [true, true, true, true], 'its source is let go')
})

t.test('beyond maxStreams, an EventSource gets an empty stream with its own reconnection delay', async t => {
  const { port } = await make(t, { maxStreams: 0, retryAfter: 2_000 })
  const delays = new Set<number>()
  for (let n = 0; n < 5; n++) {
    const { status, headers, body } = await answer(port, { headers: EVENT_SOURCE })
    t.equal(status, 200)
    t.match(headers, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache, no-transform' })
    t.notOk('retry-after' in headers)
    const delay = Number(/^retry: (\d+)\n\n$/.exec(body)?.[1])
    t.ok(delay >= 2_000 && delay <= 4_000)
    delays.add(delay)
  }
  t.ok(delays.size > 1)
})

t.test('a stream is uncounted when its client disconnects, and never twice', async t => {
  const { app, port } = await make(t, { maxStreams: 1 })
  for (let n = 0; n < 50; n++) {
    const client = await opened(t, port)
    t.equal((await answer(port)).status, 503)
    if (n % 2 === 0) client.socket.resetAndDestroy()
    else client.socket.end()
    while (app.sse.streams().length > 0) await turn()
  }
  t.match(app.sse.stats(), { streams: { open: 0, opened: 50, closed: { client: 50 } }, rejected: { maxStreams: 50 } })
})

t.test('one key has at most maxStreamsPerKey streams, and the default key is the address', async t => {
  const { app, port } = await make(t, { maxStreamsPerKey: 1 })
  await opened(t, port)
  const { status, body } = await answer(port)
  t.equal(status, 429)
  t.match(JSON.parse(body), { title: 'Too Many Requests', status: 429, code: 'FST_SSE_KEY_LIMIT' })
  t.equal(app.sse.streams()[0]!.key, '127.0.0.1')
  t.same(app.sse.stats().rejected, { maxStreams: 0, maxStreamsPerKey: 1, closing: 0 })
})

t.test('keyGenerator returns the key, and a stream without a key is not counted by it', async t => {
  const { app, port } = await make(t, {
    maxStreamsPerKey: 2,
    keyGenerator: ({ headers: { 'x-user': user } }) => user as string | undefined
  })
  for (const user of ['a', 'a', 'b']) await opened(t, port, { 'x-user': user })
  for (let n = 0; n < 3; n++) await opened(t, port)
  t.equal((await answer(port, { headers: { 'x-user': 'a' } })).status, 429)
  t.same(app.sse.streams().map(({ key }) => key), ['a', 'a', 'b', undefined, undefined, undefined])
})

t.test('an invalid key and a keyGenerator that throws are ordinary errors', async t => {
  for (const [key, expected] of [
    [() => 7 as unknown as string, {
      statusCode: 500,
      code: 'FST_SSE_OPTION',
      message: "Option 'limits.keyGenerator' must be a function that returns a string or undefined, got 7 (number)"
    }],
    [(async () => {
      throw new Error('its rejection ends no process')
    }) as unknown as () => string, {
      statusCode: 500,
      code: 'FST_SSE_OPTION',
      message:
        "Option 'limits.keyGenerator' must be a function that returns a string or undefined, got one that returns a promise"
    }],
    [() => { throw Object.assign(new Error('who?'), { statusCode: 401 }) }, { statusCode: 401, message: 'who?' }]
  ] as const) {
    const { app, port } = await make(t, { keyGenerator: key })
    t.match(JSON.parse((await answer(port, { headers: EVENT_SOURCE })).body), expected)
    t.equal(app.sse.streams().length, 0)
  }
})

t.test('L7: reply.sse rejects a request that was in a slow hook when the server closed, with a channel or without', async t => {
  const app = Fastify({ return503OnClosing: false, forceCloseConnections: 'idle' })
  await app.register(sse)
  const closed = new Promise<void>(resolve => app.addHook('preClose', async () => resolve()))
  const arrived: string[] = []
  app.addHook('preHandler', async request => {
    arrived.push(request.url)
    await closed
  })
  const all = { filter: () => true }
  app.get('/channel', (_request, reply) => reply.sse(app.sse.channel('made now')))
  app.get('/known', (_request, reply) => reply.sse(known.subscribe(all)))
  app.get('/filtered',
    (_request, reply) => reply.sse(app.sse.channel('made now').subscribe({ ...all, start: 'earliest' })))
  app.get('/several', (_request, reply) => reply.sse([known, app.sse.channel('other')]))
  app.post('/publish', async () => ({ id: await app.sse.channel('made now').publish({ data: 1 }) }))
  const known = app.sse.channel('known')
  const port = await listen(t, app)
  const paths = ['/channel', '/known', '/filtered', '/several']
  const answers = [...paths.map(async path => answer(port, { path, headers: EVENT_SOURCE })),
    ...paths.map(async path => answer(port, { path, headers: { accept: '*/*' } }))]
  const published = answer(port, { path: '/publish', method: 'POST' })
  while (arrived.length < 9) await turn()
  const close = app.close()
  for (const [index, { status, headers, body }] of (await Promise.all(answers)).entries()) {
    if (index < 4) {
      t.match({ status, body }, { status: 200, body: /^retry: \d+\n\n$/ })
    } else {
      t.match({ status, headers }, { status: 503, headers: { 'retry-after': /^\d+$/ } })
      t.equal(JSON.parse(body).code, 'FST_SSE_CLOSING')
    }
  }
  t.match(JSON.parse((await published).body), { statusCode: 503, code: 'FST_SSE_CLOSING' })
  await close
})

t.test('HEAD and a reconnect to a finished stream are not limited', async t => {
  const app = Fastify()
  await app.register(sse, { limits: { maxStreams: 0 } })
  app.get('/', (_request, reply) => reply.sse([{ data: 1 }], { finite: true }))
  t.equal((await app.inject({ url: '/', headers: { 'last-event-id': 'sse.end' } })).statusCode, 204)
  const head = await app.inject({ method: 'HEAD', url: '/', headers: EVENT_SOURCE })
  t.equal(head.statusCode, 503)
  t.equal(head.body, '')
})

t.test('a thousand requests at once get no more streams than maxStreams', async t => {
  const { app, port } = await make(t, { maxStreams: 10 })
  const clients = await Promise.all(Array.from({ length: 1_000 }, () => open(port, { headers: { accept: '*/*' } })))
  t.teardown(() => clients.forEach(client => client.socket.destroy()))
  await within('the answers', Promise.all(clients.map(client => client.until('\r\n\r\n'))), 30_000)
  t.equal(clients.filter(client => client.received.startsWith('HTTP/1.1 200')).length, 10)
  t.match(app.sse.stats(), { streams: { open: 10 }, rejected: { maxStreams: 990 } })
})

t.test('L8: while the server closes, the same two answers are sent, and connections are not kept', async t => {
  const { app, port } = await make(t, undefined, { reconnectWindow: 500, onShutdown: 'drain' })
  const staying = await opened(t, port)
  const closed = app.close()
  while (!app.sse.shutdownSignal.aborted) await turn()
  const soft = await open(port, { headers: EVENT_SOURCE })
  await within('the answer', soft.closed)
  t.match(soft.responses()[0], {
    status: 200,
    headers: { connection: 'close' },
    body: /^retry: (1[0-4]\d\d|1500|1000)\n\n$/
  })
  const plain = await open(port)
  await within('the answer', plain.closed)
  t.match(plain.responses()[0], { status: 503, headers: { connection: 'close', 'retry-after': /^[12]$/ } })
  t.equal(app.sse.stats().rejected.closing, 2)
  staying.socket.destroy()
  await closed
})

t.test('the client of this package gets a status, and reconnects after the delay', async t => {
  const { app, port, queues } = await make(t, { maxStreams: 1, retryAfter: 0 })
  const first = await opened(t, port)
  const waits: unknown[] = []
  const stream = connect(`http://127.0.0.1:${port}/`, {
    retryDelay: 1,
    onError: ({ status, retryAfter }) => {
      if (waits.push({ status, retryAfter }) === 3) first.socket.destroy()
    }
  })
  await within('an event', new Promise<void>(resolve => stream.on('message', ({ data }) => {
    t.equal(data, 'open')
    stream.close()
    resolve()
  })))
  t.ok(waits.length >= 3)
  t.match(waits[0], { status: 503, retryAfter: 0 })
  while (app.sse.streams().length > 0) await turn()
  t.ok(queues.length >= 5)
})
