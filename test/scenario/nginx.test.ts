import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http2 from 'node:http2'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { EventQueue, type Channel, type RegisterOptions } from '../../lib/index.ts'
import { redisLog } from '../../lib/redis.ts'
import { Nginx, type HttpBlock } from '../setup/nginx.ts'
import { absent, NGINX, REDIS } from '../setup/programs.ts'
import { open, type RawClient, type RawRequest } from '../setup/raw.ts'
import { RedisServer } from '../setup/redis.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

// The configuration of lib/server/proxies.md, between real clients and real nodes. The effect of a line is shown by
// replacing it.

const SNIPPET = /^```nginx\n([^]*?)^```$/m.exec(readFileSync('lib/server/proxies.md', 'utf8'))?.[1] ?? ''

const soon = <T>(what: string, promise: Promise<T>): Promise<T> => within(what, promise)

type Change = readonly [from: string | RegExp, to: string]

/** Replaces texts of the snippet. Each must be in it: the snippet may have been rewritten. */
function changed (text: string, changes: readonly Change[]): string {
  return changes.reduce((before, [from, to]) => {
    if (before.search(from) === -1) throw new Error(`${String(from)} is not in the snippet of proxies.md`)
    return before.replace(from, to)
  }, text)
}

/** HTTP/1.1 on the first port, HTTP/2 on the second: the port replaces the negotiation of TLS. */
const behind = ([one, two = one]: Node[], ...changes: Change[]): HttpBlock => (port, other) => changed(SNIPPET, [
  ['10.0.0.1:3000', `127.0.0.1:${one!.port}`],
  ['10.0.0.2:3000', `127.0.0.1:${two!.port}`],
  ['listen 443 ssl http2;', `listen 127.0.0.1:${port}; listen 127.0.0.1:${other} http2;\n`],
  [/ssl_certificate .*/, ''],
  [/ssl_certificate_key .*/, ''],
  ...changes
])

const EVENTS = { message: Type.Integer() }
const HISTORY = { maxEvents: 1_000, maxBytes: 1_000_000, maxAge: Infinity }

interface Node {
  app: FastifyInstance
  port: number
  news: Channel<typeof EVENTS>
  queue: EventQueue
  signals: AbortSignal[]
  connections: number
}
interface NodeOptions extends RegisterOptions {
  name?: string
  port?: number
  routes?: (app: FastifyInstance) => void
}

async function nodeOf (t: Test, { name = 'one', port = 0, routes, ...options }: NodeOptions = {}): Promise<Node> {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(sse, options)
  const news = app.sse.channel('news', { events: EVENTS, history: HISTORY })
  const node: Node = { app, port, news, queue: new EventQueue(), signals: [], connections: 0 }
  app.server.on('connection', () => { node.connections++ })
  app.addHook('onRequest', async (_request, reply) => { reply.header('x-node', name) })
  app.get('/hello', async () => 'hello')
  app.get('/events/news', { schema: { sse: EVENTS } }, (request, reply) => {
    node.signals.push(request.signal)
    return reply.sse(news)
  })
  for (const path of ['/queue', '/events/queue']) app.get(path, (_request, reply) => reply.sse(node.queue))
  routes?.(app)
  node.port = Number(new URL(await app.listen({ port, host: '127.0.0.1' })).port)
  return node
}

/** Ends the node as a crash would, seen from nginx. */
function kill ({ app }: Node): void {
  app.server.close()
  app.server.closeAllConnections()
}

async function openClient (t: Test, nginx: Nginx, request: RawRequest = {}): Promise<RawClient> {
  const client = await open(nginx.port, { path: '/events/news', ...request })
  t.teardown(() => client.socket.destroy())
  return client
}

/** Status and node of that many responses, each over its own connection. */
async function statusesOf (nginx: Nginx, path = '/hello', count = 1, method = 'GET'): Promise<string[]> {
  const answers: string[] = []
  while (answers.length < count) {
    const client = await open(nginx.port, { path, method, headers: { connection: 'close' } })
    await soon('the head', client.until('\r\n\r\n'))
    const { status, headers } = client.responses()[0]!
    answers.push([status, headers['x-node'] ?? []].flat().join(' '))
    if ('content-length' in headers) await soon('the end', client.closed)
    else client.socket.destroy()
  }
  return answers
}

interface Multiplexed { request: http2.ClientHttp2Stream, until: (text: string) => Promise<void> }

/** Opens that many streams on one connection. */
async function multiplex (t: Test, nginx: Nginx, count: number): Promise<Multiplexed[]> {
  const session = http2.connect(`http://127.0.0.1:${nginx.other}`)
  t.teardown(() => session.destroy())
  return Promise.all(upTo(count).map(async () => {
    const request = session.request({ ':path': '/events/news' })
    let received = ''
    request.setEncoding('utf8').on('data', text => {
      received += text
    })
    const until = async (text: string): Promise<void> => {
      while (!received.includes(text)) await once(request, 'data')
    }
    await soon('the position', until('-0\ndata: \n\n'))
    return { request, until }
  }))
}

const aborted = async (signal: AbortSignal): Promise<unknown> => {
  if (!signal.aborted) await soon('the abort', once(signal, 'abort'))
  return signal.reason
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1)
const framed = (n: number): string => `data: ${n}\n\n`
const eventsOf = (client: RawClient): string[] =>
  client.frames().filter(frame => frame.includes('data: ') && !frame.includes('event: sse.position'))
const idsOf = ({ received }: RawClient): string[] => [...received.matchAll(/^id: (\w+-\d+)$/gm)].map(([, id]) => id!)

t.test('behind nginx', { skip: absent(NGINX), jobs: 4 }, async t => {
  for (const path of ['/events/queue', '/queue']) {
    t.test(`${path}: the head arrives before the first event, and each event when it is sent`, async t => {
      const node = await nodeOf(t)
      const client = await openClient(t, await Nginx.start(t, behind([node])), { path })
      await soon('the head', client.until('\r\n\r\n'))
      t.notOk(client.received.includes('data:'))
      const { status, headers } = client.responses()[0]!
      t.match({ status, ...headers }, {
        status: 200,
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache, no-transform'
      })
      for (const name of ['content-length', 'content-encoding', 'x-accel-buffering']) t.notOk(name in headers, name)
      for (const n of upTo(5)) {
        await node.queue.push({ data: n })
        await soon('the event', client.until(framed(n)))
      }
      node.queue.end()
      await soon('the end', client.until('0\r\n\r\n'))
      t.strictSame(eventsOf(client), upTo(5).map(n => `data: ${n}`))
    })
  }

  t.test('a burst arrives complete and in order', async t => {
    const events = upTo(20_000).map(n => ({ data: `${n} ${'x'.repeat(100)}` }))
    const node = await nodeOf(t, { routes: app => app.get('/events/burst', (_request, reply) => reply.sse(events)) })
    const client = await openClient(t, await Nginx.start(t, behind([node])), { path: '/events/burst' })
    await soon('the end', client.until('\r\n0\r\n\r\n'))
    const { body, complete } = client.responses()[0]!
    t.ok(complete)
    t.ok(body === events.map(({ data }) => `data: ${data}\n\n`).join(''))
  })

  for (const { version, marked, buffering, passes } of [
    { version: '1.0', marked: false, buffering: 'on', passes: false },
    { version: '1.0', marked: true, buffering: 'on', passes: true },
    { version: '1.0', marked: false, buffering: 'off', passes: true },
    { version: '1.1', marked: false, buffering: 'on', passes: true }
  ]) {
    t.test(`HTTP/${version} to the node, proxy_buffering ${buffering}, ${marked ? '' : 'no '}X-Accel-Buffering: an event ${passes ? 'is passed on' : 'waits for the end of the stream'}`, async t => {
      const node = await nodeOf(t, {
        routes: app =>
          app.addHook('onSend', async (_request, reply) => {
            if (!marked) reply.removeHeader('x-accel-buffering')
          })
      })
      const nginx = await Nginx.start(t,
        behind([node], ['proxy_http_version 1.1', `proxy_http_version ${version}`], ['proxy_buffering off',
          `proxy_buffering ${buffering}`]))
      const client = await openClient(t, nginx, { path: '/events/queue' })
      await soon('the reader', node.queue.push({ data: 1 }))
      // nginx had the event before these requests, and has sent everything before it answers them.
      await statusesOf(nginx, '/hello', 2)
      t.equal(client.received.includes(framed(1)), passes)
      node.queue.end()
      await soon('the end', client.until('0\r\n\r\n'))
      t.ok(client.responses()[0]!.body.endsWith(framed(1)))
    })
  }

  t.test('a client that does not read pauses its source, and is disconnected after stallTimeout', async t => {
    let closed!: (reason: string) => void
    const over = new Promise<string>(resolve => { closed = resolve })
    const node = await nodeOf(t, {
      stallTimeout: 200,
      onClose: ({ reason }) => closed(reason),
      routes: app =>
        app.get('/events/endless', (_request, reply) =>
          reply.sse((function * () {
            for (;;) yield { data: 'x'.repeat(1_000) }
          })()))
    })
    await openClient(t, await Nginx.start(t, behind([node])), { path: '/events/endless', pauseOnConnect: true })
    t.equal(await soon('the end', over), 'stalled')
  })

  t.test('heartbeats keep a silent stream open beyond proxy_read_timeout; without them it is cut', async t => {
    const node = await nodeOf(t, {
      heartbeatInterval: 100,
      routes: app =>
        app.get('/events/silent', (_request, reply) => reply.sse(new EventQueue(), { heartbeatInterval: 0 }))
    })
    const nginx = await Nginx.start(t, behind([node], ['proxy_read_timeout 60s', 'proxy_read_timeout 4s']))
    const beating = await openClient(t, nginx, { path: '/events/queue' })
    await soon('the head', beating.until('\r\n\r\n'))
    const silent = await openClient(t, nginx, { path: '/events/silent' })
    t.equal(await soon('the cut', silent.closed), 'end')
    t.match(silent.responses(), [{ status: 200, body: ':\n\n', complete: false }])
    await nginx.logs('upstream timed out')
    await node.queue.push({ data: 1 })
    await soon('the event', beating.until(framed(1)))
    t.ok(beating.frames().filter(frame => frame === ':').length > 2)
  })

  t.test('the position is passed in both directions: a reconnecting client receives the missed events', async t => {
    const node = await nodeOf(t)
    const nginx = await Nginx.start(t, behind([node]))
    const client = await openClient(t, nginx)
    await client.until('-0\ndata: \n\n')
    await node.news.publish({ data: 1 })
    await soon('the event', client.until(framed(1)))
    client.fin()
    const id = await node.news.publish({ data: 2 })
    const back = await openClient(t, nginx, { headers: { 'Last-Event-ID': idsOf(client).at(-1)! } })
    await soon('the missed events', back.until(framed(2)))
    const last = await node.news.publish({ data: 3 })
    await soon('the next event', back.until(framed(3)))
    t.strictSame(eventsOf(back), [`id: ${id}\ndata: 2`, `id: ${last}\ndata: 3`])
    await node.news.end()
    const over = await openClient(t, nginx, { headers: { 'Last-Event-ID': last } })
    await soon('the answer', over.until('\r\n\r\n'))
    t.match(over.received, /^HTTP\/1.1 204 /)
  })

  for (const { title, changes, connections } of [
    { title: 'requests share one connection to each node', changes: [], connections: 2 },
    {
      title: 'over HTTP/1.0 each request opens a connection',
      changes: [['proxy_http_version 1.1', 'proxy_http_version 1.0']] as const,
      connections: 20
    },
    {
      title: 'where Connection says close each request opens a connection',
      changes: [["Connection ''", 'Connection close']] as const,
      connections: 20
    }
  ]) {
    t.test(title, async t => {
      const nodes = [await nodeOf(t), await nodeOf(t, { name: 'two' })]
      t.strictSame(await statusesOf(await Nginx.start(t, behind(nodes, ...changes)), '/hello', 20),
        Array(10).fill(['200 one', '200 two']).flat())
      t.equal(nodes[0]!.connections + nodes[1]!.connections, connections)
    })
  }

  for (const leave of ['fin', 'reset'] as const) {
    t.test(`request.signal aborts when a client disconnects by ${leave}`, async t => {
      const node = await nodeOf(t)
      const client = await openClient(t, await Nginx.start(t, behind([node])))
      await soon('the position', client.until('-0\ndata: \n\n'))
      client[leave]()
      t.match(await aborted(node.signals[0]!), { reason: 'client' })
    })
  }

  t.test('over HTTP/2 many streams share one connection: a cancelled stream aborts its own signal, and the others continue', async t => {
    const node = await nodeOf(t)
    const [first, ...others] = await multiplex(t, await Nginx.start(t, behind([node])), 20)
    await node.news.publish({ data: 1 })
    await soon('the event', Promise.all([first!, ...others].map(({ until }) => until(framed(1)))))
    first!.request.close(http2.constants.NGHTTP2_CANCEL)
    await soon('the abort', Promise.any(node.signals.map(aborted)))
    t.equal(node.signals.filter(signal => signal.aborted).length, 1)
    await node.news.publish({ data: 2 })
    await soon('the next event', Promise.all(others.map(({ until }) => until(framed(2)))))
    others[0]!.request.session!.destroy()
    t.match(await Promise.all(node.signals.map(aborted)), Array(20).fill({ reason: 'client' }))
  })

  t.test('requests are sent to the other node when one is lost, including the first of them', async t => {
    const [one, two] = [await nodeOf(t), await nodeOf(t, { name: 'two' })]
    const nginx = await Nginx.start(t, behind([one, two]))
    const client = await openClient(t, nginx)
    await soon('the position', client.until('-0\ndata: \n\n'))
    t.equal(client.responses()[0]!.headers['x-node'], 'one')
    kill(one)
    t.strictSame(await statusesOf(nginx, '/events/news', 4), Array(4).fill('200 two'))
    kill(two)
    t.strictSame(await statusesOf(nginx, '/events/news'), ['502'])
  })

  for (const [version, complete] of [['1.1', false], ['1.0', true]] as const) {
    t.test(`over HTTP/${version} a stream whose node is lost ${complete ? 'looks' : 'does not look'} complete`, async t => {
      const node = await nodeOf(t)
      const client = await openClient(t,
        await Nginx.start(t, behind([node], ['proxy_http_version 1.1', `proxy_http_version ${version}`])))
      await soon('the position', client.until('-0\ndata: \n\n'))
      kill(node)
      await soon('the end', complete ? client.until('\r\n0\r\n\r\n') : client.closed)
      t.equal(client.responses()[0]!.complete, complete)
    })
  }

  for (const { limit, change, answers } of [
    { limit: 'max_fails=0', change: [], answers: ['200 one', '200 one'] },
    {
      limit: 'max_fails=1',
      change: [[/max_fails=0/g, 'max_fails=1 fail_timeout=60s']] as const,
      answers: ['502', '502']
    }
  ]) {
    t.test(`two nodes that restart one after the other, with ${limit}: ${answers[0]}`, async t => {
      const [one, two] = [await nodeOf(t), await nodeOf(t, { name: 'two' })]
      const nginx = await Nginx.start(t, behind([one, two], ...change))
      await one.app.close()
      t.strictSame(await statusesOf(nginx, '/hello', 2), Array(2).fill('200 two'))
      await nodeOf(t, { port: one.port })
      await two.app.close()
      t.strictSame(await statusesOf(nginx, '/hello', 2), answers)
    })
  }

  t.test('requests to a closing node are passed to the other', async t => {
    let notify!: () => void
    let close!: () => void
    const closing = new Promise<void>(resolve => { notify = resolve })
    const closed = new Promise<void>(resolve => { close = resolve })
    const one = await nodeOf(t, {
      routes: app => app.addHook('preClose', async () => {
        notify()
        await closed
      })
    })
    const nginx = await Nginx.start(t, behind([one, await nodeOf(t, { name: 'two' })]))
    const over = one.app.close()
    await closing
    t.strictSame(await statusesOf(nginx, '/events/news', 4), Array(4).fill('200 two'))
    t.strictSame((await statusesOf(nginx, '/hello', 2)).sort(), ['200 two', '503'], 'not without proxy_next_upstream')
    close()
    await over
  })

  t.test('a request that a node received and did not answer is sent to the other, but not a POST', async t => {
    const methods: string[] = []
    const routes = (app: FastifyInstance): unknown => app.route({
      method: ['GET', 'POST'],
      url: '/events/broken',
      handler: async request => {
        methods.push(request.method)
        request.raw.socket.destroy()
      }
    })
    const nginx = await Nginx.start(t, behind([await nodeOf(t, { routes }), await nodeOf(t, { routes })]))
    t.strictSame(await statusesOf(nginx, '/events/broken'), ['502'])
    t.strictSame(await statusesOf(nginx, '/events/broken', 1, 'POST'), ['502'])
    t.strictSame(methods, ['GET', 'GET', 'POST'])
  })

  t.test('a reload cuts no stream before worker_shutdown_timeout', async t => {
    const node = await nodeOf(t)
    const [patient, strict] = [await Nginx.start(t, behind([node])),
      await Nginx.start(t, behind([node]), 'worker_shutdown_timeout 100ms;')]
    const clients = [await openClient(t, patient), await openClient(t, strict)]
    for (const client of clients) await soon('the position', client.until('-0\ndata: \n\n'))
    const [multiplexed] = await multiplex(t, patient, 1)
    await Promise.all([patient.reload(), strict.reload()])
    t.equal(await soon('the cut', clients[1]!.closed), 'end')
    t.notOk(clients[1]!.responses()[0]!.complete)
    t.match(await Promise.any(node.signals.map(aborted)), { reason: 'client' })
    t.strictSame([...await statusesOf(patient), ...await statusesOf(strict)], ['200 one', '200 one'])
    await node.news.publish({ data: 1 })
    await soon('the event', Promise.all([clients[0]!.until(framed(1)), multiplexed!.until(framed(1))]))
  })

  t.test('a client whose node is lost resumes on the other, if both share one log: no event is lost or duplicated', {
    skip: absent(REDIS)
  }, async t => {
    const redis = await RedisServer.start(t)
    const nodeWith = (name: string): Promise<Node> => nodeOf(t, { name, eventLog: redisLog(redis.client(t)) })
    const [one, two] = [await nodeWith('one'), await nodeWith('two')]
    const nginx = await Nginx.start(t, behind([one, two]))
    const client = await openClient(t, nginx)
    await soon('the position', client.until('-0\ndata: \n\n'))
    t.equal(client.responses()[0]!.headers['x-node'], 'one')
    const publishing = (async () => { for (const n of upTo(300)) await two.news.publish({ data: n }) })()
    await soon('some', client.until(framed(100)))
    kill(one)
    await soon('the cut', client.closed)
    const back = await openClient(t, nginx, { headers: { 'Last-Event-ID': idsOf(client).at(-1)! } })
    await publishing
    await soon('the rest', back.until(framed(300)))
    t.equal(back.responses()[0]!.headers['x-node'], 'two')
    const { epoch } = await two.news.position()
    t.strictSame([...eventsOf(client), ...eventsOf(back)], upTo(300).map(n => `id: ${epoch}-${n}\ndata: ${n}`))
  })
})
