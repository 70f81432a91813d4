import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import {
  connect as connectHttp2, type ClientHttp2Session, type ClientHttp2Stream,
  type SecureClientSessionOptions
} from 'node:http2'
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type AnyEvent, type CloseReport, type RegisterOptions } from '../../lib/index.ts'
import { Sessions } from '../../lib/stream/http2-sessions.ts'
import { certificate } from '../setup/certificate.ts'
import { open } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

interface Served {
  app: FastifyInstance
  url: string
  reports: CloseReport[]
  /** Settles once the response of `/one` has its end, sent or not. */
  ended: () => Promise<void>
  /** Lets `/finish` and `/held` go on. */
  free: () => void
  held: Promise<void>
}

const KINDS: Record<string, object> = {
  'in plain text': { http2: true },
  'over TLS': { http2: true, https: certificate() }
}

/**
 * `/one` is a stream of one event, `/open` one that stays, `/finish` one that ends by itself when it is freed, `/held`
 * an ordinary request until then.
 */
async function serve (t: Test, kind: object, options: RegisterOptions = {}): Promise<Served> {
  const reports: CloseReport[] = []
  const app = Fastify(kind)
  let free!: () => void
  let hold!: () => void
  let one: ServerResponse | undefined
  const ended = async (): Promise<void> => { while (one?.writableEnded !== true) await turn() }
  const freed = new Promise<void>(resolve => { free = resolve })
  const held = new Promise<void>(resolve => { hold = resolve })
  await app.register(sse, { shutdownTimeout: 2_000, onClose: report => { reports.push(report) }, ...options })
  app.get('/one', (_request, reply) => {
    one = reply.raw
    return reply.sse([{ data: 'one' }])
  })
  app.get('/open', (_request, reply) => reply.sse(async function * ({ signal }): AsyncGenerator<AnyEvent> {
    yield { data: 'one' }
    await new Promise(resolve => signal.addEventListener('abort', resolve))
  }))
  app.get('/finish', (_request, reply) => reply.sse(async function * (): AsyncGenerator<AnyEvent> {
    yield { data: 'one' }
    await freed
    yield { data: 'two' }
  }, { onShutdown: 'drain' }))
  app.get('/held', async () => {
    hold()
    await freed
    return 'held'
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  t.teardown(() => free())
  const { port } = app.server.address() as AddressInfo
  return { app, reports, ended, free, held, url: `${'https' in kind ? 'https' : 'http'}://127.0.0.1:${port}` }
}

function connect (t: Test, url: string, options: SecureClientSessionOptions = {}): ClientHttp2Session {
  const session = connectHttp2(url, { rejectUnauthorized: false, ...options })
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  return session
}

async function ask (session: ClientHttp2Session, path: string): Promise<ClientHttp2Stream> {
  const stream = session.request({ ':path': path })
  stream.on('error', () => {})
  await once(stream, 'response')
  return stream
}

/**
 * A relay to a server, whose client can sleep as a laptop does: the bytes that are sent to it stay unread, and so does
 * the end of the connection.
 */
async function relay (t: Test, url: string): Promise<{ url: string, sleep: () => void }> {
  const sockets: Socket[] = []
  const server = createServer(down => {
    const up = connectTcp({ port: Number(new URL(url).port), host: '127.0.0.1' })
    for (const socket of [down, up]) sockets.push(socket.on('error', () => {}))
    down.pipe(up)
    up.pipe(down)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const sleep = (): void => { for (const socket of sockets) socket.unpipe().pause() }
  return { url: `${new URL(url).protocol}//127.0.0.1:${(server.address() as AddressInfo).port}`, sleep }
}

for (const [name, kind] of Object.entries(KINDS)) {
  t.test(`L12: a client with 1 byte of window does not keep a server open, after a stream that ended and during one (HTTP/2 ${name})`, async t => {
    for (const path of ['/one', '/open']) {
      const { app, url, reports, ended } = await serve(t, kind)
      await ask(connect(t, url, { settings: { initialWindowSize: 1 } }), path)
      if (path === '/one') await ended()
      const begun = performance.now()
      await within(`the close after ${path}`, app.close())
      t.comment(`${path}: ${(performance.now() - begun).toFixed(0)} ms`)
      t.strictSame(reports.map(({ reason }) => reason), [path === '/one' ? 'complete' : 'shutdown'])
    }
  })

  t.test(`L12: a client that reads nothing from its socket does not keep a server open (HTTP/2 ${name})`, async t => {
    for (const path of ['/one', '/open']) {
      const { app, url } = await serve(t, kind)
      const way = await relay(t, url)
      const stream = await ask(connect(t, way.url), path)
      if (path === '/one') t.equal(await text(stream), 'data: one\n\n')
      way.sleep()
      await within(`the close after ${path}`, app.close())
    }
    t.pass('closed')
  })

  t.test(`L7: a client gets the end of its stream, and GOAWAY before the connection is cut (HTTP/2 ${name})`, async t => {
    const { app, url } = await serve(t, kind, { reconnectWindow: 0 })
    const session = connect(t, url)
    const idle = connect(t, url)
    const streams = await Promise.all([ask(session, '/open'), ask(session, '/open')])
    t.equal(await text(await ask(idle, '/one')), 'data: one\n\n')
    const closed = app.close()
    t.strictSame(await Promise.all(streams.map(stream => text(stream))), ['data: one\n\n', 'data: one\n\n'])
    t.strictSame(streams.map(({ rstCode }) => rstCode), [0, 0])
    await within('the close', closed)
  })

  t.test(`L7: a stream that is not read does not affect the other streams of its connection (HTTP/2 ${name})`, async t => {
    const { app, url, free, held, reports } = await serve(t, kind, { reconnectWindow: 0, shutdownTimeout: 10_000 })
    const session = connect(t, url)
    // Of this one the client takes a byte, then no more.
    const [stuck, reading] = [session.request({ ':path': '/open' }), await ask(session, '/finish')]
    stuck.on('error', () => {})
    const other = session.request({ ':path': '/held' })
    await held
    let cut!: () => void
    const cutOff = new Promise<void>(resolve => { cut = resolve })
    stuck.on('close', () => cut())
    const body = text(reading)
    const closed = app.close()
    stuck.resume()
    await cutOff
    free()
    t.equal(await body, 'data: one\n\ndata: two\n\n')
    t.equal(await text(other), 'held')
    await within('the close', closed)
    t.strictSame(reports.map(({ reason }) => reason).sort(), ['complete', 'shutdown'])
  })
}

t.test('L12: an ordinary request continues on a connection whose streams are over, and the connection ends with it', async t => {
  const { app, url, free, held } = await serve(t, { http2: true }, { shutdownTimeout: 100 })
  const session = connect(t, url)
  t.equal(await text(await ask(session, '/one')), 'data: one\n\n')
  const other = session.request({ ':path': '/held' })
  await held
  const closed = app.close()
  // Longer than the time for a client to read the end.
  await new Promise(resolve => setTimeout(resolve, 300))
  free()
  t.equal(await text(other), 'held')
  await within('the close', closed)
})

t.test('L12: pipelined streams over HTTP/1 do not keep a server open if the first is not read', async t => {
  const { app, url } = await serve(t, {})
  const client = await open(Number(new URL(url).port), { path: '/open', pauseOnConnect: true })
  t.teardown(() => client.socket.destroy())
  for (const path of ['/one', '/open', '/finish']) client.request({ path })
  while (app.sse.streams().length < 4) await turn()
  await within('the close', app.close())
  t.equal(app.sse.streams().length, 0)
})

t.test('a connection is watched once, until it is closed, with two listeners for all its streams', async t => {
  const { app, url } = await serve(t, { http2: true })
  const sockets: Socket[] = []
  app.server.on('connection', (socket: Socket) => sockets.push(socket))
  const session = connect(t, url)
  await text(await ask(session, '/one'))
  const before = sockets[0]!.listenerCount('close')
  for (let n = 0; n < 20; n++) await text(await ask(session, '/one'))
  t.equal(sockets[0]!.listenerCount('close'), before)
  session.close()
  await once(sockets[0]!, 'close')
})

t.test('a response over HTTP/1 has no session to watch or to close', async t => {
  const sessions = new Sessions()
  sessions.watch({} as never)
  sessions.close(1_000)
  t.equal(sessions.size, 0)
  const socket = connectTcp({ port: 1, host: '127.0.0.1' })
  socket.on('error', () => {})
  sessions.watch({ stream: { session: { destroyed: true, socket } } } as never)
  t.equal(sessions.size, 0)
  socket.destroy()
})
