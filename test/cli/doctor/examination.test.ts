import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { createServer as createSecureServer } from 'node:tls'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { examine, offeredBy, type ExamineOptions } from '../../../lib/cli/doctor/examination.ts'
import sse from '../../../lib/index.ts'
import { certificate } from '../../setup/certificate.ts'
import { answers, cuts, ends, Scripted, streams, type Answer } from '../../setup/scripted.ts'
import { within } from '../../setup/within.ts'

// The certificate is the test's own.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'

const order = (url: string, more: Partial<ExamineOptions> = {}): ExamineOptions => ({
  target: { url: new URL(url), headers: {} },
  origin: undefined,
  browserOrigin: undefined,
  seconds: 20,
  signal: new AbortController().signal,
  ...more
})

/** A server whose response depends on the request. */
async function asked (
  t: Test,
  answer: (method: string, headers: Record<string, unknown>) => Answer
): Promise<Scripted> {
  return Scripted.start(t, request => answer(request.method, request.headers)(request))
}

t.test('the examination requests as an EventSource, with compression, with HEAD, and with the last id', async t => {
  const server = await asked(t, () => ends('id: ü-7\ndata: 1\n\n'))
  const examination = await within('the end',
    examine({ ...order(server.url), target: { url: new URL(server.url), headers: { authorization: 'Bearer 1' } } }))
  t.match(examination, {
    alpn: undefined,
    origin: undefined,
    page: undefined,
    base: { head: { status: 200 } },
    back: { head: { status: 200 } }
  })
  const all = server.asked.map((
    { method, headers }
  ) => [method, headers.accept, headers['accept-encoding'], headers.authorization, headers['last-event-id']])
  const id = Buffer.from('ü-7').toString('latin1')
  t.strictSame(all.toSorted(), [
    ['GET', 'text/event-stream', 'gzip, br', 'Bearer 1', undefined],
    ['GET', 'text/event-stream', 'identity', 'Bearer 1', undefined],
    ['GET', 'text/event-stream', 'identity', 'Bearer 1', id],
    ['HEAD', 'text/event-stream', 'identity', 'Bearer 1', undefined]
  ].toSorted())
})

t.test('the examination requests the origin, and as a page the stream and a preflight without secrets', async t => {
  const [server, origin] = [await asked(t, () => ends('data: 1\n\n')), await asked(t, () => ends('data: 2\n\n'))]
  const { page, origin: direct } = await examine({
    ...order(server.url, { origin: new URL(origin.url), browserOrigin: 'https://app.example' }),
    target: { url: new URL(server.url), headers: { authorization: 'Bearer 1' } }
  })
  t.match(direct, { arrivals: { events: [{ data: '2' }] } })
  t.match(page, {
    origin: 'https://app.example',
    answer: { head: { status: 200 } },
    preflight: { head: { status: 200 } }
  })
  t.match(
    server.asked.filter(({ headers }) => headers.origin === 'https://app.example').toSorted((one, other) =>
      one.method < other.method ? -1 : 1
    ),
    [
      { method: 'GET', headers: { authorization: 'Bearer 1' } },
      {
        method: 'OPTIONS',
        headers: { authorization: undefined, 'access-control-request-headers': 'authorization,last-event-id' }
      }
    ]
  )
})

t.test('an open stream is aborted, and the reconnection ends with the first event', async t => {
  const server = await asked(t, method => method === 'HEAD' ? answers(200) : streams('data: 1\n\n'))
  const { base, back } = await within('the end', examine(order(server.url, { seconds: 0.5 })))
  t.match([base.end, back!.end], [{ how: 'left' }, { how: 'left' }])
  t.equal(back!.arrivals.events.length, 1)
})

t.test('after a cut the reconnection waits for another cut', async t => {
  const server = await asked(t, () => cuts('data: 1\n\n'))
  const { base, back } = await within('the end', examine(order(server.url)))
  t.match([base.end.how, back!.end.how], ['cut', 'cut'])
})

t.test('there is no reconnection without a stream, nor after the signal', async t => {
  const server = await Scripted.start(t, answers(401))
  t.equal((await examine(order(server.url))).back, undefined)
  const controller = new AbortController()
  const live = await asked(t, () => streams('data: 1\n\n'))
  const examination = examine(order(live.url, { signal: controller.signal }))
  await live.request(3)
  controller.abort()
  t.equal((await within('the end', examination)).back, undefined)
})

t.test('over TLS the examination uses the protocol of a browser', async t => {
  for (const [allowHTTP1, version] of [[true, '2'], [false, '1.1']] as const) {
    const secure = { https: { ...certificate(), allowHTTP1 }, forceCloseConnections: true }
    // The types of the two servers share only the members that are used here.
    const app = (allowHTTP1 ? Fastify({ ...secure, http2: true }) : Fastify(secure)) as unknown as FastifyInstance
    t.teardown(() => app.close())
    await app.register(sse)
    app.get('/', (_request, reply) => reply.sse([{ id: 1, data: 1 }]))
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const { alpn, base, back } = await within('the end', examine(order(url)))
    t.strictSame([alpn, base.head?.version, back?.head?.version], [version === '2' ? 'h2' : 'http/1.1', version,
      version])
    t.equal(base.end.how, 'complete')
    t.equal(base.arrivals.events.length, 1)
  }
})

t.test('the protocol of TLS is none without ALPN, and unknown without TLS or after the signal', async t => {
  const { signal } = new AbortController()
  const secure = createSecureServer(certificate(), socket => socket.on('error', () => {})).listen(0, '127.0.0.1')
  const sockets = new Set<Socket>()
  const silent = createServer(socket => sockets.add(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  t.teardown(() => {
    secure.close()
    silent.close()
    for (const socket of sockets) socket.destroy()
  })
  await Promise.all([secure, silent].map(server => server.listening ? undefined : once(server, 'listening')))
  const urlOf = (host: string, { port }: AddressInfo): URL => new URL(`https://${host}:${port}/`)
  t.equal(await offeredBy(urlOf('127.0.0.1', secure.address() as AddressInfo), 5, signal), 'none')
  t.equal(await offeredBy(urlOf('localhost', secure.address() as AddressInfo), 5, signal), 'none')
  t.equal(await offeredBy(new URL('https://[::ffff:127.0.0.1]:1/'), 5, signal), undefined)
  const controller = new AbortController()
  const offered = offeredBy(urlOf('127.0.0.1', silent.address() as AddressInfo), 60, controller.signal)
  await once(silent, 'connection')
  controller.abort()
  t.equal(await within('the answer', offered), undefined)
  t.equal(await within('the answer', offeredBy(urlOf('127.0.0.1', silent.address() as AddressInfo), 0.1, signal)),
    undefined)
  t.equal(await offeredBy(new URL('https://127.0.0.1/'), 5, AbortSignal.abort()), undefined)
})
