import { mock } from 'node:test'
import Fastify, { type FastifyInstance, type FastifyRequest, type InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type RegisterOptions } from '../../lib/index.ts'
import inspector, { type InspectorOptions } from '../../lib/inspector/inspector.ts'
import { reports } from '../../lib/inspector/report.ts'
import { injectStream } from '../../lib/testing.ts'

async function make (
  t: Test,
  { authorize = () => true, ...options }: RegisterOptions & Partial<InspectorOptions> = {}
): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse, { heartbeatInterval: 0, ...options })
  await app.register(inspector, { prefix: '/inspector', authorize })
  app.get('/ticks', (_request, reply) => reply.sse(async function * ({ signal }) {
    yield { data: 'tick' }
    await new Promise(resolve => { signal.addEventListener('abort', resolve) })
  }))
  return app
}

const PAGES = ['/inspector', '/inspector/', '/inspector/inspector.js', '/inspector/inspector.css',
  '/inspector/table.js']
const STREAMS = ['/inspector/events', '/inspector/tail?channel=news']

t.test('without an authorize function, registration fails', async t => {
  for (const [options, code, message] of [
    [{}, 'FST_SSE_OPTION',
      "Option 'authorize' must be a function that returns true for requests that may use the inspector, got undefined"],
    [{ authorize: true }, 'FST_SSE_OPTION',
      "Option 'authorize' must be a function that returns true for requests that may use the inspector, got true (boolean)"],
    [{ authorize: () => true, path: '/' }, 'FST_SSE_OPTION',
      "Option 'path' must be one of authorize, got an unknown option"]
  ] as const) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(sse)
    await t.rejects(async () => {
      await app.register(inspector, options as unknown as InspectorOptions)
    }, { code, message })
  }
})

t.test('without the plugin, registration fails', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => {
    await app.register(inspector, { authorize: () => true })
  }, { code: 'FST_SSE_NOT_REGISTERED' })
})

t.test('authorize is called for every request', async t => {
  const requested: string[] = []
  const app = await make(t, {
    authorize: async request => {
      requested.push(request.url)
      return false
    }
  })
  app.sse.channel('news')
  const all: InjectOptions[] = [...PAGES, ...STREAMS].map(url => ({ url }))
  all.push({ method: 'POST', url: '/inspector/streams/1/end' }, { method: 'HEAD', url: '/inspector/' })
  for (const request of all) {
    const response = await app.inject(request)
    t.equal(response.statusCode, 403)
    if (request.method !== 'HEAD') t.match(response.json(), { code: 'FST_SSE_FORBIDDEN' })
  }
  t.strictSame(requested, all.map(({ url }) => url))
})

t.test('the page is served with and without the final slash, under any prefix', async t => {
  const app = await make(t)
  await app.register(inspector, { prefix: '/ops/:tenant', authorize: () => true })
  for (const [path, location] of [['/inspector', './inspector/'], ['/ops/a%2Fb?x=/', './a%2Fb/']] as const) {
    const response = await app.inject(path)
    t.equal(response.statusCode, 302)
    t.equal(response.headers.location, location)
  }
  for (const path of ['/inspector/', '/ops/a/?x']) {
    const page = await app.inject(path)
    t.match(page, {
      statusCode: 200,
      headers: {
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        'content-security-policy': /script-src 'self'/
      }
    })
    t.match(page.body, '<title>Inspector</title>')
  }
  t.match(await app.inject('/inspector/inspector.js'), {
    statusCode: 200,
    headers: { 'content-type': 'text/javascript; charset=utf-8' }
  })
  t.match(await app.inject('/inspector/inspector.css'), {
    statusCode: 200,
    headers: { 'content-type': 'text/css; charset=utf-8' }
  })
  const root = Fastify()
  t.teardown(() => root.close())
  await root.register(sse)
  await root.register(inspector, { authorize: () => true })
  t.equal((await root.inject('/')).statusCode, 200)
})

t.test('a report contains the streams of the surrounding registration, and not its own', async t => {
  const app = await make(t, { limits: { maxStreams: 1 } })
  const ticks = await injectStream(app, '/ticks?token=secret')
  const channel = app.sse.channel('news')
  channel.publish({ data: { n: 1 } })
  const tail = await injectStream(app, '/inspector/tail?channel=news')
  t.match((await tail.take(1))[0]!.data, '"data":"{\\"n\\":1}"')
  const viewer = await injectStream(app, { url: '/inspector/events?filter=', events: { report: 'json' } })
  const [report] = await viewer.take(1)
  t.match(report!.data, {
    totals: { open: 1, opened: 1, published: 1 },
    streams: { total: 1, rows: [{ route: 'GET /ticks', path: '/ticks', key: null, ip: '127.0.0.1' }] },
    channels: { total: 1, rows: [{ id: 'news', subscribers: 0, newest: 1 }] }
  })
  t.equal(app.sse.streams().length, 1)
  t.equal((await app.inject('/ticks')).statusCode, 503, 'the limit of one stream applies to other routes')
  await Promise.all([ticks.disconnect(), tail.disconnect(), viewer.disconnect()])
})

t.test('the changes of the members of a channel have a tail, too', async t => {
  const app = await make(t)
  const news = app.sse.channel('news')
  const loop = news.subscribe({ as: 'a' })[Symbol.asyncIterator]()
  const pending = loop.next()
  const tail = await injectStream(app, '/inspector/tail?channel=sse.presence:news')
  t.match((await tail.take(1))[0]!.data, '"event":"join"')
  await loop.return!()
  await pending
  t.match((await tail.take(1))[0]!.data, '"event":"leave"')
  await tail.disconnect()
  t.throws(() => app.sse.find('sse.presence:news'), { code: 'FST_SSE_OPTION' })
})

t.test('a filter may contain characters that a channel name must not contain', async t => {
  const app = await make(t)
  for (const query of ['', '?filter=', '?filter=a&filter=b', `?filter=${'%F0%9F%98%80'.repeat(99)}x`,
    '?filter=%00%0A']) {
    const viewer = await injectStream(app, `/inspector/events${query}`)
    t.match(await viewer.take(1), [{ event: 'report' }], query)
    await viewer.disconnect()
  }
})

t.test('the tail of an unknown channel is 404', async t => {
  const app = await make(t)
  for (const url of ['/inspector/tail', '/inspector/tail?channel=none', '/inspector/tail?channel=sse.control',
    '/inspector/tail?channel=sse.presence:none', '/inspector/tail?channel=sse.presence:']) {
    t.match(await app.inject(url), { statusCode: 404, body: /FST_SSE_NOT_FOUND/ })
  }
  t.strictSame(app.sse.channels(), [], 'no channel is created')
})

t.test('a stream is ended by its id, and its client receives the reason', async t => {
  const app = await make(t, { limits: { keyGenerator: request => request.headers.user as string | undefined } })
  const headers = { 'x-requested-with': 'inspector' }
  const rows: Array<[payload: object | undefined, detail: string]> = [
    [{ reason: 'too loud' }, 'The stream was ended: too loud'],
    [{ reason: 'x'.repeat(999) }, `The stream was ended: ${'x'.repeat(100)}`],
    ...[undefined, { reason: '' }, { reason: 7 }].map(payload =>
      [payload, 'The stream was ended: it is no longer permitted'] as [object | undefined, string]
    )
  ]
  const viewer = await injectStream<typeof reports>(app, { url: '/inspector/events', events: { report: 'json' } })
  for (const [n, [payload, detail]] of rows.entries()) {
    const client = await injectStream(app, { url: '/ticks', headers: { user: 'alice' } })
    await client.take(1)
    const url = `/inspector/streams/${n + 1}/end`
    await viewer.takeUntil(({ event, data }) => event === 'report' && data.streams.rows.some(({ id }) => id === n + 1))
    t.equal((await app.inject({ method: 'POST', url, ...(payload === undefined ? {} : { payload }) })).statusCode, 403,
      'without the header it is rejected')
    const response = await app.inject({ method: 'POST', url, headers, ...(payload === undefined ? {} : { payload }) })
    t.strictSame(response.json(), { route: 'GET /ticks', key: 'alice' })
    await client.takeAll()
    t.match(client.text, 'event: error\ndata: {"type":"about:blank","title":"Forbidden","status":403,"instance":"req-')
    t.match(client.text, `"detail":"${detail}"`)
    t.match(await app.inject({ method: 'POST', url, headers }), { statusCode: 404, body: /FST_SSE_NOT_FOUND/ },
      'a second request is 404')
  }
  await viewer.disconnect()
  t.equal(app.sse.stats().streams.closed.revoked, rows.length)
})

t.test('the stream of the page ends when authorize no longer returns true', async t => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const permitted = new Set(['alice'])
  const app = await make(t, { authorize: (request: FastifyRequest) => permitted.has(String(request.headers.user)) })
  const viewer = await injectStream(app, { url: '/inspector/events', headers: { user: 'alice' } })
  await viewer.take(1)
  permitted.delete('alice')
  mock.timers.tick(10_000)
  await viewer.takeAll()
  t.match(viewer.text, 'event: error\ndata: {"type":"about:blank","title":"Forbidden","status":403')
})
