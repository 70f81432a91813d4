import t from 'tap'
import { legible } from '../../lib/client/callback.ts'
import { networkError, request, type RequestOptions } from '../../lib/client/request.ts'
import { StreamError } from '../../lib/client/stream-error.ts'
import { oddCancels, oddities } from '../setup/oddities.ts'
import { answers, ends, Scripted, streams, type Asked } from '../setup/scripted.ts'
import { within } from '../setup/within.ts'

const FIRST = { attempt: 1, lastEventId: '' }
type Owner = Parameters<typeof Scripted.start>[0]
const never = new AbortController().signal

/** Returns the request that a server receives. */
async function asked (t: Owner, options: RequestOptions, attempt = FIRST): Promise<Asked> {
  const server = await Scripted.start(t, ends())
  const response = await request(server.url, options, attempt, never)
  await response!.text()
  return server.request(1)
}

/** Returns the error for a response. */
async function failure (
  t: Owner,
  status: number,
  headers: Record<string, string> = {},
  body?: string
): Promise<StreamError> {
  const server = await Scripted.start(t, answers(status, headers, body))
  return await request(server.url, {}, FIRST, never).then(() => {
    throw new Error('it was taken for a stream')
  }, error => error)
}

t.test('a request accepts an event stream and bypasses caches', async t => {
  const { method, headers } = await asked(t, {})
  t.equal(method, 'GET')
  t.equal(headers.accept, 'text/event-stream, */*')
  t.equal(headers['cache-control'], 'no-cache')
  t.notOk('last-event-id' in headers)
})

t.test('any method, body and header is sent', async t => {
  const { method, headers, body } = await asked(t, {
    method: 'POST',
    body: '{"prompt":"hi"}',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream, application/json' }
  })
  t.equal(method, 'POST')
  t.equal(body, '{"prompt":"hi"}')
  t.equal(headers['content-type'], 'application/json')
  t.equal(headers.accept, 'text/event-stream, application/json')
})

t.test('headers have every form of fetch', async t => {
  for (const given of [{ 'X-A': 'a' }, [['X-A', 'a']] as Array<[string, string]>, new Headers({ 'X-A': 'a' }),
    () => ({ 'X-A': 'a' }), async () => new Headers({ 'X-A': 'a' })]) {
    t.equal((await asked(t, { headers: given })).headers['x-a'], 'a')
  }
  t.equal((await asked(t, { headers: () => undefined })).headers.accept, 'text/event-stream, */*')
})

t.test('headers, URL and body may be functions, which receive the attempt', async t => {
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

t.test('other options go to fetch, which the program may replace', async t => {
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

t.test('E1: a synchronous error of a function is FST_SSE_CALLBACK', async t => {
  const mistake = (): never => (undefined as unknown as { token: never }).token
  for (const [name, url, options] of [
    ['headers()', 'http://there/', { headers: mistake }],
    ['body()', 'http://there/', { method: 'POST', body: mistake }],
    ['url()', mistake, {}],
    ['fetch', 'http://there/', { fetch: () => { throw new Error("The 'cache' field is not implemented") } }],
    ['headers()', 'http://there/', { headers: async () => mistake() }],
    ['headers()', 'http://there/', { headers: async () => { throw new ReferenceError('x is not defined') } }],
    ['fetch', 'http://there/', { fetch: async () => { throw new ReferenceError('x is not defined') } }]
  ] as const) {
    await t.rejects(request(url, options as RequestOptions, FIRST, never), {
      code: 'FST_SSE_CALLBACK',
      message: new RegExp(`^${name.replace('()', '\\(\\)')} failed: `)
    })
  }
})

t.test('a rejection of a function is transient, like a failed request for a token; a StreamError stays as it is', async t => {
  const refused = await fetch('http://127.0.0.1:9999/').catch((error: unknown) => error)
  for (const [error, attempt] of [[new Error('401'), 1], [refused, 1], [new TypeError('Failed to fetch'), 2], [
    new SyntaxError('<p>'),
    1
  ]] as const) {
    await t.rejects(request('http://there/', { headers: () => Promise.reject(error) }, { ...FIRST, attempt }, never), {
      code: 'FST_SSE_NETWORK',
      cause: error as Error
    })
  }
  await t.rejects(
    request('http://there/', { headers: () => Promise.reject(new ReferenceError('x')) }, { ...FIRST, attempt: 2 },
      never),
    { code: 'FST_SSE_CALLBACK' }
  )
  const own = new StreamError('FST_SSE_STATUS', 'The token server refused')
  await t.rejects(request('http://there/', { headers: () => Promise.reject(own) }, FIRST, never), own)
})

t.test('a rejection of fetch is FST_SSE_NETWORK, with the message of its cause', async t => {
  for (const [error, message] of [
    [new Error('no route'), 'no route'],
    [
      new TypeError('fetch failed', {
        cause: Object.assign(new Error('self-signed certificate'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
      }),
      'self-signed certificate'
    ],
    [new TypeError('fetch failed', { cause: Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' }) }),
      'ECONNREFUSED'],
    [null, 'undefined']
  ] as const) {
    await t.rejects(request('http://there/', { fetch: () => Promise.reject(error) }, FIRST, never), {
      code: 'FST_SSE_NETWORK',
      message: `The connection failed: ${message}`
    })
  }
})

t.test('an unreadable rejection is FST_SSE_CALLBACK at every attempt, since no network causes it', async t => {
  for (const [what, thrown] of oddities()) {
    const code = legible(thrown) === thrown ? 'FST_SSE_NETWORK' : 'FST_SSE_CALLBACK'
    const reject = async (): Promise<never> => {
      throw thrown
    }
    for (const [name, options] of [['fetch', { fetch: reject }], ['headers()', { headers: reject }], ['body()', {
      method: 'POST',
      body: reject
    }]] as const) {
      for (const attempt of [1, 2]) {
        const error: StreamError = await request('http://there/', options, { ...FIRST, attempt }, never).then(() => {
          throw new Error('it was sent')
        }, error => error)
        t.match(error, { name: 'StreamError', code }, `${what}: ${name}`)
        if (code === 'FST_SSE_CALLBACK') t.equal(error.message, `${name} failed: the thrown value cannot be read`)
      }
    }
    const caused = { fetch: () => Promise.reject(new TypeError('fetch failed', { cause: thrown })) }
    await t.rejects(request('http://there/', caused, FIRST, never), {
      name: 'StreamError',
      code: /^FST_SSE_(NETWORK|CALLBACK)$/
    }, what)
    t.equal(networkError(thrown).code, 'FST_SSE_NETWORK', `${what}: a lost connection`)
  }
})

t.test('a fetch that rejects the option cache is FST_SSE_REQUEST, and the error names the value to pass', async t => {
  const refuses = new TypeError("The 'cache' field on 'RequestInitializerDict' is not implemented.")
  const fetch = async (_url: string | URL, { cache }: RequestInit): Promise<Response> => {
    if (cache !== undefined) throw refuses
    return new Response('', { headers: { 'content-type': 'text/event-stream' } })
  }
  await t.rejects(request('http://there/', { fetch }, FIRST, never), {
    code: 'FST_SSE_REQUEST',
    message: `fetch rejects the request: pass cache: undefined (${refuses.message})`,
    cause: refuses
  })
  t.equal((await request('http://there/', { fetch, cache: undefined }, FIRST, never))?.status, 200)
})

t.test('a body whose cancel() fails or returns no promise does not hide the error of the response', async t => {
  for (const [what, cancel] of oddCancels()) {
    const answering = (status: number, headers: Record<string, string> = {}): RequestOptions => ({
      fetch: async () => ({ status, headers: new Headers(headers), body: { cancel } }) as unknown as Response
    })
    t.equal(await request('http://there/', answering(204), FIRST, never), undefined, what)
    await t.rejects(request('http://there/', answering(503), FIRST, never), { code: 'FST_SSE_STATUS', status: 503 },
      what)
    await t.rejects(request('http://there/', answering(200, { 'content-type': 'text/html' }), FIRST, never), {
      code: 'FST_SSE_CONTENT_TYPE'
    }, what)
    await t.rejects(request('http://there/', answering(200, { 'content-type': 'text/event-stream' }), FIRST, never), {
      code: 'FST_SSE_RESPONSE'
    }, what)
  }
})

t.test('E1: a request that cannot be made is FST_SSE_REQUEST', async t => {
  const cases: Array<[url: string, options: RequestOptions]> = [
    ['/events', {}],
    ['htp://x/', {}],
    ['http://127.0.0.1:1/', {}],
    ['http://there/', { body: 'x' }],
    ['http://there/', { headers: { 'a b': '1' } }],
    ['http://there/', { headers: { 'x-a': '漢' } }],
    ['http://there/', { headers: 5 as never }],
    ['http://there/', { headers: () => 5 as never }]
  ]
  for (const [url, options] of cases) {
    await t.rejects(request(url, options, FIRST, never), { code: 'FST_SSE_REQUEST' }, url)
  }
})

t.test('E1: a result that is no Response, or has no streaming body, is FST_SSE_RESPONSE', async t => {
  const headers = new Headers({ 'content-type': 'text/event-stream' })
  for (const answer of [undefined, null, 5, {}, { status: 200, headers: { 'content-type': 'text/event-stream' } }]) {
    await t.rejects(request('http://there/', { fetch: async () => answer as never }, FIRST, never), {
      code: 'FST_SSE_RESPONSE',
      message: 'fetch returned no Response'
    })
  }
  for (const [what, thrown] of oddities()) {
    const answer = {
      status: 200,
      get headers () {
        throw thrown
      }
    } as unknown as Response
    await t.rejects(request('http://there/', { fetch: async () => answer }, FIRST, never), {
      name: 'StreamError',
      code: 'FST_SSE_RESPONSE'
    }, what)
  }
  for (const body of [undefined, null, 'data: 1\n\n', { on: () => {} }]) {
    const fetch = async () => ({ status: 200, headers, body }) as unknown as Response
    await t.rejects(request('http://there/', { fetch }, FIRST, never), {
      code: 'FST_SSE_RESPONSE',
      message: /React Native: expo\/fetch/
    })
  }
})

t.test('without support for caches, fetch gets no cache option', async t => {
  t.intercept(globalThis, 'Request', { value: class {} })
  const seen: boolean[] = []
  const fetch = async (_url: string | URL, init: RequestInit): Promise<Response> => {
    seen.push('cache' in init)
    return new Response('', { headers: { 'content-type': 'text/event-stream' } })
  }
  await request('http://there/', { fetch }, FIRST, never)
  await request('http://there/', { fetch, cache: 'default' }, FIRST, never)
  t.strictSame(seen, [false, true])
})

t.test('W7: a position that no header can carry is FST_SSE_POSITION, and no request is sent', async t => {
  const fetch = (): Promise<Response> => {
    throw new Error('it was asked for')
  }
  for (const lastEventId of ['a\u0001b', 'a\u007fb', 'a\nb', 'x'.repeat(16_385), 'x'.repeat(200_000),
    '漢'.repeat(5_462)]) {
    await t.rejects(request('http://there/', { fetch }, { attempt: 2, lastEventId }, never), {
      code: 'FST_SSE_POSITION'
    })
  }
  for (const id of ['a\tb', 'x'.repeat(8_000)]) {
    t.equal((await asked(t, {}, { attempt: 2, lastEventId: id })).headers['last-event-id'], id)
  }
})

t.test('the content type of an event stream may be written in any case, with parameters', async t => {
  for (const type of ['text/event-stream', 'text/event-stream; charset=utf-8', 'text/event-stream;charset=UTF-8',
    'Text/Event-Stream', 'text/event-stream ; x=y']) {
    const server = await Scripted.start(t, ends('', { 'content-type': type }))
    const response = await request(server.url, {}, FIRST, never)
    t.equal(response?.status, 200, type)
    await response?.text()
  }
})

t.test('another content type is FST_SSE_CONTENT_TYPE', async t => {
  for (const type of ['text/html', 'application/json', 'text/event-streams', 'text/plain, text/event-stream',
    'application/text/event-stream']) {
    const error = await failure(t, 200, { 'content-type': type }, '<p>')
    t.equal(error.code, 'FST_SSE_CONTENT_TYPE', type)
    t.equal(error.status, 200)
    t.equal(error.message, `The server answered with type ${type}`)
  }
  t.equal((await failure(t, 200, {}, 'x')).code, 'FST_SSE_CONTENT_TYPE', 'none at all')
  const bodiless = async () => new Response(null, { headers: { 'content-type': 'text/event-stream' } })
  await t.rejects(request('http://there/', { fetch: bodiless }, FIRST, never), { code: 'FST_SSE_RESPONSE' },
    'nor is a response without a body a stream')
})

t.test('204 ends the stream', async t => {
  const server = await Scripted.start(t, answers(204))
  t.equal(await request(server.url, {}, FIRST, never), undefined)
})

t.test('any other status is FST_SSE_STATUS, with the status and the headers', async t => {
  for (const status of [201, 205, 206, 300, 400, 401, 403, 404, 408, 425, 429, 500, 503]) {
    const error = await failure(t, status, {
      'content-type': 'text/event-stream',
      'retry-after': '7',
      'www-authenticate': 'Bearer'
    })
    t.equal(error.code, 'FST_SSE_STATUS')
    t.equal(error.status, status)
    t.equal(error.message, `The server answered with status ${status}`)
    t.equal(error.headers?.get('www-authenticate'), 'Bearer')
    t.equal(error.retryAfter, 7_000)
  }
})

t.test('the body of a response that is no stream is not read, and its connection is released', async t => {
  for (const status of [200, 500]) {
    const server = await Scripted.start(t, ({ response }) => {
      response.writeHead(status, { 'content-type': 'text/html' }).write('<p>')
    })
    await t.rejects(request(server.url, {}, FIRST, never))
    t.equal(await within('the end of the response', (await server.request(1)).over), false)
  }
})

t.test('redirects are followed, each kind as fetch does', async t => {
  for (const [status, method, expected] of [[301, 'GET', 'GET'], [302, 'POST', 'GET'], [303, 'POST', 'GET'], [307,
    'POST', 'POST'], [308, 'GET', 'GET']] as const) {
    const server = await Scripted.start(t, answers(status, { location: '/there' }), ends())
    const response = await request(server.url, { method, ...(method === 'POST' ? { body: 'hi' } : {}) }, {
      attempt: 1,
      lastEventId: 'e-5'
    }, never)
    await response!.text()
    const { method: used, url, body, headers } = await server.request(2)
    t.strictSame([used, url, body], [expected, '/there', expected === 'POST' ? 'hi' : ''], `${status}`)
    t.equal(headers['last-event-id'], 'e-5', 'the position is sent with it')
  }
})

t.test('credentials are sent to another path, and not to another origin', async t => {
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

t.test('a redirect with redirect: error is an error', async t => {
  const server = await Scripted.start(t, answers(307, { location: '/there' }))
  await t.rejects(request(server.url, { redirect: 'manual' }, FIRST, never), { code: 'FST_SSE_STATUS' })
  await t.rejects(request(server.url, { redirect: 'error' }, FIRST, never), { code: 'FST_SSE_REDIRECT' })
})

t.test('an abort rejects at once', async t => {
  const server = await Scripted.start(t, () => {}, streams())
  const controller = new AbortController()
  const answer = request(server.url, {}, FIRST, controller.signal)
  const { over } = await server.request(1)
  controller.abort(new Error('enough'))
  await t.rejects(within('the rejection', answer), { message: 'enough' })
  t.equal(await within('the end of the response', over), false)
})
