import type { ServerResponse } from 'node:http'
import http2 from 'node:http2'
import { once, type EventEmitter } from 'node:events'
import type { AddressInfo } from 'node:net'
import { PassThrough, type Readable } from 'node:stream'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t from 'tap'
import sse, { StreamClosedError, type AnyEvent, type CloseReport } from '../../lib/index.ts'
import { listeners } from '../setup/leftovers.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { still, within } from '../setup/within.ts'

type Test = Pick<typeof t, 'comment' | 'equal' | 'same' | 'teardown' | 'type'>
interface Tick { data: string }
interface LogLine { level: number, msg: string, reqId: string }

/** A visit seen from the server: one request to /sse, and everything that it caused. */
class Visit {
  pulled = 0
  returned = 0
  finals = 0
  settled = 0
  reports: CloseReport[] = []
  request!: FastifyRequest
  reply!: FastifyReply
  /** The reply of the plain route. */
  plain!: FastifyReply
  signals: AbortSignal[] = []
  lines: LogLine[] = []
  readonly #moment: Moment
  #reach!: () => void
  #free!: () => void
  /** Resolves when the slow hook, or the first step of the source, is reached. */
  readonly reached = new Promise<void>(resolve => { this.#reach = resolve })
  readonly #held = new Promise<void>(resolve => { this.#free = resolve })
  #over!: () => void
  readonly over = new Promise<void>(resolve => { this.#over = resolve })

  constructor (moment: Moment) { this.#moment = moment }

  handle (reply: FastifyReply): Promise<void> {
    const flushHeadersAfter = this.#moment.flushHeadersAfter ?? 50
    const stream = reply.sse(this.#moment.form === 'function'
      ? ({ signal }) => {
          this.signals.push(signal)
          return this.#source(signal)
        }
      : this.#source(reply.request.signal), { flushHeadersAfter, onClose: report => { this.reports.push(report) } })
    return stream.finally(() => {
      this.settled++
      this.#over()
    })
  }

  arrive (request: FastifyRequest, reply: FastifyReply): void {
    this.request = request
    this.reply = reply
    if (this.#moment.bare !== true) this.signals.push(request.signal)
  }

  /** The place where a slow hook waits. */
  async hold (): Promise<void> {
    this.#reach()
    await this.#held
  }

  free (): void { this.#free() }

  #source (signal: AbortSignal): AsyncIterable<Tick> {
    const ticks = this.#ticks(signal)
    return {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          this.pulled++
          this.#reach()
          return ticks.next()
        },
        return: () => {
          this.returned++
          return ticks.return(undefined)
        }
      })
    }
  }

  async * #ticks (signal: AbortSignal): AsyncGenerator<Tick> {
    try {
      yield * this.#moment.ticks(signal)
    } finally {
      this.finals++
    }
  }
}

interface Moment {
  when: string
  /** The source. */
  ticks: (signal: AbortSignal) => AsyncGenerator<Tick>
  form?: 'function'
  /** The bytes that the client receives before it disconnects. */
  sees?: string
  /** The client does not read: it disconnects when the source has stopped. */
  stalled?: boolean
  flushHeadersAfter?: number
  hook?: 'preHandler' | 'onSend' | 'transform'
  /** The route declares no events: nothing of the plugin runs before the handler. */
  bare?: boolean
  /** How often the source's `finally` runs: not for a generator that never started, or one that waits forever. */
  finals: number
}

const forEver = (): Promise<never> => new Promise(() => {})
const wakeOnAbort = (signal: AbortSignal): Promise<void> => delay(1e8, undefined, { signal })
const BIG = 'x'.repeat(16 * 1024)

async function * counting (): AsyncGenerator<Tick> {
  for (let n = 1; ; n++) {
    yield { data: String(n) }
    await turn()
  }
}
async function * endless (): AsyncGenerator<Tick> {
  for (;;) yield { data: BIG }
}
async function * parked (): AsyncGenerator<Tick> {
  yield { data: 'first' }
  await forEver()
}
async function * listening (signal: AbortSignal): AsyncGenerator<Tick> {
  yield { data: 'first' }
  await wakeOnAbort(signal)
}
async function * silent (signal: AbortSignal): AsyncGenerator<Tick> {
  await wakeOnAbort(signal)
}

const FIRST = 'data: first\n\n'
const moments: Moment[] = [
  { when: 'while next() is pending for ever', ticks: parked, sees: FIRST, finals: 0 },
  { when: 'while the source waits and listens to the signal', ticks: listening, sees: FIRST, finals: 1 },
  {
    when: 'while the source waits and listens to the signal of its context',
    ticks: listening,
    form: 'function',
    sees: FIRST,
    finals: 1
  },
  { when: 'while events are written', ticks: counting, sees: 'data: 50\n\n', finals: 1 },
  { when: 'before the first event and before the head', ticks: silent, flushHeadersAfter: 1e8, finals: 1 },
  { when: 'before the first event and after the head', ticks: silent, sees: ':\n\n', finals: 1 },
  { when: 'during a slow preHandler', ticks: counting, hook: 'preHandler', finals: 0 },
  {
    when: 'during a slow preHandler of a route without schema.sse',
    ticks: counting,
    hook: 'preHandler',
    bare: true,
    finals: 0
  },
  { when: 'during an async onSend hook', ticks: counting, hook: 'onSend', finals: 1 },
  { when: 'while it does not read', ticks: endless, stalled: true, finals: 1 },
  { when: 'while it does not read a transformed stream', ticks: endless, stalled: true, hook: 'transform', finals: 1 }
]

/** A client: how it connects and how it disconnects. */
interface Client {
  sees: (text: string) => Promise<unknown>
  leave: () => void
}
interface Arrival {
  path: string
  method: 'GET' | 'POST'
  stalled: boolean
}
interface Kind {
  how: string
  http2?: boolean
  /**
   * Without a connection there is no full buffer, and light-my-request does not report an abort once the body is read.
   */
  inject?: boolean
  come: (t: Test, app: FastifyInstance, arrival: Arrival) => Promise<Client>
}

const BODY = '{"a":1}'
const portOf = (app: FastifyInstance): number => (app.server.address() as AddressInfo).port

function tcp (leave: 'fin' | 'reset'): Kind['come'] {
  return async (t, app, { path, method, stalled }) => {
    const client = await open(portOf(app), {
      path,
      method,
      pauseOnConnect: stalled,
      ...(method === 'POST' ? { body: BODY } : {})
    })
    t.teardown(() => client.socket.destroy())
    return { sees: text => client.until(text), leave: () => client[leave]() }
  }
}

function h2 (leave: (request: http2.ClientHttp2Stream, session: http2.ClientHttp2Session) => void): Kind['come'] {
  return async (t, app, { path, method, stalled }) => {
    const session = http2.connect(`http://127.0.0.1:${portOf(app)}`)
    session.on('error', () => {})
    t.teardown(() => session.destroy())
    const request = session.request({
      ':path': path,
      ':method': method,
      ...(method === 'POST' ? { 'content-type': 'application/json' } : {})
    })
    request.on('error', () => {})
    request.end(method === 'POST' ? BODY : undefined)
    const sees = stalled ? () => Promise.resolve() : reading(request)
    return { sees, leave: () => leave(request, session) }
  }
}

const injected: Kind['come'] = async (t, app, { path, method }) => {
  const controller = new AbortController()
  const response = app.inject({ url: path, method, payloadAsStream: true, signal: controller.signal })
  response.catch(() => {})
  t.teardown(() => controller.abort())
  const sees = async (text: string): Promise<void> => {
    const stream = (await response).stream()
    stream.on('error', () => {})
    await reading(stream)(text)
  }
  return { sees, leave: () => controller.abort() }
}

/** Reads a stream from now on, and waits for text in it. */
function reading (stream: Readable): (text: string) => Promise<void> {
  let received = ''
  stream.on('data', (chunk: Buffer) => { received += chunk.toString() })
  return async text => {
    while (!received.includes(text)) await once(stream, 'data')
  }
}

const kinds: Kind[] = [
  { how: 'FIN', come: tcp('fin') },
  { how: 'RST', come: tcp('reset') },
  { how: 'an HTTP/2 cancel', http2: true, come: h2(request => request.close(http2.constants.NGHTTP2_CANCEL)) },
  { how: 'the end of an HTTP/2 session', http2: true, come: h2((_request, session) => session.destroy()) },
  { how: 'an aborted inject', inject: true, come: injected }
]

/** An app with the route of the visit, and a plain stream beside it for comparison. */
async function serve (t: Test, visit: Visit, moment: Moment, kind: Kind): Promise<FastifyInstance> {
  const logger = {
    level: 'debug',
    stream: {
      write: (line: string) => {
        visit.lines.push(JSON.parse(line) as LogLine)
      }
    }
  }
  const app: FastifyInstance = kind.http2 === true
    ? Fastify({ http2: true, logger, forceCloseConnections: true }) as unknown as FastifyInstance
    : Fastify({ logger, forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(sse)
  app.route({
    method: ['GET', 'POST'],
    url: '/plain',
    handler: (_request, reply) => {
      visit.plain = reply
      const payload = new PassThrough()
      payload.write(FIRST)
      reply.send(payload)
    }
  })
  // The request before a pipelined one.
  app.get('/endless', (_request, reply) => reply.sse(counting()))
  app.get('/short', async () => {
    await visit.reached
    return 'done'
  })
  app.route({
    method: ['GET', 'POST'],
    url: '/sse',
    ...(moment.bare === true ? {} : { schema: { sse: { message: Type.String() } } }),
    onRequest: async (request, reply) => visit.arrive(request, reply),
    ...(moment.hook === 'preHandler' ? { preHandler: () => visit.hold() } : {}),
    ...(moment.hook === 'onSend' ? { onSend: () => visit.hold() } : {}),
    ...(moment.hook === 'transform'
      ? { onSend: async (_request, _reply, payload) => (payload as Readable).pipe(new PassThrough()) }
      : {}),
    handler: (_request, reply) => visit.handle(reply)
  })
  if (kind.inject !== true) await app.listen({ port: 0, host: '127.0.0.1' })
  return app
}

/** The socket, or the HTTP/2 stream, whose socket belongs to the session. */
const connectionOf = ({ request: { raw } }: FastifyReply): EventEmitter =>
  (raw as { stream?: EventEmitter }).stream ?? raw.socket

/** The names of the events for which `ours` has more listeners than `theirs`. */
const surplus = (ours: EventEmitter, theirs: EventEmitter): Array<string | symbol> => {
  const plain = listeners(theirs)
  return [...listeners(ours)].filter(([name, count]) => count > (plain.get(name) ?? 0)).map(([name]) => name)
}

/** The listeners that remain on Fastify's side after a client disconnects from a plain streamed response. */
async function plainVisit (
  t: Test,
  app: FastifyInstance,
  visit: Visit,
  kind: Kind,
  method: Arrival['method']
): Promise<void> {
  const client = await kind.come(t, app, { path: '/plain', method, stalled: false })
  await client.sees(FIRST)
  const closed = new Promise(resolve => visit.plain.raw.once('close', resolve))
  client.leave()
  await within('the end of the plain response', closed)
  await turn()
  visit.lines.length = 0
}

/** Brings the client to its moment. */
async function untilMoment (client: Client, visit: Visit, moment: Moment): Promise<void> {
  if (moment.sees !== undefined) return await within('the sight of the moment', client.sees(moment.sees).then(() => {}))
  await within('the moment', visit.reached)
  // The kernel's buffers are full, and the source is not pulled any more.
  if (moment.stalled === true) await still(() => visit.pulled, 50)
}

/** Disconnects the client. Checks that everything ends soon, once, and without an error. */
async function leavesNothing (t: Test, client: Client, visit: Visit, finals: number): Promise<void> {
  for (const signal of visit.signals) t.equal(signal.aborted, false, 'the signal is silent while the client is here')
  const left = performance.now()
  const noticed = new Promise<void>(resolve => {
    const [signal] = visit.signals
    if (signal !== undefined) signal.addEventListener('abort', () => resolve())
    else visit.reply.raw.once('close', resolve)
  })
  client.leave()
  await within('the signal', noticed)
  const signalled = performance.now()
  visit.free()
  await within('the end of reply.sse()', visit.over)
  t.comment(
    `signal after ${(signalled - left).toFixed(1)} ms, settled after ${(performance.now() - left).toFixed(1)} ms`
  )
  await turn()

  const { pulled } = visit
  for (const { reason } of visit.signals) {
    t.type(reason, StreamClosedError)
    t.equal((reason as StreamClosedError).reason, 'client')
  }
  t.equal(visit.returned, 1, 'iterator.return() was called once')
  t.equal(visit.finals, finals, 'finally ran where it could')
  t.equal(visit.settled, 1, 'reply.sse() settled')
  t.same(visit.reports.map(report => report.reason), ['client'], 'onClose was called once')
  await turn()
  t.equal(visit.pulled, pulled, 'nothing more is pulled')
  // Fastify itself logs the error that light-my-request creates for an abort.
  const lines = visit.lines.filter(line => line.msg !== 'request errored')
  t.same(lines.filter(line => line.level > 30), [], 'nothing is logged as a problem')
  t.same(
    lines.filter(line => line.level <= 30 && line.reqId === visit.request.id && line.msg.startsWith('sse ')).map(line =>
      line.msg
    ),
    ['sse stream closed'],
    'one line'
  )
}

for (const kind of kinds) {
  for (const moment of moments) {
    if (kind.inject === true && moment.stalled === true) continue
    for (const method of kind.inject === true ? ['GET'] as const : ['GET', 'POST'] as const) {
      t.test(`L3: ${kind.how} ${moment.when} frees everything (${method})`, async t => {
        const visit = new Visit(moment)
        const app = await serve(t, visit, moment, kind)
        await plainVisit(t, app, visit, kind, method)
        const client = await kind.come(t, app, { path: '/sse', method, stalled: moment.stalled === true })
        await untilMoment(client, visit, moment)
        await leavesNothing(t, client, visit, moment.finals)
        // One function for all responses, which handles a late write.
        t.same(surplus(visit.reply.raw, visit.plain.raw).filter(name => name !== 'error'), [],
          'the response has no more listeners than a plain one')
        t.same(surplus(connectionOf(visit.reply), connectionOf(visit.plain)), [], 'nor has the connection')
      })
    }
  }
}

for (const kind of kinds.slice(0, 2)) {
  for (const moment of moments.filter(moment => moment.hook === undefined)) {
    t.test(`L3: ${kind.how} ${moment.when}, in a pipelined request behind an endless one, frees everything`, async t => {
      const visit = new Visit(moment)
      const app = await serve(t, visit, moment, kind)
      const client = await open(portOf(app), { path: '/endless', pauseOnConnect: moment.stalled === true })
      t.teardown(() => client.socket.destroy())
      client.request({ path: '/sse' })
      // The client never receives this response: it waits behind the first one.
      await untilMoment({ sees: () => visit.reached, leave: () => {} }, visit, moment)
      await leavesNothing(t, {
        sees: text => client.until(text),
        leave: () =>
          kind.how === 'FIN' ? client.fin() : client.reset()
      }, visit, moment.finals)
    })
  }
}

for (const { how, come } of kinds.slice(0, 2)) {
  t.test(`L3: ${how} while it does not read the second of two pipelined answers frees everything`, async t => {
    const moment = moments.find(({ stalled }) => stalled)!
    const visit = new Visit(moment)
    const app = await serve(t, visit, moment, { how, come })
    const client = await open(portOf(app), { path: '/short', pauseOnConnect: true })
    t.teardown(() => client.socket.destroy())
    client.request({ path: '/sse' })
    await untilMoment({ sees: text => client.until(text), leave: () => {} }, visit, moment)
    await leavesNothing(t, {
      sees: text => client.until(text),
      leave: () =>
        how === 'FIN' ? client.fin() : client.reset()
    }, visit, moment.finals)
  })
}

t.test('L3: a client that disconnects during its upload is no error, not for a source that reads the upload either', async t => {
  for (const path of ['/parsed', '/read-before', '/read-after']) {
    const lines: LogLine[] = []
    const app = Fastify({
      logger: {
        level: 'debug',
        stream: {
          write: (line: string) => {
            lines.push(JSON.parse(line) as LogLine)
          }
        }
      },
      forceCloseConnections: true
    })
    let closed!: () => void
    const over = new Promise<void>(resolve => { closed = resolve })
    await app.register(sse, { flushHeadersAfter: 1e8, onClose: closed })
    app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload))
    app.post('/parsed', async (_request, reply) => { await reply.sse([]) })
    app.post('/:read', (request, reply) => reply.sse(async function * (): AsyncGenerator<AnyEvent> {
      if (request.url === '/read-after') yield { data: 'first' }
      for await (const chunk of request.raw) if (String(chunk) === 'all') yield { data: 'never' }
    }))
    const requested = once(app.server, 'request')
    const gone = path === '/parsed' ? requested.then(([, response]) => once(response as ServerResponse, 'close')) : over
    const headers = {
      'Content-Type': path === '/parsed' ? 'application/json' : 'application/octet-stream',
      'Content-Length': '100'
    }
    const client = await open(await listen(t, app), { method: 'POST', path, headers })
    client.socket.write('{"a":')
    await requested
    if (path === '/read-after') await client.until('first')
    client.reset()
    await gone
    for (let n = 0; n < 5; n++) await turn()
    t.same(lines.filter(({ level }) => level > 30), [], path)
    await app.close()
  }
})
