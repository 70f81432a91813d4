import { once } from 'node:events'
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { PassThrough, type Readable } from 'node:stream'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import sse from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

interface Line { level: number, msg?: string, err?: { code?: string, message?: string } }

/** In which way the head gets to the client. */
interface Way { directWrites?: boolean, hook?: (reply: FastifyReply, payload: unknown) => unknown }
const same = (_reply: FastifyReply, payload: unknown): unknown => payload
const WAYS: Record<string, Way> = {
  alone: {},
  'through the response': { directWrites: false },
  'a hook': { hook: same },
  'a hook that is piped': { hook: (_reply, payload) => (payload as Readable).pipe(new PassThrough()) }
}

interface Served { app: FastifyInstance, warnings: () => Array<string | undefined> }

/** An app whose `/` is a stream of one event, with what `prepare` does to its reply. */
async function serve (
  t: Test,
  prepare: (reply: FastifyReply) => unknown,
  { directWrites = true, hook }: Way = {},
  server: object = {}
): Promise<Served> {
  const lines: Line[] = []
  const logger = { level: 'warn', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } }
  const app = Fastify({ logger, forceCloseConnections: true, ...server })
  t.teardown(() => app.close())
  if (hook !== undefined) app.addHook('onSend', async (_request, reply, payload) => hook(reply, payload))
  await app.register(sse, { directWrites })
  app.get('/', (_request, reply) => {
    prepare(reply)
    return reply.sse([{ data: 'all of it' }])
  })
  return { app, warnings: () => lines.map(({ err, msg }) => err?.code ?? msg) }
}

const portOf = ({ server }: FastifyInstance): number => (server.address() as AddressInfo).port

const BODY = 'data: all of it\n\n'
const LENGTHS: Record<string, (reply: FastifyReply) => unknown> = {
  'content-length of the reply': reply => reply.header('Content-Length', 3),
  'content-length of the response': reply => reply.raw.setHeader('Content-Length', '3'),
  'content-length of both': reply => reply.header('content-length', '3').raw.setHeader('content-length', 4),
  'transfer-encoding of the reply': reply => reply.header('transfer-encoding', 'identity'),
  'transfer-encoding of the response': reply => reply.raw.setHeader('Transfer-Encoding', 'gzip, chunked'),
  'both headers': reply => reply.headers({ 'content-length': 3, 'transfer-encoding': 'gzip' })
}

for (const [what, prepare] of Object.entries(LENGTHS)) {
  t.test(`W1: ${what} is dropped with a warning, and the connection stays in order`, async t => {
    for (const [name, way] of Object.entries(WAYS)) {
      const { app, warnings } = await serve(t, prepare, way)
      const client = await open(await listen(t, app))
      let from = 0
      for (let n = 0; n < 2; n++) {
        if (n > 0) client.request({ headers: { Connection: 'close' } })
        from = (await within(`${name}: a stream`, client.until('\r\n0\r\n\r\n', from))).length
      }
      t.equal(await client.closed, 'end')
      const responses = client.responses()
      t.strictSame(responses.map(({ status, body, complete }) => ({ status, body, complete })),
        Array(2).fill({ status: 200, body: BODY, complete: true }), name)
      for (const { headers } of responses) {
        t.strictSame([headers['content-length'], headers['transfer-encoding']], [undefined, 'chunked'], name)
      }
      t.strictSame(warnings(), Array(what === 'both headers' ? 2 : 1).fill('FST_SSE_HEADER'), `${name}: once per route`)
    }
  })

  t.test(`W1: ${what} is dropped over HTTP/1.0, where the end of the connection ends the stream`, async t => {
    for (const [name, way] of Object.entries(WAYS)) {
      const { app } = await serve(t, prepare, way)
      const client = await open(await listen(t, app), { version: '1.0' })
      t.equal(await within(name, client.closed), 'end')
      const [response] = client.responses()
      t.equal(response?.body, BODY, name)
      t.strictSame([response?.headers['content-length'], response?.headers['transfer-encoding']], [undefined,
        undefined], name)
    }
  })

  t.test(`W1: ${what} is dropped over HTTP/2, with inject and for HEAD`, async t => {
    for (const [name, way] of Object.entries(WAYS)) {
      const { app } = await serve(t, prepare, way, { http2: true })
      await listen(t, app)
      const session = connectHttp2(`http://127.0.0.1:${portOf(app)}`)
      t.teardown(() => session.destroy())
      const stream = session.request({ ':path': '/' })
      const [headers] = await once(stream, 'response') as [IncomingHttpHeaders]
      let body = ''
      for await (const chunk of stream) body += String(chunk)
      t.strictSame([headers['content-length'], headers['transfer-encoding'], body], [undefined, undefined, BODY], name)
      session.close()

      const other = (await serve(t, prepare, way)).app
      const injected = await other.inject('/')
      t.strictSame([injected.headers['content-length'], injected.body], [undefined, BODY], name)
      const head = await other.inject({ method: 'HEAD', url: '/' })
      t.match(head.headers, { 'content-type': 'text/event-stream; charset=utf-8' }, name)
      t.strictSame([head.headers['content-length'], head.body], [undefined, ''], name)
    }
  })
}

t.test('W1: a length that an onSend hook sets is dropped, on the reply and on the response, for GET and HEAD', async t => {
  const pipes = [(payload: Readable): Readable => payload,
    (payload: Readable): Readable => payload.pipe(new PassThrough())]
  for (const set of Object.values(LENGTHS)) {
    for (const pipe of pipes) {
      const hook: Way['hook'] = (reply, payload) => {
        set(reply)
        return pipe(payload as Readable)
      }
      const { app, warnings } = await serve(t, () => {}, { hook })
      const client = await open(await listen(t, app))
      await within('the stream', client.until('\r\n0\r\n\r\n'))
      t.match(client.responses()[0], { body: BODY, complete: true })
      t.equal(client.responses()[0]?.headers['content-length'], undefined)
      t.match(warnings(), ['FST_SSE_HEADER'])
      client.socket.destroy()
      t.equal((await app.inject({ method: 'HEAD', url: '/' })).headers['content-length'], undefined)
    }
  }
})

t.test('W1: a payload that a hook sends in place of a stream keeps its length', async t => {
  const replaced = await serve(t, () => {}, {
    hook (reply, payload) {
      (payload as Readable).destroy()
      const other = new PassThrough()
      other.end('other')
      reply.header('content-length', 5)
      return other
    }
  })
  const client = await open(await listen(t, replaced.app), { headers: { Connection: 'close' } })
  await within('the answer', client.closed)
  t.match(client.responses()[0], { body: 'other', complete: true, headers: { 'content-length': '5' } })
  t.strictSame(replaced.warnings(), [])
})

t.test("W1: `transfer-encoding: chunked` is Node's own header; over HTTP/1.0 there is none, and no trailer", async t => {
  for (const [name, way] of Object.entries(WAYS)) {
    const prepare = (reply: FastifyReply): unknown =>
      reply.headers({ 'transfer-encoding': 'chunked', trailer: 'x-sum' })
    const { app, warnings } = await serve(t, prepare, way)
    const port = await listen(t, app)
    const client = await open(port)
    await within(name, client.until('\r\n0\r\n\r\n'))
    t.match(client.responses()[0], { body: BODY, complete: true, headers: { trailer: 'x-sum' } })
    client.socket.destroy()
    const old = await open(port, { version: '1.0' })
    await within(name, old.closed)
    t.match(old.responses()[0], { status: 200, body: BODY })
    t.notMatch(old.responses()[0]?.head, /trailer|transfer/i)
    t.strictSame(warnings(), [])
  }
})

t.test('a content type that an EventSource rejects is sent, with a warning once per route', async t => {
  const types: Array<[type: string, warned: boolean]> = [
    ['text/event-stream', false], ['Text/Event-Stream;charset=utf-8', false], ['text/event-stream ; a=b', false],
    ['text/plain', true], ['text/event-streams', true], ['application/json; charset=utf-8', true]
  ]
  for (const [type, warned] of types) {
    const set = (reply: FastifyReply): unknown => reply.header('content-type', type)
    const ways: Array<[(reply: FastifyReply) => unknown, Way]> = [[set, {}], [() => {}, {
      hook: (reply, payload) => {
        set(reply)
        return payload
      }
    }]]
    for (const [prepare, way] of ways) {
      const { app, warnings } = await serve(t, prepare, way)
      for (let n = 0; n < 2; n++) {
        const { headers, body } = await app.inject('/')
        t.strictSame([headers['content-type'], body], [type, BODY])
      }
      t.strictSame(warnings(), warned ? ['FST_SSE_TYPE'] : [], type)
    }
  }
})

// Each of these makes the head fail when it is written, and would make that of an error response fail, too.
const BROKEN: Record<string, (reply: FastifyReply) => unknown> = {
  value: reply => reply.header('x-bad', 'a\nb'),
  values: reply => reply.header('x-bad', ['fine', 'a\u0000b']),
  name: reply => reply.header('x bad', 'fine'),
  'value, with others on the response': reply => {
    reply.raw.setHeader('x-raw', '1')
    reply.raw.setHeader('cache-control', 'no-store')
    return reply.header('x-bad', 'a\nb')
  },
  'status text': reply => Object.assign(reply.raw, { statusMessage: 'a\nb' })
}

t.test('E1: a head that cannot be sent leaves no header in the error response', async t => {
  for (const [what, prepare] of Object.entries(BROKEN)) {
    for (const [name, way] of Object.entries(WAYS).filter(([name]) => name !== 'a hook that is piped')) {
      for (const own of [false, true]) {
        const { app } = await serve(t, prepare, way)
        if (own) {
          app.setErrorHandler((error, _request, reply) =>
            reply.code(502).header('x-own', '1').send({ message: (error as Error).message })
          )
        }
        const client = await open(await listen(t, app), { headers: { Connection: 'close' } })
        t.equal(await within(`${what}, ${name}`, client.closed), 'end')
        const [response] = client.responses()
        const { head, headers, body } = response!
        t.match(head, own ? /^HTTP\/1\.1 502 Bad Gateway\r\n/ : /^HTTP\/1\.1 500 Internal Server Error\r\n/,
          `${what}, ${name}`)
        t.match(headers, {
          'content-type': 'application/json; charset=utf-8',
          'content-length': String(Buffer.byteLength(body)),
          ...(own ? { 'x-own': '1' } : {})
        })
        t.match(JSON.parse(body),
          own ? { message: /Invalid|valid/ } : { statusCode: 500, error: 'Internal Server Error' })
        const rest = Object.keys(headers).filter(name =>
          !['content-type', 'content-length', 'date', 'connection', 'x-own'].includes(name)
        )
        t.strictSame(rest, what.endsWith('response') ? ['x-raw', 'cache-control'] : [], `${what}, ${name}`)
        if (rest.length > 0) t.equal(headers['cache-control'], 'no-store', 'that of the user')
      }
    }
  }
})

t.test('E1: over HTTP/2, a head that cannot be sent leaves no header in the error response', async t => {
  const app = Fastify({ http2: true, forceCloseConnections: true })
  await app.register(sse)
  app.get('/', (_request, reply) => reply.header('x bad', 'fine').sse([{ data: 1 }]))
  const session = connectHttp2(`http://127.0.0.1:${await listen(t, app as unknown as FastifyInstance)}`)
  t.teardown(() => session.destroy())
  const request = session.request({ ':path': '/' })
  const [headers] = await within('the response', once(request, 'response')) as [
    IncomingHttpHeaders & { ':status': number }
  ]
  t.match(headers, { ':status': 500, 'content-type': 'application/json; charset=utf-8' })
  t.notOk('x-accel-buffering' in headers)
  request.close()
})

t.test('E1: an error before the stream ends the connection if the program wrote the head past Fastify', async t => {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse)
  app.get('/', (_request, reply) => reply.sse(() => {
    reply.raw.writeHead(200, { 'x-own': '1' }).write('own')
    throw new Error('too late')
  }))
  const client = await open(await listen(t, app))
  await within('the end', client.closed)
  t.match(client.responses(), [{ status: 200, headers: { 'x-own': '1' }, complete: false }])
})
