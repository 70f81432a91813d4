import { createHook } from 'node:async_hooks'
import type { ServerResponse } from 'node:http'
import http2 from 'node:http2'
import { EventEmitter, once } from 'node:events'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import sse, { StreamClosedError, type AnyEvent, type CloseReport } from '../../lib/index.ts'
import { timersAndSockets } from '../setup/leftovers.ts'
import { listen } from '../setup/listen.ts'
import { open, type RawClient } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

const overHttp2 = (): FastifyInstance => Fastify({ http2: true }) as unknown as FastifyInstance
const BIG = 'x'.repeat(16 * 1024)

/** The kinds of streams at the shutdown of the server. */
const sources: Record<string, (signal: AbortSignal) => AsyncGenerator<AnyEvent>> = {
  async * busy () {
    for (let n = 0; ; n++) {
      yield { data: n }
      await turn()
    }
  },
  async * idle (signal) {
    yield { data: 'first' }
    await delay(1e8, undefined, { signal })
  },
  async * stalled () {
    for (;;) yield { data: BIG }
  },
  async * headless (signal) {
    await delay(1e8, undefined, { signal })
  }
}
const SEEN: Record<string, string> = { busy: 'data: 5\n\n', idle: 'data: first\n\n' }

class Streams {
  open = 0
  pulled = 0
  readonly finals: string[] = []
  readonly reports: CloseReport[] = []
  readonly reasons: unknown[] = []

  async register (app: FastifyInstance): Promise<void> {
    await app.register(sse, { flushHeadersAfter: 1e8, onClose: report => { this.reports.push(report) } })
    for (const [name, source] of Object.entries(sources)) {
      app.get(`/${name}`, (_request, reply) => {
        this.open++
        return reply.sse(({ signal }) => {
          signal.addEventListener('abort', () => this.reasons.push(signal.reason))
          return this.#watched(name, source(signal))
        })
      })
    }
  }

  async * #watched (name: string, events: AsyncGenerator<AnyEvent>): AsyncGenerator<AnyEvent> {
    try {
      for await (const event of events) {
        this.pulled++
        yield event
      }
    } finally {
      this.finals.push(name)
    }
  }
}

t.test('L7: app.close() ends a hundred busy, idle, stalled and headless streams cleanly', async t => {
  const before = timersAndSockets()
  const app = Fastify()
  const streams = new Streams()
  await streams.register(app)
  const port = await listen(t, app)
  const clients: Array<{ name: string, client: RawClient }> = []
  for (let n = 0; n < 100; n++) {
    const name = Object.keys(sources)[n % 4]!
    const client = await open(port, { path: `/${name}`, pauseOnConnect: name === 'stalled' })
    t.teardown(() => client.socket.destroy())
    clients.push({ name, client })
  }
  await within('the busy and the idle',
    Promise.all(clients.map(({ name, client }) => SEEN[name] === undefined ? undefined : client.until(SEEN[name]))))
  while (streams.open < 100) await turn()
  // The stalled streams are full; the busy streams write once a turn.
  await delay(200)

  const started = performance.now()
  await within('app.close()', app.close())
  t.comment(`closed after ${(performance.now() - started).toFixed(0)} ms`)
  for (const { name, client } of clients) {
    if (name === 'stalled') continue
    t.equal(await within('the end', client.closed), 'end', `${name}: a clean end`)
    const [response] = client.responses()
    t.match(response, { status: 200, complete: true, headers: { 'content-type': 'text/event-stream; charset=utf-8' } },
      `${name}: the last chunk`)
    t.ok(response?.body === '' || response?.body.endsWith('\n\n'), `${name}: no half a frame`)
  }
  t.same(streams.reports.map(report => report.reason), Array(100).fill('shutdown'))
  t.equal(streams.reasons.length, 100)
  for (const reason of streams.reasons) {
    if (!(reason instanceof StreamClosedError) || reason.reason !== 'shutdown') {
      t.fail('a source got another reason', { reason })
    }
  }
  await turn()
  t.equal(streams.finals.length, 100, 'every finally ran')
  for (const { client } of clients) client.socket.destroy()
  await Promise.all(clients.map(({ client }) => client.closed))
  await turn()
  t.same(timersAndSockets(), before, 'no timer and no socket remains')
})

t.test('L7: app.close() ends busy, idle, stalled and headless streams over HTTP/2', async t => {
  const app = overHttp2()
  const streams = new Streams()
  await streams.register(app)
  const port = await listen(t, app)
  const visits = Object.keys(sources).map(name => {
    // One session each: the window of a session is shared, and the stalled stream fills it.
    const session = http2.connect(`http://127.0.0.1:${port}`)
    session.on('error', () => {})
    t.teardown(() => session.destroy())
    const request = session.request({ ':path': `/${name}` })
    request.on('error', () => {})
    let body = ''
    if (name !== 'stalled') request.on('data', (chunk: Buffer) => { body += chunk.toString() })
    return { name, request, body: () => body, closed: new Promise(resolve => request.once('close', resolve)) }
  })
  for (const { name, request, body } of visits) {
    while (SEEN[name] !== undefined && !body().includes(SEEN[name])) await once(request, 'data')
  }
  while (streams.open < visits.length) await turn()
  await delay(200)
  await within('app.close()', app.close())
  for (const { name, request, body, closed } of visits) {
    if (name === 'stalled') continue
    await within(`the end of ${name}`, closed)
    t.equal(request.rstCode, http2.constants.NGHTTP2_NO_ERROR, `${name}: no reset`)
    t.ok(request.readableEnded, `${name}: the end was sent`)
    t.ok(body() === '' || body().endsWith('\n\n'), `${name}: no half a frame`)
  }
  t.same(streams.reports.map(report => report.reason), Array(visits.length).fill('shutdown'))
  await turn()
  t.same(streams.finals.sort(), Object.keys(sources).sort(), 'every finally ran')
})

t.test('L7: app.close() waits for a client that has not yet read its last event', async t => {
  const app = Fastify()
  await app.register(sse)
  let raw: ServerResponse | undefined
  app.get('/', (_request, reply) => {
    raw = reply.raw
    return reply.sse((async function * (): AsyncGenerator<AnyEvent> {
      yield { data: 'x'.repeat(8 * 1024 * 1024) }
      await new Promise(() => {})
    })())
  })
  const client = await open(await listen(t, app), { pauseOnConnect: true })
  t.teardown(() => client.socket.destroy())
  while ((raw?.writableLength ?? 0) === 0) await turn()
  const closed = app.close()
  await turn()
  client.resume()
  await within('app.close()', closed)
  t.equal(await within('the clean end', client.closed), 'end')
  t.match(client.responses()[0], { complete: true, body: /x\n\nretry: \d+\n\n$/ }, 'the whole event, and the end')
})

t.test('L7: events published before app.close(), or when it began, reach all subscribers before their end', async t => {
  const app = Fastify()
  await app.register(sse)
  const news = app.sse.channel('news')
  let free!: () => void
  const freed = new Promise<{ data: string }>(resolve => { free = () => resolve({ data: 'snapshot' }) })
  // They open their streams before the others, and subscribe after them: they are notified last and ended first.
  app.get('/late', (_request, reply) => reply.sse(news.subscribe({ snapshot: () => freed })))
  app.get('/', (_request, reply) => reply.sse(news))
  app.sse.shutdownSignal.addEventListener('abort', () => news.publish({ data: 'goodbye' }))
  const port = await listen(t, app)
  const late = await Promise.all(Array.from({ length: 20 }, () => open(port, { path: '/late' })))
  while (news.subscribers < late.length) await turn()
  const clients = await Promise.all(Array.from({ length: 300 }, () => open(port)))
  await Promise.all(clients.map(client => client.until(': live\n')))
  free()
  await Promise.all(late.map(client => client.until('snapshot\n\n')))
  news.publish({ data: 'last' })
  await within('app.close()', app.close())
  for (const client of [...late, ...clients]) {
    await client.closed
    t.match(client.responses()[0]!.body, /data: last\n\nid: \S+-2\ndata: goodbye\n\nretry: \d+\n\n$/)
  }
})

for (const { version, make } of [{ version: 'HTTP/1.1', make: () => Fastify() }, {
  version: 'HTTP/2',
  make: overHttp2
}]) {
  t.test(`L8: a handler that opens its stream during the shutdown is answered with 503 and Retry-After (${version})`, async t => {
    const app = make()
    const reports: CloseReport[] = []
    await app.register(sse, { onClose: report => { reports.push(report) } })
    let arrived!: () => void
    let free!: () => void
    const arrival = new Promise<void>(resolve => { arrived = resolve })
    const held = new Promise<void>(resolve => { free = resolve })
    let read = 0
    app.get('/', async (_request, reply) => {
      arrived()
      await held
      return await reply.sse((async function * (): AsyncGenerator<AnyEvent> {
        read++
        yield { data: 'never' }
      })())
    })
    let closing!: () => void
    const began = new Promise<void>(resolve => { closing = resolve })
    // Runs after the hook of the plugin.
    app.addHook('preClose', async () => closing())
    const port = await listen(t, app)
    const answer = version === 'HTTP/2' ? askHttp2(t, port) : askHttp1(port)
    await within('the handler', arrival)
    const closed = app.close()
    await within('preClose', began)
    free()
    const { status, headers, body } = await within('the answer', answer)
    t.equal(status, 503)
    t.match(headers, { 'retry-after': /^\d+$/, 'content-type': 'application/problem+json' })
    t.match(JSON.parse(body), { code: 'FST_SSE_CLOSING', status: 503 })
    await within('app.close()', closed)
    t.equal(read, 0, 'the source was not read')
    t.same(reports, [], 'it was never a stream')
  })
}

interface Answer { status: number, headers: Record<string, unknown>, body: string }

async function askHttp1 (port: number): Promise<Answer> {
  const client = await open(port)
  await client.closed
  return client.responses()[0]!
}

async function askHttp2 (t: { teardown: (fn: () => unknown) => unknown }, port: number): Promise<Answer> {
  const session = http2.connect(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  const request = session.request({ ':path': '/' })
  const [headers] = await once(request, 'response') as [http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader]
  let body = ''
  for await (const chunk of request) body += String(chunk)
  // Node waits for sessions, busy or not.
  session.close()
  return { status: headers[':status'] ?? 0, headers, body }
}

t.test('L7: after app.close() no timer of the plugin is left, not even an unreferenced one', async t => {
  const alive = new Map<number, string>()
  const hooked = new EventEmitter()
  const hook = createHook({
    init (id, type) {
      const { stack = '' } = type === 'Timeout' ? new Error('made here') : {}
      // Created by a file of the plugin, not by a function that it called.
      const caller = stack.split('\n').slice(2).find(line => !line.includes('node:'))
      if (caller === undefined || caller.includes('node_modules') || !/[\\/]lib[\\/]/.test(caller)) return
      alive.set(id, stack)
      // The shared timer, and one for each head.
      if (alive.size === 4) hooked.emit('enough')
    },
    destroy (id) { alive.delete(id) }
  }).enable()
  t.teardown(() => hook.disable())
  const app = Fastify()
  await app.register(sse, { flushHeadersAfter: 1e6, maxLifetime: 1e6 })
  app.get('/', (_request, reply) =>
    reply.sse((async function * (): AsyncGenerator<AnyEvent> {
      await new Promise(() => {})
    })()))
  const port = await listen(t, app)
  const enough = once(hooked, 'enough')
  const clients = await Promise.all([1, 2, 3].map(() => open(port)))
  await within('the timers', enough)
  await within('app.close()', app.close())
  await Promise.all(clients.map(client => client.closed))
  await turn()
  t.same([...alive.values()], [])
})
