import t from 'tap'
import { request, type RequestOptions } from '../../lib/client/request.ts'
import type { StreamError } from '../../lib/client/stream-error.ts'
import { answers, ends, Scripted, streams, type Asked } from '../setup/scripted.ts'
import { within } from '../setup/within.ts'

const FIRST = { attempt: 1, lastEventId: '' }
type Owner = Parameters<typeof Scripted.start>[0]
const never = new AbortController().signal

/** What a server is asked. */
async function asked (t: Owner, options: RequestOptions, attempt = FIRST): Promise<Asked> {
  const server = await Scripted.start(t, ends())
  const response = await request(server.url, options, attempt, never)
  await response!.text()
  return server.request(1)
}

/** What is thrown at an answer. */
async function failure (t: Owner, status: number, headers: Record<string, string> = {}, body?: string): Promise<StreamError> {
  const server = await Scripted.start(t, answers(status, headers, body))
  return await request(server.url, {}, FIRST, never).then(() => { throw new Error('it was taken for a stream') }, error => error)
}

t.test('it asks for an event stream, and that no cache answers', async t => {
  const { method, headers } = await asked(t, {})
  t.equal(method, 'GET')
  t.equal(headers.accept, 'text/event-stream, */*')
  t.equal(headers['cache-control'], 'no-cache')
  t.notOk('last-event-id' in headers)
})

t.test('any method, any body, any header', async t => {
  const { method, headers, body } = await asked(t, { method: 'POST', body: '{"prompt":"hi"}', headers: { 'content-type': 'application/json', accept: 'text/event-stream, application/json' } })
  t.equal(method, 'POST')
  t.equal(body, '{"prompt":"hi"}')
  t.equal(headers['content-type'], 'application/json')
  t.equal(headers.accept, 'text/event-stream, application/json')
})

t.test('headers in every form that fetch takes', async t => {
  for (const given of [{ 'X-A': 'a' }, [['X-A', 'a']] as Array<[string, string]>, new Headers({ 'X-A': 'a' }), () => ({ 'X-A': 'a' }), async () => new Headers({ 'X-A': 'a' })]) {
    t.equal((await asked(t, { headers: given })).headers['x-a'], 'a')
  }
  t.equal((await asked(t, { headers: () => undefined })).headers.accept, 'text/event-stream, */*')
})

t.test('headers, URL and body may be functions, which are told of the attempt', async t => {
  const server = await Scripted.start(t, ends())
  const told: unknown[] = []
  const attempt = { attempt: 3, lastEventId: 'e-5' }
  const response = await request(async given => {
    told.push(given)
    return new URL(`room?n=${given.attempt}`, server.url)
  }, {
    method: 'PUT',
    headers: async given => {
      told.push(given)
      return { authorization: `Bearer ${given.attempt}` }
    },
    body: given => {
      told.push(given)
      return `body ${given.attempt}`
    }
  }, attempt, never)
  await response!.text()
  const { url, headers, body } = await server.request(1)
  t.equal(url, '/room?n=3')
  t.equal(headers.authorization, 'Bearer 3')
  t.equal(body, 'body 3')
  t.strictSame(told, [attempt, attempt, attempt])
})

t.test('W7: the last event id travels as the bytes of its UTF-8', async t => {
  for (const id of ['7', 'größe-漢字-👋', 'e-5.f-7', 'a b,c;d="e"', '\u0080\u07ff\uffff']) {
    const { headers } = await asked(t, { headers: { 'last-event-id': 'mine' } }, { attempt: 2, lastEventId: id })
    t.equal(Buffer.from(headers['last-event-id'] as string, 'latin1').toString('utf8'), id)
  }
})

t.test('what else fetch takes goes to it, and one of the user\'s own may stand in', async t => {
  const seen: unknown[] = []
  const response = new Response(new ReadableStream(), { headers: { 'content-type': 'text/event-stream' } })
  const { signal } = new AbortController()
  const result = await request('http://there/', {
    credentials: 'include',
    fetch: async (url, init) => {
      seen.push(url, init.credentials, init.cache, init.signal === signal, init.body)
      return response
    }
  }, FIRST, signal)
  t.equal(result, response)
  t.strictSame(seen, ['http://there/', 'include', 'no-store', true, null])
})

t.test('what a function throws, and what fetch throws, is thrown', async t => {
  const error = new Error('no token')
  await t.rejects(request('http://there/', { headers: () => { throw error } }, FIRST, never), error)
  await t.rejects(request('http://there/', { fetch: () => Promise.reject(error) }, FIRST, never), error)
})

t.test('the content type of an event stream is taken however it is written', async t => {
  for (const type of ['text/event-stream', 'text/event-stream; charset=utf-8', 'text/event-stream;charset=UTF-8', 'Text/Event-Stream', 'text/event-stream ; x=y']) {
    const server = await Scripted.start(t, ends('', { 'content-type': type }))
    const response = await request(server.url, {}, FIRST, never)
    t.equal(response?.status, 200, type)
    await response?.text()
  }
})

t.test('another content type is FST_SSE_CONTENT_TYPE', async t => {
  for (const type of ['text/html', 'application/json', 'text/event-streams', 'text/plain, text/event-stream', 'application/text/event-stream']) {
    const error = await failure(t, 200, { 'content-type': type }, '<p>')
    t.equal(error.code, 'FST_SSE_CONTENT_TYPE', type)
    t.equal(error.status, 200)
    t.equal(error.message, `The server answered with type ${type}`)
  }
  t.equal((await failure(t, 200, {}, 'x')).code, 'FST_SSE_CONTENT_TYPE', 'none at all')
  const bodiless = async () => new Response(null, { headers: { 'content-type': 'text/event-stream' } })
  await t.rejects(request('http://there/', { fetch: bodiless }, FIRST, never), { code: 'FST_SSE_CONTENT_TYPE' }, 'nor is a response without a body a stream')
})

t.test('204 says that there is nothing more', async t => {
  const server = await Scripted.start(t, answers(204))
  t.equal(await request(server.url, {}, FIRST, never), undefined)
})

t.test('any other status is FST_SSE_STATUS, and says what the response said', async t => {
  for (const status of [201, 205, 206, 300, 400, 401, 403, 404, 408, 425, 429, 500, 503]) {
    const error = await failure(t, status, { 'content-type': 'text/event-stream', 'retry-after': '7', 'www-authenticate': 'Bearer' })
    t.equal(error.code, 'FST_SSE_STATUS')
    t.equal(error.status, status)
    t.equal(error.message, `The server answered with status ${status}`)
    t.equal(error.headers?.get('www-authenticate'), 'Bearer')
    t.equal(error.retryAfter, 7_000)
  }
})

t.test('the body of an answer that is no stream is not read, and its connection is free', async t => {
  for (const status of [200, 500]) {
    const server = await Scripted.start(t, ({ response }) => { response.writeHead(status, { 'content-type': 'text/html' }).write('<p>') })
    await t.rejects(request(server.url, {}, FIRST, never))
    t.equal(await within('the end of the response', (await server.request(1)).over), false)
  }
})

t.test('redirects are followed, each kind as fetch does', async t => {
  for (const [status, method, expected] of [[301, 'GET', 'GET'], [302, 'POST', 'GET'], [303, 'POST', 'GET'], [307, 'POST', 'POST'], [308, 'GET', 'GET']] as const) {
    const server = await Scripted.start(t, answers(status, { location: '/there' }), ends())
    const response = await request(server.url, { method, ...(method === 'POST' ? { body: 'hi' } : {}) }, { attempt: 1, lastEventId: 'e-5' }, never)
    await response!.text()
    const { method: used, url, body, headers } = await server.request(2)
    t.strictSame([used, url, body], [expected, '/there', expected === 'POST' ? 'hi' : ''], `${status}`)
    t.equal(headers['last-event-id'], 'e-5', 'the position goes with it')
  }
})

t.test('credentials go to another path, and not to another origin', async t => {
  const other = await Scripted.start(t, ends())
  const server = await Scripted.start(t, answers(307, { location: '/there' }), answers(307, { location: other.url }))
  const headers = { authorization: 'Bearer secret', cookie: 'session=secret' }
  const response = await request(server.url, { headers }, { attempt: 1, lastEventId: 'e-5' }, never)
  await response!.text()
  t.equal((await server.request(2)).headers.authorization, 'Bearer secret')
  const there = await other.request(1)
  t.notOk('authorization' in there.headers)
  t.notOk('cookie' in there.headers)
})

t.test('a redirect that is not to be followed is an error', async t => {
  const server = await Scripted.start(t, answers(307, { location: '/there' }))
  await t.rejects(request(server.url, { redirect: 'manual' }, FIRST, never), { code: 'FST_SSE_STATUS' })
  await t.rejects(request(server.url, { redirect: 'error' }, FIRST, never), TypeError)
})

t.test('who leaves is not kept waiting', async t => {
  const server = await Scripted.start(t, () => {}, streams())
  const controller = new AbortController()
  const answer = request(server.url, {}, FIRST, controller.signal)
  const { over } = await server.request(1)
  controller.abort(new Error('enough'))
  await t.rejects(within('the rejection', answer), { message: 'enough' })
  t.equal(await within('the end of the response', over), false)
})
