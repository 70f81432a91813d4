import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, {
  StreamClosedError, memoryLog, type AnyEvent, type CloseReport, type RegisterOptions,
  type SourceContext
} from '../../lib/index.ts'
import { connect } from '../../lib/client.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

interface Made { app: FastifyInstance, port: number, reports: CloseReport[], lines: Array<Record<string, unknown>> }

/** A server with a channel, a talker that never stops by itself, and one that holds its first event back. */
async function make (t: Test, options: RegisterOptions = {}): Promise<Made> {
  const reports: CloseReport[] = []
  const lines: Made['lines'] = []
  const app = Fastify({
    logger: {
      level: 'debug',
      stream: {
        write: (line: string) => {
          lines.push(JSON.parse(line))
        }
      }
    }
  })
  await app.register(sse, { ...options, onClose: report => reports.push(report) })
  app.get('/news', (_request, reply) => reply.sse(app.sse.channel('news')))
  app.get('/talk',
    (_request, reply) =>
      reply.sse(async function * ({ signal }: SourceContext): AsyncGenerator<AnyEvent> {
        yield { data: 'é', id: '1' }
        await new Promise(resolve => signal.addEventListener('abort', resolve))
      }))
  app.get('/slow',
    (_request, reply) =>
      reply.sse(async function * ({ signal }: SourceContext): AsyncGenerator<AnyEvent> {
        await new Promise(resolve => signal.addEventListener('abort', resolve))
      }, { flushHeadersAfter: 10_000 }))
  app.get('/closing',
    (_request, reply) =>
      reply.sse(async function * ({ shutdownSignal, signal }: SourceContext): AsyncGenerator<AnyEvent> {
        yield { data: 'working' }
        await new Promise(resolve => shutdownSignal.addEventListener('abort', resolve))
        t.equal(signal.aborted, false, 'its stream continues')
        yield { data: 'last words' }
      }, { onShutdown: 'drain' }))
  return { app, port: await listen(t, app), reports, lines }
}

t.test('app.sse.streams() lists the open streams', async t => {
  const { app, port } = await make(t, { limits: { keyGenerator: ({ headers }) => headers['x-user'] as string } })
  const talk = await open(port, { path: '/talk', headers: { 'x-user': 'ann' } })
  await within('the event', talk.until('data:'))
  const news = await open(port, { path: '/news', headers: { 'x-user': 'bob' } })
  await within('the opening', news.until(': live'))
  await app.sse.channel('news').publish({ data: 1 })
  await within('the event', news.until('data: 1'))
  const [first, second] = app.sse.streams()
  t.match(first, {
    route: 'GET /talk',
    key: 'ann',
    events: 1,
    bytes: Buffer.byteLength('id: 1\ndata: é\n\n'),
    stalled: false,
    lastEventId: '1',
    channels: []
  })
  t.equal(first!.request.url, '/talk')
  t.ok(first!.age >= 0)
  t.match(second, {
    route: 'GET /news',
    key: 'bob',
    events: 1,
    lastEventId: /-1$/,
    channels: [{ channel: 'news', lag: 0 }]
  })
  t.match(app.sse.stats(), {
    streams: { open: 2, opened: 2, events: 2, stalled: 0 },
    channels: 1,
    published: 1,
    latency: { count: 1 }
  })
  t.strictSame(app.sse.channels(), [{ name: 'news', subscribers: 1, lagging: 0, newest: 1 }])
  talk.socket.destroy()
  news.socket.destroy()
  while (app.sse.streams().length > 0) await turn()
  t.match(app.sse.stats(), { streams: { open: 0, opened: 2, closed: { client: 2 }, events: 2 } })
})

t.test('a stream that is disconnected sends the reason, once, and the client of this package does not reconnect', async t => {
  const { app, port, reports, lines } = await make(t)
  const failures: unknown[] = []
  const stream = connect(`http://127.0.0.1:${port}/talk`, {
    onError: ({ code, data }, { delay }) => {
      failures.push({ code, data, delay })
    }
  })
  stream.on('message', () => {
    const [open] = app.sse.streams()
    open!.disconnect('you logged out')
    open!.disconnect('twice')
  })
  t.match(await within('the end', stream.closed), {
    reason: 'error',
    error: {
      code: 'FST_SSE_SERVER_ERROR',
      data: { status: 403, title: 'Forbidden', detail: 'The stream was ended: you logged out' }
    }
  })
  t.match(failures, [{ code: 'FST_SSE_SERVER_ERROR', delay: undefined }])
  while (reports.length === 0) await turn()
  t.match(reports, [{ reason: 'revoked', events: 1 }])
  t.match(lines.filter(({ msg }) => msg === 'sse stream closed'), [{
    level: 30,
    reason: 'revoked',
    duration: Number,
    events: 1,
    bytes: Number
  }])
  t.same(lines.filter(({ level }) => Number(level) > 30), [])
})

t.test('a disconnected stream that has sent nothing gets 403', async t => {
  const { app, port, reports } = await make(t)
  const client = await open(port, { path: '/slow', headers: { connection: 'close' } })
  while (app.sse.streams().length === 0) await turn()
  app.sse.streams()[0]!.disconnect()
  await within('the answer', client.closed)
  t.match(client.responses()[0], { status: 403, body: /FST_SSE_REVOKED/ })
  t.match(reports, [{ reason: 'revoked' }])
})

t.test('reauthorize is called before the heartbeat, and a revoked stream ends within an interval', async t => {
  let permitted = true
  const { app, port, reports } = await make(t, {
    heartbeatInterval: 20,
    reauthorizeInterval: 20,
    reauthorize: async ({ headers }) => permitted || headers['x-user'] !== 'ann'
  })
  const [ann, bob] = [await open(port, { path: '/talk', headers: { 'x-user': 'ann' } }),
    await open(port, { path: '/talk', headers: { 'x-user': 'bob' } })]
  await within('the beats', Promise.all([ann, bob].map(client => client.until(':\n\n'))))
  permitted = false
  await within('the end', ann.until('event: error\ndata: {"type":"about:blank","title":"Forbidden","status":403'))
  const heard = bob.received.length
  await within('a beat', bob.until(':\n\n', heard))
  t.match(reports, [{ reason: 'revoked' }])
  for (const { socket } of [ann, bob]) socket.destroy()
  while (app.sse.streams().length > 0) await turn()
})

t.test('L7: drain() ends the streams while the server continues, and draining sources send their last events', async t => {
  const { app, port, reports } = await make(t, { reconnectWindow: 300 })
  const clients = await Promise.all(['/talk', '/closing'].map(path => open(port, { path })))
  await within('the events', Promise.all(clients.map(client => client.until('data:'))))
  t.equal(app.sse.shutdownSignal.aborted, false)
  await within('the drain', app.sse.drain())
  await within('the ends', Promise.all(clients.map(client => client.until('0\r\n\r\n'))))
  t.ok(app.sse.shutdownSignal.reason instanceof StreamClosedError)
  t.match(reports.map(({ reason }) => reason).sort(), ['complete', 'shutdown'])
  const [talk, closing] = clients.map(client => client.responses()[0]!)
  t.match(talk, { complete: true, body: /^id: 1\ndata: é\n\nretry: ([12]?\d?\d|30\d)\n\n$/ })
  t.match(closing, { complete: true, body: 'data: working\n\ndata: last words\n\n' })
  await app.sse.drain()
  const late = await open(port, { path: '/talk', headers: { accept: 'text/event-stream' } })
  await within('the answer', late.until('retry: '))
  t.match(late.responses()[0], { status: 200 })
  for (const { socket } of [...clients, late]) socket.destroy()
})

t.test('R6: app.sse.locate() returns the names of the channels of an id, and no other', async t => {
  const { app } = await make(t, { limits: { keyGenerator: () => 'ann' }, eventLog: memoryLog() })
  const ids = await Promise.all(['news', 'ärger: 7'].map(async name => (await app.sse.channel(name).position()).id))
  t.strictSame(await app.sse.locate(ids[0]), ['news'])
  t.strictSame(await app.sse.locate(ids.join('.')), ['news', 'ärger: 7'])
  t.strictSame(await app.sse.locate(`abc-7.${ids[1]}`), ['ärger: 7'])
  const none = [undefined, '', 'abc-7', 'x', `${ids[0]}.`, `${ids[0]}.${ids[0]}`, `${ids[0]}-1`, 'sse.end', 7, null, {}]
  for (const id of none) t.strictSame(await app.sse.locate(id as string), [], String(id))
  for (const id of [Object.create(null), Symbol('x')]) t.strictSame(await app.sse.locate(id), [])
})

t.test('R6: app.sse.locate() leaves out names that no channel of a user has', async t => {
  const names: Record<string, unknown> = { a: 'sse.control', b: 'a\nb', c: '', d: 7, e: 'news', f: 'news' }
  const eventLog = Object.assign(memoryLog(), { locate: async (epoch: string) => names[epoch] as string })
  const { app } = await make(t, { eventLog })
  t.strictSame(await app.sse.locate('a-1.b-1.c-1.d-1.e-1.f-1'), ['news'])
})

t.test('app.sse.locate() rejects if the log cannot answer', async t => {
  const open = memoryLog()
  const { app } = await make(t, { eventLog: (name, history) => open(name, history) })
  await t.rejects(app.sse.locate('abc-1'), {
    code: 'FST_SSE_LOG_METHOD',
    message:
      "The event log has no 'locate()', which app.sse.locate() needs: use another log, such as postgresLog(), or add the method"
  })
  const failing = await make(t, { eventLog: Object.assign(memoryLog(), { locate: () => { throw new Error('away') } }) })
  await t.rejects(failing.app.sse.locate('abc-1'), { message: 'away' })
})

t.test('R7: a stream of no channel is answered with 204, beside another channel it is left out', async t => {
  const reports: CloseReport[] = []
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse, { onClose: report => { reports.push(report) } })
  const runs = app.sse.runs('job')
  app.get('/none', async (_request, reply) => reply.sse(await runs.follow('1')))
  app.get('/late', (_request, reply) => reply.sse(() => runs.follow('1')))
  app.get('/both', async (_request, reply) => reply.sse([await runs.follow('1'), app.sse.channel('over')]))
  await app.sse.channel('over').end({ data: 'last' })
  for (const url of ['/none', '/late', '/both']) {
    const { statusCode, body, headers } = await app.inject(url)
    t.strictSame([statusCode, body, headers['content-type']], [204, '', undefined], url)
  }
  t.equal((await app.inject({ method: 'HEAD', url: '/none' })).statusCode, 200)
  t.strictSame(reports, [])
  const { id } = await app.sse.channel('over').position()
  const { body } = await app.inject({ url: '/both', headers: { 'last-event-id': id.replace('-1', '-0') } })
  t.match(body, /data: last\n\n$/)
})
