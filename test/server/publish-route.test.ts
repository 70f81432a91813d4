import swagger from '@fastify/swagger'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import sse, { memoryLog, type EventLogFactory } from '../../lib/index.ts'
import { publishRoute, type PublishRouteOptions } from '../../lib/publisher.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

const events = { price: Type.Object({ value: Type.Number() }), message: Type.String() }
const price = (value: unknown) => ({ event: 'price', data: { value } })

async function start (t: Test, options: Partial<PublishRouteOptions> = {}, eventLog?: EventLogFactory) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse, { eventLog })
  const news = app.sse.channel('news', { events })
  const jobs = app.sse.channelFamily('job', { events })
  app.sse.channel('secret')
  await app.register(publishRoute, { prefix: '/publish', authorize: () => true, channels: [news, jobs], ...options })
  const post = async (path: string, payload?: unknown) => {
    const response = await app.inject({
      method: 'POST',
      url: `/publish/${path}`,
      ...(payload === undefined ? {} : { payload: payload as object })
    })
    return { status: response.statusCode, json: response.json() as Record<string, unknown>, text: response.body }
  }
  return { app, news, jobs, post }
}

t.test('an event is published to the subscribers of its channel, and its id is the answer', async t => {
  const { app, news, post } = await start(t)
  app.get('/news', { schema: { sse: events } }, (_request, reply) => reply.sse(news))
  const client = await open(await listen(t, app), { path: '/news' })
  t.teardown(() => client.socket.destroy())
  await within('the position', client.until('sse.position'))
  const { status, json } = await post('news', price(7))
  t.equal(status, 200)
  t.strictSame(json, { id: (await news.position()).id })
  await within('the event', client.until(`event: price\nid: ${String(json.id)}\ndata: {"value":7}\n\n`))
  t.strictSame((await post('news', { data: 'text' })).json, { id: (await news.position()).id })
})

t.test('R2: with a key, an event is published once', async t => {
  const { news, post } = await start(t)
  const first = await post('news', { ...price(1), key: 'a' })
  t.strictSame((await post('news', { ...price(1), key: 'a' })).json, first.json)
  const { json } = await post('news', [{ ...price(1), key: 'a' }, { ...price(2), key: 'b' }, price(3)])
  const { epoch, newest } = await news.position()
  t.strictSame(json, { ids: [1, 2, 3].map(offset => `${epoch}-${offset}`) })
  t.equal(newest, 3)
})

t.test('an array is published in its order, also to a channel of a family', async t => {
  const { jobs, post } = await start(t)
  const { status, json } = await post('job:a%2Fb', [1, 2, 3].map(price))
  const { epoch } = await jobs.of('a/b').position()
  t.equal(status, 200)
  t.strictSame(json, { ids: [1, 2, 3].map(offset => `${epoch}-${offset}`) })
})

t.test('E1: bad input is answered with a code and 4xx', async t => {
  const { app, news, post } = await start(t, { maxEvents: 2 })
  const rows: Array<[path: string, body: unknown, status: number, code: string, message?: RegExp]> = [
    ['news', price('x'), 400, 'FST_SSE_DATA', /'price' does not match its schema at '\/value'/],
    ['news', { event: 'prise', data: 1 }, 400, 'FST_SSE_UNKNOWN_EVENT', /prise/],
    ['news', { event: 7, data: 1 }, 400, 'FST_SSE_FIELD'],
    ['news', { event: 'price' }, 400, 'FST_SSE_DATA'],
    ['news', { ...price(1), id: 'mine' }, 400, 'FST_SSE_PUBLISH'],
    ['news', { ...price(1), client: {} }, 400, 'FST_SSE_EVENT'],
    ['news', { ...price(1), key: '' }, 400, 'FST_SSE_OPTION', /^Option 'key' must be/],
    ['news', { ...price(1), key: null }, 400, 'FST_SSE_OPTION'],
    ['news', undefined, 400, 'FST_SSE_PUBLISH'],
    ['news', {}, 400, 'FST_SSE_PUBLISH'],
    ['news', [], 400, 'FST_SSE_BATCH', /^A batch must have 1 to 2 events, got 0$/],
    ['news', [price(1), price(2), price(3)], 400, 'FST_SSE_BATCH', /got 3$/],
    ['secret', price(1), 404, 'FST_SSE_NOT_FOUND', /^There is no channel "secret" \(string\) to publish to/],
    ['job', price(1), 404, 'FST_SSE_NOT_FOUND'],
    ['job:', price(1), 404, 'FST_SSE_NOT_FOUND'],
    ['sse.control', price(1), 404, 'FST_SSE_NOT_FOUND'],
    ['job:a%0Ab', price(1), 400, 'FST_SSE_OPTION', /^Option 'id' must be/]
  ]
  for (const [path, body, status, code, message = /./] of rows) {
    const { status: actual, json } = await post(path, body)
    t.equal(actual, status, JSON.stringify(body))
    t.match(json, { statusCode: status, code, message })
  }
  const headers = { 'content-type': 'text/plain' }
  const text = await app.inject({ method: 'POST', url: '/publish/news', headers, body: 'x' })
  t.match(text.json(), { statusCode: 400, code: 'FST_SSE_PUBLISH' })
  t.equal((await news.position()).newest, 0)
  await news.end()
  t.match(await post('news', price(1)), { status: 409, json: { statusCode: 409, code: 'FST_SSE_CHANNEL_ENDED' } })
})

t.test('E1: the answer for an array tells which events were not published', async t => {
  const { news, post } = await start(t)
  const { status, json } = await post('news', [price(1), price('x'), 'text', { ...price(4), key: 'd' }])
  const { epoch, newest } = await news.position()
  t.equal(status, 400)
  t.match(json, {
    statusCode: 400,
    code: 'FST_SSE_DATA',
    error: 'Bad Request',
    message: /^2 of 4 events were not published, first event 2: Event 'price' does not match/
  })
  t.match(json.results, [
    { id: `${epoch}-1` },
    { error: { statusCode: 400, code: 'FST_SSE_DATA', error: 'Bad Request', message: /\/value/ } },
    { error: { statusCode: 400, code: 'FST_SSE_PUBLISH' } },
    { id: `${epoch}-2` }
  ])
  t.equal(newest, 2)
})

t.test('the errors of a log keep their status, and an array shows no message of another package', async t => {
  let error: unknown
  const logs = memoryLog()
  const { post } = await start(t, {}, (name, history) =>
    Object.assign(logs(name, history), { append: () => { throw error } }))
  const rows: Array<[error: unknown, expected: object]> = [
    [Object.assign(new Error('away'), { code: 'FST_SSE_LOG_UNAVAILABLE', statusCode: 503 }),
      { statusCode: 503, code: 'FST_SSE_LOG_UNAVAILABLE', error: 'Service Unavailable', message: /away$/ }],
    [Object.assign(new Error('password'), { code: 'ECONNREFUSED' }),
      { statusCode: 500, code: undefined, error: 'Internal Server Error', message: /Internal Server Error$/ }],
    [Object.assign(new Error('odd'), { statusCode: 999 }), { statusCode: 500, message: /Internal Server Error$/ }],
    [Object.assign(new Error('teapot'), { statusCode: 499 }), { statusCode: 499, error: 'Error', message: /Error$/ }],
    [Object.assign(new Error('odd'), { code: 'constructor' }), { statusCode: 500, message: /Internal Server Error$/ }],
    [undefined, { statusCode: 500, message: /Internal Server Error$/ }],
    [null, { statusCode: 500 }]
  ]
  for (const [thrown, expected] of rows) {
    error = thrown
    const { status, json, text } = await post('news', [price(1)])
    t.match({ status, json }, { status: (expected as { statusCode: number }).statusCode, json: expected })
    t.notMatch(text, /password/)
  }
  error = Object.assign(new Error('away'), { code: 'FST_SSE_LOG_UNAVAILABLE', statusCode: 503 })
  t.match(await post('news', price(1)), { status: 503, json: { code: 'FST_SSE_LOG_UNAVAILABLE', message: 'away' } })
})

t.test('R6: a request is answered with 403 unless authorize returns true, and nothing is published', async t => {
  const answers: unknown[] = [false, undefined, null, 'yes', 1, {}, Promise.resolve(false)]
  for (const answer of answers) {
    const { news, post } = await start(t, { authorize: () => answer as boolean })
    t.match(await post('news', price(1)), { status: 403, json: { code: 'FST_SSE_FORBIDDEN' } })
    t.equal((await news.position()).newest, 0)
  }
  const seen: string[] = []
  const authorize = async (request: FastifyRequest<{ Params: { channel: string } }>): Promise<boolean> => {
    seen.push(request.params.channel)
    if (request.params.channel === 'job:1') throw Object.assign(new Error('Log in first'), { statusCode: 401 })
    return request.params.channel === 'news'
  }
  const { post } = await start(t, { authorize })
  t.equal((await post('news', price(1))).status, 200)
  // An unknown channel is no secret that the status would tell.
  t.equal((await post('secret', price(1))).status, 403)
  t.match(await post('job:1', price(1)), { status: 401, json: { message: 'Log in first' } })
  t.strictSame(seen, ['news', 'secret', 'job:1'])
})

t.test('a body beyond the limit is rejected', async t => {
  const { post } = await start(t, { bodyLimit: 100 })
  t.match(await post('news', { data: 'x'.repeat(100) }), { status: 413, json: { code: 'FST_ERR_CTP_BODY_TOO_LARGE' } })
  t.equal((await post('news', { data: 'x' })).status, 200)
})

t.test('the route does not use the compilers of the app, which may take other schemas', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const refuse = (): never => { throw new Error('a schema of another package') }
  app.setValidatorCompiler(refuse)
  app.setSerializerCompiler(refuse)
  await app.register(sse)
  await app.register(publishRoute, { authorize: () => true, channels: [app.sse.channel('news')] })
  const response = await app.inject({ method: 'POST', url: '/news', payload: { data: 1 } })
  t.match(response.json(), { id: /-1$/ })
})

t.test('data that are nested too deeply for the stack are the fault of the client', async t => {
  const { app, news, post } = await start(t)
  const payload = `{"data":${'['.repeat(20_000)}${']'.repeat(20_000)}}`
  const headers = { 'content-type': 'application/json' }
  const response = await app.inject({ method: 'POST', url: '/publish/news', headers, payload })
  t.match(response.json(), { statusCode: 400, code: 'FST_SSE_SERIALIZE' })
  t.equal((await post('news', { data: 'x' })).status, 200)
  t.equal((await news.position()).newest, 1)
})

t.test('a bad option is an error of the registration', async t => {
  const rows: Array<[options: object, message: RegExp]> = [
    [{ channels: [] }, /^Option 'authorize' must be a function that returns true .* got undefined$/],
    [{ authorize: () => true }, /^Option 'channels' must be an array of channels and channel families, got undefined$/],
    [{ authorize: true }, /^Option 'authorize' must be/],
    [{ channels: ['news'] }, /^Option 'channels' must be/],
    [{ channels: [null] }, /^Option 'channels' must be/],
    [{ channels: [{ name: 'news' }] }, /^Option 'channels' must be/],
    [{ channels: [{ name: 1, publish: () => {} }] }, /^Option 'channels' must be/],
    [{ channels: [{ name: 'news', publish: 'text' }] }, /^Option 'channels' must be/],
    [{ channels: { publish: 1 } }, /^Option 'channels' must be/],
    [{ maxEvents: 0 }, /^Option 'maxEvents' must be a whole number of events, 1 or more, got 0/],
    [{ bodyLimit: 1.5 }, /^Option 'bodyLimit' must be a whole number of bytes, 1 or more, got 1.5/],
    [{ guard: () => true }, /^Option 'guard' must be one of authorize, channels, maxEvents, bodyLimit, got/]
  ]
  for (const [options, message] of rows) {
    const app = Fastify()
    t.teardown(() => app.close())
    await t.rejects(async () => app.register(publishRoute, options as PublishRouteOptions),
      { code: 'FST_SSE_OPTION', message })
  }
})

t.test('the OpenAPI document has the route', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(swagger, { openapi: {} })
  await app.register(sse)
  for (const prefix of ['/one', '/two']) {
    await app.register(publishRoute, { prefix, authorize: () => true, channels: [app.sse.channel('news')] })
  }
  await app.ready()
  const { paths } = app.swagger() as unknown as { paths: Record<string, { post: Record<string, unknown> }> }
  for (const path of ['/one/{channel}', '/two/{channel}']) {
    const { summary, requestBody, responses } = paths[path]!.post
    t.equal(summary, 'Publish events')
    const json = (anyOf: unknown[]) => ({ content: { 'application/json': { schema: { anyOf } } } })
    t.match(requestBody, json([{ properties: { key: {} } }, { type: 'array' }]))
    t.match(responses, { 200: json([{ required: ['id'] }, { required: ['ids'] }]) })
  }
})
