import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { invalidReason } from '../../lib/client/invalid-request.ts'
import { answers, Scripted } from '../setup/scripted.ts'

/** Returns the reason for the rejection of `fetch` in this Node. */
async function asked (url: string, init: RequestInit = {}, isGlobal = true): Promise<string | undefined> {
  const error: unknown = await fetch(url, init).then(() => { throw new Error('it was not refused') }, error => error)
  return invalidReason(error, url, init, isGlobal)
}

t.test('a request that fetch rejects has a reason, also with a fetch of the program', async t => {
  const cases: Array<[url: string, init: RequestInit, text: RegExp]> = [
    ['/events', {}, /URL/],
    ['htp://x/', {}, /scheme|not http/],
    ['http://127.0.0.1:1/', {}, /^bad port$/],
    ['http://a:b@127.0.0.1:9/', {}, /credentials/],
    ['http://127.0.0.1:9/', { body: 'x' }, /body/],
    ['http://127.0.0.1:9/', { method: 'a b' }, /method/],
    ['http://127.0.0.1:9/', { method: 'TRACE' }, /method/],
    ['http://127.0.0.1:9999/', { headers: { expect: '100-continue' } }, /./],
    ['http://127.0.0.1:9999/', { headers: { 'x-a': 'a\u0001b' } }, /invalid/],
    ['http://127.0.0.1:9999/', { method: 'POST', body: new ReadableStream() }, /duplex/]
  ]
  for (const [url, init, text] of cases) {
    t.match(await asked(url, init), text, `${url} ${JSON.stringify(init)}`)
    if (!/body|credentials|method|duplex/.test(text.source)) {
      t.match(await asked(url, init, false), text, `${url}, of another fetch`)
    }
  }
  const server = await Scripted.start(t, answers(302, { location: '/' }))
  t.match(await asked(server.url), /redirect/)
})

t.test('a failure of the network has no reason: no server, no name, a cut, no HTTP, a certificate', async t => {
  const closed = await Scripted.start(t, answers(204))
  const { url } = closed
  await closed.stop()
  t.equal(await asked(url), undefined)
  t.equal(await asked('http://name.invalid/'), undefined)
  for (const greeting of ['', 'SSH-2.0-OpenSSH\r\n\r\n']) {
    const server = createServer(socket => socket.end(greeting))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    t.equal(await asked(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`), undefined)
    t.equal(await asked(`https://127.0.0.1:${(server.address() as AddressInfo).port}/`), undefined)
  }
  t.equal(
    invalidReason(
      new Error('x', {
        cause: Object.assign(new Error('self-signed certificate'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
      }),
      url,
      {},
      true
    ),
    undefined
  )
})

t.test('in a browser every failure is a TypeError, and only a request that cannot be constructed is a mistake', async t => {
  const error = new TypeError('Failed to fetch')
  t.match(invalidReason(error, '/events', {}, true), /URL/)
  t.match(invalidReason(error, 'htp://x/', {}, true), /^htp: is not http: or https:$/)
  t.match(invalidReason(error, 'http://x/', { body: 'x' }, true), /body/)
  t.match(invalidReason(error, '/events', { body: 'x' }, false), /body/)
  t.equal(invalidReason(error, 'http://x/', {}, true), undefined)
  t.equal(invalidReason(error, '/events', {}, false), undefined, 'a fetch of the program may accept a path')
  t.equal(invalidReason(null, 'http://x/', { signal: AbortSignal.abort() }, true), undefined)
  const read = new ReadableStream()
  read.getReader()
  t.equal(invalidReason(error, 'http://x/', { method: 'POST', body: read, duplex: 'half' } as RequestInit, true),
    undefined, 'a body that was sent')
})

t.test('a rejection that names the field cache is a mistake', async t => {
  for (const text of [
    "The 'cache' field on 'RequestInitializerDict' is not implemented.",
    'Unsupported cache mode: no-store',
    'RequestInit.cache is not supported',
    'unknown `cache` option',
    'cache is not implemented'
  ]) {
    for (const error of [new TypeError(text), new Error(text)]) {
      for (const isGlobal of [true, false]) {
        t.equal(invalidReason(error, 'http://x/', { cache: 'no-store' }, isGlobal), `pass cache: undefined (${text})`)
      }
    }
    t.equal(invalidReason(new TypeError(text), 'http://x/', {}, false), undefined, 'there was no such field')
  }
})

t.test('a failure of the network with the word cache in it is no mistake', async t => {
  const failed = (message: string, code: string): Error => Object.assign(new Error(message), { code })
  for (const error of [
    failed('getaddrinfo ENOTFOUND cache', 'ENOTFOUND'),
    failed('connect ECONNREFUSED cache:80', 'ECONNREFUSED'),
    new Error('cache: no such host'),
    new Error('request to http://cache/events?mode=live failed, reason: not supported'),
    new Error('request to http://x/?cache=1&mode=live failed'),
    new Error('Unable to resolve host "cache.example.com"'),
    new Error('net::ERR_CACHE_MISS'),
    new Error('host "cache" is not reachable'),
    new Error('the request is not in the cache')
  ]) {
    t.equal(invalidReason(error, 'http://x/', { cache: 'no-store' }, true), undefined, error.message)
    t.equal(invalidReason(new TypeError('fetch failed', { cause: error }), 'http://x/', { cache: 'no-store' }, true),
      undefined, `caused: ${error.message}`)
  }
})
