import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { diagnostics } from '../../lib/metrics/diagnostics.ts'
import sse, { type AnyEvent, type Diagnostics } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

type DiagnosticsMessage = { [N in keyof Diagnostics]: [N, Diagnostics[N]] }[keyof Diagnostics]

/** Returns all messages of the diagnostics channels during the test, in order. */
function recordMessages (t: Test): DiagnosticsMessage[] {
  const messages: DiagnosticsMessage[] = []
  for (const name of Object.keys(diagnostics).map(name => `fastify-typed-sse:${name}` as keyof Diagnostics)) {
    const listener = (message: unknown): void => { messages.push([name, message] as DiagnosticsMessage) }
    subscribe(name, listener)
    t.teardown(() => unsubscribe(name, listener))
  }
  return messages
}

const summaryOf = (messages: readonly DiagnosticsMessage[]): unknown[] => messages.map(([name, message]) => {
  const { request, ...rest } = message as { request?: FastifyRequest }
  return [name.slice('fastify-typed-sse:'.length), ...('request' in message ? [request?.url] : []), rest]
})

t.test('the diagnostics channels exist and have no subscribers by default', async t => {
  t.strictSame(Object.values(diagnostics).map(({ hasSubscribers }) => hasSubscribers), Array(9).fill(false))
  recordMessages(t)
  t.strictSame(Object.values(diagnostics).map(({ hasSubscribers }) => hasSubscribers), Array(9).fill(true))
})

t.test('a stream publishes open, error, and close once', async t => {
  const app = Fastify()
  await app.register(sse, { limits: { maxStreams: 1 } })
  app.get('/fine', (_request, reply) => reply.sse([{ data: 1, id: 'a' }]))
  app.get('/late', (_request, reply) => reply.sse((async function * (): AsyncGenerator<AnyEvent> {
    yield { data: 1 }
    throw new Error('late')
  })()))
  app.get('/early', (_request, reply) => reply.sse(() => { throw new Error('early') }))
  app.get('/twice', async (_request, reply) => {
    const inner = await app.inject({ url: '/fine', headers: { accept: 'text/event-stream' } })
    return reply.sse([{ data: inner.body }])
  })
  app.get('/within', (_request, reply) => reply.sse(async function * (): AsyncGenerator<AnyEvent> {
    yield { data: (await app.inject('/fine')).statusCode }
  }))
  await app.ready()
  const messages = recordMessages(t)
  await app.inject('/fine')
  t.match(summaryOf(messages.splice(0)), [
    ['open', '/fine', { route: 'GET /fine' }],
    ['close', '/fine', {
      route: 'GET /fine',
      reason: 'complete',
      duration: Number,
      events: 1,
      bytes: 15,
      lastEventId: 'a'
    }]
  ])
  await app.inject('/late')
  t.match(summaryOf(messages.splice(0)), [['open', '/late', {}], ['error', '/late', { error: { message: 'late' } }], [
    'close',
    '/late',
    { reason: 'error', events: 1 }
  ]])
  await app.inject('/early')
  t.match(summaryOf(messages.splice(0)), [['open', '/early', {}], ['error', '/early', { error: { message: 'early' } }],
    ['close', '/early', { reason: 'error', events: 0 }]])
  await app.inject('/within')
  t.match(summaryOf(messages.splice(0)), [
    ['open', '/within', {}],
    ['reject', '/fine', { route: 'GET /fine', reason: 'maxStreams', retryable: false }],
    ['close', '/within', { events: 1 }]
  ])
  await app.inject({ method: 'HEAD', url: '/fine' })
  t.strictSame(messages, [], 'a response without a body is no stream')
})

t.test('an event publishes publish and deliver', async t => {
  const app = Fastify()
  await app.register(sse)
  const news = app.sse.channel('news', { history: { maxEvents: 2 }, slowConsumer: 'skip' })
  app.get('/', (_request, reply) => reply.sse(news))
  app.get('/oldest', (_request, reply) => reply.sse(news.subscribe({ start: 'earliest' })))
  const port = await listen(t, app)
  const client = await open(port)
  await within('the opening', client.until(': live'))
  const messages = recordMessages(t)
  const ids = await Promise.all([1, 2].map(data => news.publish({ event: 'count', data })))
  await within('the events', client.until('data: 2'))
  const [epoch] = ids[0]!.split('-')
  t.match(summaryOf(messages.splice(0)), [
    ['publish', { channel: 'news', event: 'count', id: ids[0] }],
    ['publish', { channel: 'news', event: 'count', id: ids[1] }],
    ['deliver', { channel: 'news', epoch, from: 1, to: 2, subscribers: 1, latency: Number }]
  ])
  client.socket.destroy()
  while (app.sse.streams().length > 0) await turn()
  await Promise.all([3, 4, 5].map(data => news.publish({ data })))
  messages.length = 0

  const stale = await open(port, { headers: { 'last-event-id': `${epoch}-1` } })
  await within('the reset', stale.until('sse.reset'))
  t.match(summaryOf(messages).slice(0, 2), [['open', '/', {}], ['reset', '/', { channel: 'news', reason: 'evicted' }]])
  stale.socket.destroy()
  while (app.sse.streams().length > 0) await turn()
  messages.length = 0

  const beginning = news.subscribe({ start: 'earliest' })[Symbol.asyncIterator]()
  t.match(await beginning.next(), { value: { event: 'sse.gap', data: { dropped: 3 } } })
  await beginning.return?.()
  t.match(summaryOf(messages), [['drop', undefined, { channel: 'news', dropped: 3 }]], 'a loop has no request')
  const oldest = await open(port, { path: '/oldest' })
  await within('the gap', oldest.until('sse.gap'))
  t.match(summaryOf(messages).at(-1), ['drop', '/oldest', { channel: 'news', dropped: 3 }])
  oldest.socket.destroy()
  t.match(app.sse.stats(), { published: 5, gaps: 2, dropped: 6, resets: 1 })
})

t.test('a subscriber that is disconnected as a slow consumer publishes drop without a number', async t => {
  const app = Fastify()
  await app.register(sse)
  const news = app.sse.channel('news', { history: { maxEvents: 1 } })
  const reading = news.subscribe()[Symbol.asyncIterator]()
  const first = reading.next()
  await turn()
  const messages = recordMessages(t)
  await news.publish({ data: 0 })
  await first
  // More than the buffer of a loop and the history hold.
  for (let n = 0; n < 200; n++) {
    await news.publish({ data: n })
    await turn()
  }
  await t.rejects(async () => {
    for (;;) await reading.next()
  }, { code: 'FST_SSE_LAGGING' })
  t.match(summaryOf(messages.filter(([name]) => name === 'fastify-typed-sse:drop')), [['drop', undefined, {
    channel: 'news',
    dropped: undefined
  }]])
  await app.close()
})

t.test('a paced stream publishes merge for the events that later ones replaced', async t => {
  const app = Fastify()
  await app.register(sse)
  const news = app.sse.channel('news', { pace: { every: 3_600_000, key: () => 'key' } })
  app.get('/', (_request, reply) => reply.sse(news))
  const client = await open(await listen(t, app))
  await within('the opening', client.until(': live'))
  const messages = recordMessages(t)
  const loop = news.subscribe()[Symbol.asyncIterator]()
  const first = loop.next()
  await Promise.all([1, 2, 3].map(data => news.publish({ data })))
  t.match(await first, { value: { data: 3 } })
  await within('the event', client.until('data: 3'))
  t.strictSame(summaryOf(messages.filter(([name]) => name === 'fastify-typed-sse:merge')), [
    ['merge', '/', { channel: 'news', merged: 2 }],
    ['merge', undefined, { channel: 'news', merged: 2 }]
  ])
  t.match(app.sse.stats(), { merged: 4, dropped: 0, gaps: 0, channels: 1 })
  t.match(app.sse.channels(), [{ name: 'news', subscribers: 2, lagging: 0 }])
})
