import t from 'tap'
import { followRedirects } from '../../lib/client/redirect.ts'
import { request } from '../../lib/client/request.ts'
import type { StreamError } from '../../lib/client/stream-error.ts'
import { oddCancels } from '../setup/oddities.ts'
import { answers, ends, Scripted } from '../setup/scripted.ts'

const never = new AbortController().signal
const SECRET = {
  'x-api-key': 'secret',
  authorization: 'Bearer secret',
  accept: 'text/event-stream',
  'accept-language': 'de'
}

const ask = (url: string, init: RequestInit, lastEventId = 'e-5'): Promise<Response | undefined> =>
  request(url, init as object, { attempt: 1, lastEventId }, never)
const failure = (url: string, init: RequestInit): Promise<StreamError> =>
  ask(url, init).then(() => {
    throw new Error('it was followed')
  }, error => error)

t.test('headers of the program are sent to another path, not to another origin, and not back from there', async t => {
  const first: Scripted = await Scripted.start(t, answers(302, { location: '/there' }),
    asked => answers(307, { location: other.url })(asked), ends())
  const other = await Scripted.start(t, answers(308, { location: first.url }))
  await (await ask(first.url, { headers: SECRET }))!.text()
  t.match((await first.request(2)).headers, { ...SECRET, 'last-event-id': 'e-5' })
  for (const asked of [await other.request(1), await first.request(3)]) {
    t.notOk('x-api-key' in asked.headers)
    t.notOk('authorization' in asked.headers)
    t.match(asked.headers, {
      accept: 'text/event-stream',
      'accept-language': 'de',
      'last-event-id': 'e-5',
      'cache-control': 'no-cache'
    })
  }
})

t.test('methods and bodies change as with fetch', async t => {
  for (const [status, method, expected] of [[301, 'GET', 'GET'], [301, 'POST', 'GET'], [302, 'POST', 'GET'], [302,
    'PUT', 'PUT'], [303, 'PUT', 'GET'], [303, 'GET', 'GET'], [307, 'POST', 'POST'], [308, 'PUT', 'PUT']] as const) {
    const server = await Scripted.start(t, answers(status, { location: '/there' }), ends())
    const response = await ask(server.url, {
      method,
      headers: { 'x-api-key': '1', 'content-type': 'text/x' },
      ...method !== 'GET' && { body: 'hi' }
    })
    await response!.text()
    const { method: used, url, body, headers } = await server.request(2)
    const bodied = expected !== 'GET'
    t.strictSame([used, url, body, headers['content-type']], [expected, '/there', bodied ? 'hi' : '',
      bodied || method === 'GET' ? 'text/x' : undefined], `${status} ${method}`)
    t.equal(headers['x-api-key'], '1')
  }
})

t.test('E1: a redirect that cannot be followed is FST_SSE_REDIRECT, and ends it', async t => {
  const headers = { 'x-api-key': '1' }
  const cases: Array<[status: number, location: string, init: RequestInit, text: string]> = [
    [302, '/', { headers }, 'it is redirect 21'],
    [302, 'ftp://there/', { headers }, 'its target is ftp://there/'],
    [302, 'http://', { headers }, 'its target is http://'],
    [307, '/', { headers, method: 'POST', body: new Blob(['x']).stream(), duplex: 'half' } as RequestInit,
      'a body that is a stream cannot be sent again']
  ]
  for (const [status, location, init, text] of cases) {
    const server = await Scripted.start(t, answers(status, { location }, 'text'))
    t.match(await failure(server.url, init), {
      code: 'FST_SSE_REDIRECT',
      message: `The redirect is not followed: ${text}`,
      status
    })
  }
  const server = await Scripted.start(t, answers(302, { location: '/' }))
  t.match(await failure(server.url, {}), { code: 'FST_SSE_REDIRECT' }, 'nor is a circle that fetch follows')
})

t.test('a redirect without a target is a status, and so is a location with another status', async t => {
  for (const [status, headers] of [[302, {}], [201, { location: '/there' }]] as const) {
    const server = await Scripted.start(t, answers(status, headers))
    t.match(await failure(server.url, { headers: { 'x-api-key': '1' } }), { code: 'FST_SSE_STATUS', status })
  }
})

t.test('the redirect option of the program is used', async t => {
  const server = await Scripted.start(t, answers(302, { location: '/there' }))
  t.match(await failure(server.url, { headers: { 'x-api-key': '1' }, redirect: 'manual' }), {
    code: 'FST_SSE_STATUS',
    status: 302
  })
  t.match(await failure(server.url, { headers: { 'x-api-key': '1' }, redirect: 'error' }), { code: 'FST_SSE_REDIRECT' })
})

t.test('a fetch that accepts paths follows them', async t => {
  const asked: string[] = []
  const fetch = async (url: string | URL): Promise<Response> => {
    asked.push(String(url))
    return asked.length === 1
      ? new Response(null, { status: 302, headers: { location: 'there' } })
      : new Response('data: 1\n\n', { headers: { 'content-type': 'text/event-stream' } })
  }
  t.equal(
    (await request('/here/now', { fetch, headers: { 'x-api-key': '1' } }, { attempt: 1, lastEventId: '' }, never))
      ?.status,
    200
  )
  t.strictSame(asked, ['/here/now', 'http://localhost/here/there'])
})

t.test('a body whose cancel() fails or returns no promise does not stop a redirect', async t => {
  for (const [what, cancel] of oddCancels()) {
    const stream = new Response('data: 1\n\n', { headers: { 'content-type': 'text/event-stream' } })
    const redirect = {
      status: 302,
      headers: new Headers({ location: '/there' }),
      body: { cancel }
    } as unknown as Response
    const responses = [stream, redirect]
    const fetch = async (): Promise<Response> => responses.pop()!
    t.equal(await request('/here', { fetch, headers: { 'x-api-key': '1' } }, { attempt: 1, lastEventId: '' }, never),
      stream, what)
  }
})

t.test('if a browser hides the target, a GET is sent again such that the browser rejects another origin', async t => {
  t.intercept(globalThis, 'location', { value: new URL('http://there/page') })
  const opaque = { type: 'opaqueredirect', status: 0, headers: new Headers() } as Response
  const stream = new Response('')
  const sent: unknown[] = []
  const send = async (url: URL, { redirect, mode }: RequestInit): Promise<Response> => {
    sent.push(url.href, redirect, mode)
    return stream
  }
  t.equal(await followRedirects(send, '/events', { redirect: 'manual' }, opaque), stream)
  t.strictSame(sent, ['http://there/events', 'follow', 'same-origin'])
  t.equal(await followRedirects(async () => {
    throw new TypeError('Failed to fetch')
  }, '/events', {}, opaque), 'its target is another origin')
  for (const [url, method] of [['/events', 'POST'], ['http://other/', 'GET']]) {
    t.equal(await followRedirects(send, url!, { method: method! }, opaque), 'a page cannot see its target')
  }
  const nowhere = new Response(null, { status: 302 })
  t.equal(await followRedirects(send, '/events', {}, nowhere), nowhere)
})
