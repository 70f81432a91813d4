import { once } from 'node:events'
import http2 from 'node:http2'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import sse, { type AnyEvent } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

type Test = Pick<typeof t, 'teardown'>
type Head = http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader

const overHttp2 = (): FastifyInstance => Fastify({ http2: true }) as unknown as FastifyInstance

/** The routes of the tests here, and how often their source was pulled. */
async function routes (app: FastifyInstance): Promise<{ pulls: number }> {
  const count = { pulls: 0 }
  await app.register(sse)
  app.get('/three', (_request, reply) => reply.sse((function * (): Generator<AnyEvent> {
    for (const data of ['a', 'b', 'c']) {
      count.pulls++
      yield { data }
    }
  })()))
  app.route({
    method: ['GET', 'HEAD'],
    url: '/own-head',
    handler: (_request, reply) => reply.sse({
      async * [Symbol.asyncIterator] (): AsyncGenerator<AnyEvent> {
        count.pulls++
        yield { data: 'a' }
        await new Promise(() => {})
      }
    })
  })
  app.get('/endless',
    (_request, reply) =>
      reply.sse(({ signal: _signal }) =>
        (async function * (): AsyncGenerator<AnyEvent> {
          count.pulls++
          yield { data: 'a' }
          await new Promise(() => {})
        })()
      ))
  app.get('/position', (request, reply) => reply.sse([{ data: request.lastEventId ?? 'none' }]))
  app.get('/once', (_request, reply) => reply.sse((function * (): Generator<AnyEvent> {
    count.pulls++
    yield { data: 'only' }
  })(), { finite: true }))
  return count
}

const THREE = 'data: a\n\ndata: b\n\ndata: c\n\n'
const dateless = (head: string): string => head.replace(/Date: .*/, 'Date: now')

t.test('W1: over HTTP/1.1 the head and the body are exactly these bytes', async t => {
  const app = Fastify()
  await routes(app)
  // A single event: on a busy machine several may take 10 ms, and then leave in more than one chunk.
  const client = await open(await listen(t, app), { path: '/position' })
  t.teardown(() => client.socket.destroy())
  await within('the end', client.until('0\r\n\r\n'))
  t.equal(dateless(client.received), [
    'HTTP/1.1 200 OK',
    'content-type: text/event-stream; charset=utf-8',
    'cache-control: no-cache, no-transform',
    'x-accel-buffering: no',
    'Date: now',
    // Node adds these three.
    'Connection: keep-alive',
    'Keep-Alive: timeout=72',
    'Transfer-Encoding: chunked',
    '',
    'c\r\ndata: none\n\n\r\n0\r\n\r\n'
  ].join('\r\n'))
})

for (const { kind, headers } of [{ kind: 'requests nothing special', headers: {} }, {
  kind: 'requests keep-alive',
  headers: { connection: 'keep-alive' }
}]) {
  t.test(`W1: an HTTP/1.0 client that ${kind} receives no chunks, and the end of the connection as the end`, async t => {
    const app = Fastify()
    await routes(app)
    const client = await open(await listen(t, app), { path: '/three', version: '1.0', headers })
    t.equal(await within('the end', client.closed), 'end')
    t.equal(dateless(client.received), [
      'HTTP/1.1 200 OK',
      'content-type: text/event-stream; charset=utf-8',
      'cache-control: no-cache, no-transform',
      'x-accel-buffering: no',
      'Date: now',
      'Connection: close',
      '',
      THREE
    ].join('\r\n'))
  })
}

t.test('W1: an HTTP/1.0 client receives each event when it is sent', async t => {
  const app = Fastify()
  await routes(app)
  const client = await open(await listen(t, app), { path: '/endless', version: '1.0' })
  t.teardown(() => client.socket.destroy())
  await within('the first event', client.until('\r\n\r\ndata: a\n\n'))
})

/** Sends a request over a new session. */
async function sendRequest (
  t: Test,
  port: number,
  headers: http2.OutgoingHttpHeaders
): Promise<{ head: Head, body: string }> {
  const session = http2.connect(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  const request = session.request(headers)
  const [head] = await once(request, 'response') as [Head]
  let body = ''
  for await (const chunk of request) body += String(chunk)
  session.close()
  return { head, body }
}

t.test('W1: over HTTP/2 the head has exactly these fields', async t => {
  const app = overHttp2()
  await routes(app)
  const { head, body } = await within('the answer', sendRequest(t, await listen(t, app), { ':path': '/three' }))
  // Entries, because Node adds a symbol.
  const { date, ...others } = Object.fromEntries(Object.entries(head))
  t.type(date, 'string')
  t.same(others, {
    ':status': 200,
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no'
  })
  t.equal(body, THREE)
})

for (const path of ['/endless', '/three', '/own-head']) {
  t.test(`L8: HEAD ${path} is answered with the head alone and does not touch the source`, async t => {
    const app = Fastify()
    const count = await routes(app)
    const client = await open(await listen(t, app), { method: 'HEAD', path })
    // The connection is free at once, as the response to the next request proves.
    client.request({ path: '/position' })
    await within('both answers', client.until('data: none\n\n\r\n0\r\n\r\n'))
    t.teardown(() => client.socket.destroy())
    t.equal(dateless(client.responses()[0]?.head ?? ''), [
      'HTTP/1.1 200 OK',
      'content-type: text/event-stream; charset=utf-8',
      'cache-control: no-cache, no-transform',
      'x-accel-buffering: no',
      'Date: now',
      'Connection: keep-alive',
      'Keep-Alive: timeout=72'
    ].join('\r\n'))
    t.match(client.responses()[1], { status: 200, body: 'data: none\n\n', complete: true })
    t.equal(count.pulls, 0)
  })

  t.test(`L8: HEAD ${path} over HTTP/2 is answered with the head alone and does not touch the source`, async t => {
    const app = overHttp2()
    const count = await routes(app)
    const { head, body } = await within('the answer',
      sendRequest(t, await listen(t, app), { ':path': path, ':method': 'HEAD' }))
    t.match(head, {
      ':status': 200,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no'
    })
    t.equal(body, '')
    t.equal(count.pulls, 0)
  })
}

t.test('W1: a connection is kept after a finite stream and serves the next request', async t => {
  const app = Fastify()
  await routes(app)
  const client = await open(await listen(t, app), { path: '/three' })
  t.teardown(() => client.socket.destroy())
  await within('the first end', client.until('0\r\n\r\n'))
  const first = client.received.length
  client.request({ path: '/three' })
  await within('the second end', client.until('0\r\n\r\n', first))
  t.same(client.responses().map(({ status, body, complete }) => ({ status, body, complete })),
    Array(2).fill({ status: 200, body: THREE, complete: true }))
})

t.test('W1: pipelined requests are answered in order', async t => {
  const app = Fastify()
  await routes(app)
  const client = await open(await listen(t, app), { path: '/position', headers: { 'last-event-id': '1' } })
  t.teardown(() => client.socket.destroy())
  client.request({ path: '/three' })
  client.request({ path: '/position', headers: { 'last-event-id': '3' } })
  await within('the third answer', client.until('data: 3\n\n\r\n0\r\n\r\n'))
  t.same(client.responses().map(response => response.body), ['data: 1\n\n', THREE, 'data: 3\n\n'])
})

t.test('W1: a stream behind an endless one on its connection waits, and is sent when the first one ends', async t => {
  const app = Fastify()
  await app.register(sse, { stallTimeout: 100, heartbeatInterval: 20 })
  let end!: () => void
  const ended = new Promise<void>(resolve => { end = resolve })
  app.get('/first', (_request, reply) => reply.sse((async function * (): AsyncGenerator<AnyEvent> {
    yield { data: 'a' }
    await ended
    yield { data: 'b' }
  })()))
  app.get('/second', (_request, reply) => reply.sse((async function * (): AsyncGenerator<AnyEvent> {
    yield { data: 'c' }
    // It has not ended when it becomes first.
    await ended
    yield { data: 'd' }
  })()))
  const client = await open(await listen(t, app), { path: '/first' })
  t.teardown(() => client.socket.destroy())
  client.request({ path: '/second' })
  await within('more heartbeats than the stallTimeout has', client.until('3\r\n:\n\n\r\n'.repeat(8)))
  end()
  await within('the last event', client.until('data: d\n\n'))
  await within('the end', client.until('0\r\n\r\n', client.received.indexOf('data: c')))
  t.same(client.responses().map(({ body, complete }) => ({ body: body.replaceAll(':\n\n', ''), complete })), [
    { body: 'data: a\n\ndata: b\n\n', complete: true },
    { body: 'data: c\n\ndata: d\n\n', complete: true }
  ])
})

/** The characters that Node sends as the UTF-8 bytes of a text. */
const bytesOf = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

const positions: Array<{ name: string, path?: string, headers?: Record<string, string>, seen: string }> = [
  { name: 'no position', seen: 'none' },
  { name: 'an ASCII id', headers: { 'Last-Event-ID': '17-3' }, seen: '17-3' },
  { name: 'a UTF-8 id', headers: { 'Last-Event-ID': bytesOf('žluťoučký-日本-🚀') }, seen: 'žluťoučký-日本-🚀' },
  { name: 'an id that is not UTF-8 is latin1', headers: { 'Last-Event-ID': 'a\u00ffb' }, seen: 'aÿb' },
  { name: 'a query parameter', path: '/position?lastEventId=17', seen: '17' },
  { name: 'a query parameter in UTF-8', path: `/position?lastEventId=${encodeURIComponent('日本')}`, seen: '日本' },
  { name: 'both: the header', path: '/position?lastEventId=17', headers: { 'Last-Event-ID': '18' }, seen: '18' },
  { name: 'an empty header', path: '/position?lastEventId=17', headers: { 'Last-Event-ID': '' }, seen: '' },
  { name: '10 KB of ASCII', headers: { 'Last-Event-ID': 'x'.repeat(10_240) }, seen: 'x'.repeat(10_240) },
  { name: '10 KB of UTF-8', headers: { 'Last-Event-ID': bytesOf('é'.repeat(5_120)) }, seen: 'é'.repeat(5_120) }
]

for (const { name, path = '/position', headers = {}, seen } of positions) {
  t.test(`W7: request.lastEventId of ${name}`, async t => {
    const app = Fastify()
    await routes(app)
    const client = await open(await listen(t, app), { path, headers: { ...headers, Connection: 'close' } })
    await within('the end', client.closed)
    t.equal(client.responses()[0]?.body, `data: ${seen}\n\n`)
  })
}

t.test('W7: any byte in Last-Event-ID is decoded, or rejected by Node as in any header', async t => {
  const app = Fastify()
  await routes(app)
  const port = await listen(t, app)
  let passed = 0
  for (let byte = 0; byte < 256; byte++) {
    const text = `a${String.fromCharCode(byte)}b`
    const client = await open(port, { path: '/position', headers: { 'Last-Event-ID': text, Connection: 'close' } })
    await within('the end', client.closed)
    const [response] = client.responses()
    if (response?.status === 400) continue
    passed++
    // A tab, and 0x20 to 0xff without DEL.
    t.equal(response?.body, `data: ${text}\n\n`, `0x${byte.toString(16)}`)
  }
  t.equal(passed, 1 + 0xe0 - 1)
})

t.test('W1: with finite the last frame is the end mark, and a reconnect with the mark gets 204 and no source', async t => {
  const app = Fastify()
  const count = await routes(app)
  const client = await open(await listen(t, app), { path: '/once' })
  t.teardown(() => client.socket.destroy())
  await within('the end', client.until('0\r\n\r\n'))
  const [, id = ''] = client.responses()[0]?.body.match(/\n\nevent: sse\.position\nid: (.+)\ndata: \n\n$/) ?? []
  t.equal(client.responses()[0]?.body, `data: only\n\nevent: sse.position\nid: ${id}\ndata: \n\n`)
  t.not(id, '')

  const first = client.received.length
  client.request({ path: '/once', headers: { 'Last-Event-ID': id } })
  client.request({ path: '/once', headers: { 'Last-Event-ID': 'another' } })
  await within('the third answer', client.until(`event: sse.position\nid: ${id}\ndata: \n\n\r\n0\r\n\r\n`, first))
  const [, second, third] = client.responses()
  t.equal(second?.status, 204)
  t.notMatch(second?.head, /content-type|content-length|transfer-encoding/i)
  t.match(third, { status: 200, body: `data: only\n\nevent: sse.position\nid: ${id}\ndata: \n\n` })
  t.equal(count.pulls, 2, 'not pulled for the second')
})

t.test('W1: the 204 of finite is also sent over HTTP/2 and for a query parameter', async t => {
  const app = overHttp2()
  const count = await routes(app)
  const port = await listen(t, app)
  const { body } = await within('the answer', sendRequest(t, port, { ':path': '/once' }))
  const id = body.match(/\n\nevent: sse\.position\nid: (.+)\ndata: \n\n$/)?.[1] ?? ''
  const { head, body: empty } = await within('the second answer',
    sendRequest(t, port, { ':path': `/once?lastEventId=${encodeURIComponent(id)}` }))
  t.equal(head[':status'], 204)
  t.equal(empty, '')
  t.equal(count.pulls, 1)
})
