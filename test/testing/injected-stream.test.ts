import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type CloseReport } from '../../lib/index.ts'
import { injectStream, type InjectStreamOptions } from '../../lib/testing/inject-stream.ts'
import type { InjectedStream } from '../../lib/testing/injected-stream.ts'
import type { ClientEventOf } from '../../lib/client/encoding.ts'
import { openStreams } from '../../lib/testing/open-streams.ts'
import { until } from '../setup/until.ts'
import { held } from '../setup/within.ts'

const events = { n: Type.Integer() }
type Options = Partial<InjectStreamOptions<typeof events>>

interface Served {
  app: FastifyInstance
  reports: CloseReport[]
  over: string[]
  pulled: () => number
  open: (url: string, options?: Options) => Promise<InjectedStream<ClientEventOf<typeof events>>>
}

async function serve (t: Test, routes: (app: FastifyInstance) => void = () => {}): Promise<Served> {
  const app = Fastify()
  t.teardown(() => app.close())
  const reports: CloseReport[] = []
  const over: string[] = []
  let pulled = 0
  await app.register(sse, {
    onClose: report => {
      reports.push(report)
    }
  })
  app.get('/count', { schema: { sse: events } }, (request, reply) =>
    reply.sse(async function * () {
      try {
        for (let n = Number(request.lastEventId ?? 0) + 1; ; n++) {
          pulled++
          yield { event: 'n', id: n, data: n }
        }
      } finally {
        await null
        over.push('finally')
      }
    }))
  app.get('/three', { schema: { sse: events } },
    (_request, reply) => reply.sse([1, 2, 3].map(n => ({ event: 'n', data: n } as const)), { finite: true }))
  app.get('/failing', { schema: { sse: events } }, (_request, reply) =>
    reply.sse(async function * () {
      yield { event: 'n', data: 1 } as const
      throw new Error('secret')
    }))
  app.get('/silent', (_request, reply) => reply.sse(() => new Promise<never>(() => {})))
  routes(app)
  return {
    app,
    reports,
    over,
    pulled: () => pulled,
    open: (url, options) => injectStream(app, { url, events, ...options })
  }
}

const numbers = (events: Array<{ data: unknown }>): unknown[] => events.map(({ data }) => data)

t.test('take, takeUntil, a loop and takeAll continue after each other', async t => {
  const { open } = await serve(t)
  const stream = await open('/count')
  t.strictSame(await stream.take(0), [])
  t.strictSame(await stream.take(2), [{ event: 'n', data: 1, id: '1' }, { event: 'n', data: 2, id: '2' }])
  t.strictSame(numbers(await stream.takeUntil(({ data }) => data === 5)), [3, 4, 5])
  t.equal(stream.lastEventId, '5')
  for await (const event of stream) {
    if (event.data === 7) break
  }
  t.strictSame(await stream.closed, { reason: 'closed' }, 'leaving a loop closes the stream, as it does in a client')
  t.strictSame(await stream.takeAll(), [])

  const finite = await open('/three')
  t.strictSame(numbers(await finite.take(1)), [1])
  t.strictSame(numbers(await finite.takeAll()), [2, 3])
  t.strictSame(await finite.closed, { reason: 'complete' })
  t.equal(finite.text,
    'event: n\ndata: 1\n\nevent: n\ndata: 2\n\nevent: n\ndata: 3\n\nevent: sse.position\nid: sse.end\ndata: \n\n')
})

t.test('takeAll continues after a loop', async t => {
  const { open } = await serve(t)
  const stream = await open('/three')
  const reading = stream[Symbol.asyncIterator]()
  t.match(await reading.next(), { value: { data: 1 } })
  t.strictSame(numbers(await stream.take(2)), [2, 3])
  t.strictSame(await reading.next(), { value: undefined, done: true })
})

t.test('a wait that times out reports the received events, and the next wait gets the late one', async t => {
  let go!: () => void
  const { open } = await serve(t, app => {
    app.get('/slow', { schema: { sse: events } }, (_request, reply) =>
      reply.sse(async function * () {
        yield { event: 'n', data: 1 } as const
        await new Promise<void>(resolve => {
          go = resolve
        })
        yield { event: 'n', data: 2 } as const
      }))
  })
  const stream = await open('/slow', { timeout: 300 })
  await t.rejects(stream.take(2), {
    code: 'FST_SSE_TEST_TIMEOUT',
    message: 'GET /slow: 2 events did not arrive within 300 ms; so far: n 1'
  })
  go()
  t.strictSame(numbers(await stream.take(1)), [2])
  const silent = await open('/silent', { timeout: 300 })
  await t.rejects(silent.take(1), { message: 'GET /silent: 1 event did not arrive within 300 ms; so far: nothing' })
  await t.rejects(silent.takeUntil(() => true), {
    message: 'GET /silent: the event of takeUntil() did not arrive within 300 ms; so far: nothing'
  })
  await t.rejects(silent.takeAll(), { message: 'GET /silent: its end did not arrive within 300 ms; so far: nothing' })
  silent.stall()
  await t.rejects(silent.takeAll(), {
    message: 'GET /silent: its end did not arrive within 300 ms, and the client was stalled; so far: nothing'
  })
})

t.test('a stream that ends early rejects at once, with its reason', async t => {
  const { open } = await serve(t)
  const stream = await open('/three')
  await t.rejects(stream.take(4), {
    code: 'FST_SSE_TEST_TIMEOUT',
    message: 'GET /three: 4 events did not arrive before the stream ended (complete); so far: n 1, n 2, n 3'
  })
  const failing = await open('/failing')
  await t.rejects(failing.takeUntil(() => false), {
    message: /before the stream ended \(The server failed: Internal Server Error\); so far: n 1$/,
    cause: { code: 'FST_SSE_SERVER_ERROR' }
  })
  const other = await open('/failing')
  t.strictSame(numbers(await other.takeAll()), [1], 'takeAll accepts any end')
  t.match(await other.closed, { reason: 'error', error: { code: 'FST_SSE_SERVER_ERROR' } })
})

t.test('an error of the callback of takeUntil is thrown', async t => {
  const { open } = await serve(t)
  await t.rejects((await open('/count')).takeUntil(() => {
    throw new Error('mine')
  }), { message: 'mine' })
})

t.test('L3: disconnect resolves when the server has noticed and the source is over', async t => {
  const { app, open, reports, over } = await serve(t)
  const stream = await open('/count')
  await stream.take(3)
  t.strictSame(openStreams(app), ['GET /count'])
  await stream.disconnect()
  t.strictSame([openStreams(app), reports.map(({ reason }) => reason), over], [[], ['client'], ['finally']])
  await stream.disconnect()
  t.equal(reports.length, 1, 'a second time is none')
  await (await open('/three')).disconnect()
})

t.test('reconnect resumes after the last consumed event', async t => {
  const { app, open, reports } = await serve(t, app => {
    app.get('/channel', { schema: { sse: events } },
      (_request, reply) => reply.sse(app.sse.channel('n', { events, start: 'earliest' })))
  })
  const stream = await open('/count', { headers: { 'x-a': 'b' } })
  await stream.take(3)
  const again = await stream.reconnect()
  t.equal(reports.length, 1, 'it left first')
  t.strictSame(numbers(await again.take(2)), [4, 5])
  await again.disconnect()
  t.strictSame(numbers(await (await again.reconnect()).take(1)), [6])

  const finite = await open('/three')
  await finite.takeAll()
  t.equal((await finite.reconnect()).response.statusCode, 204)

  const channel = app.sse.channel('n', { events, start: 'earliest' })
  const ids = await Promise.all([1, 2, 3].map(data => channel.publish({ event: 'n', data })))
  const unread = await open('/channel')
  await until('all three are read', () => unread.text.includes('data: 3'))
  t.equal(unread.lastEventId, ids[0]!.replace(/1$/, '0'),
    'the position that the stream begins with, though more was read')
  t.strictSame(numbers(await (await unread.reconnect()).take(3)), [1, 2, 3])
})

t.test('L4: a stalled client pauses the source, and resumes', async t => {
  const { open, pulled } = await serve(t)
  const stream = await open('/count')
  await stream.take(1)
  const goOn = stream.stall()
  const before = await held(pulled)
  t.ok(before < 10_000)
  goOn()
  t.equal((await stream.take(before + 10)).length, before + 10)
  await stream.disconnect()
})

t.test('listeners and take receive the same events', async t => {
  const { open } = await serve(t)
  const stream = await open('/three')
  const heard: number[] = []
  stream.on('n', ({ data }) => {
    heard.push(data)
  })
  t.strictSame(numbers(await stream.takeAll()), heard)
})
