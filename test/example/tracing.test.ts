import { AsyncLocalStorage } from 'node:async_hooks'
import { spawn } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect } from 'node:net'
import {
  context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Context,
  type ContextManager
} from '@opentelemetry/api'
import {
  BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor,
  type ReadableSpan
} from '@opentelemetry/sdk-trace-base'
import Fastify, { type FastifyInstance } from 'fastify'
import sse from 'fastify-typed-sse'
import t, { type Test } from 'tap'
import { traceSse } from '../../example/tracing/tracing.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'

/** A context manager, as an SDK provides it: the active span is active in called functions, too. */
class Contexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>()
  active (): Context {
    return this.#storage.getStore() ?? ROOT_CONTEXT
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>> (
    context: Context,
    fn: F,
    self?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return this.#storage.run(context, () => Reflect.apply(fn, self, args) as ReturnType<F>)
  }

  bind<T> (_context: Context, target: T): T { return target }
  enable (): this { return this }
  disable (): this { return this }
}

context.setGlobalContextManager(new Contexts())
t.teardown(() => context.disable())

/** Called by the filter of a subscriber. */
let onFilter: () => void = () => {}

interface Traced {
  app: FastifyInstance
  port: number
  spans: (name: string, count?: number) => Promise<ReadableSpan[]>
  exporter: InMemorySpanExporter
}

async function start (t: Test, options: { maxPending?: number } = {}): Promise<Traced> {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  const tracer = provider.getTracer('test')
  t.teardown(traceSse(tracer, options))
  const app = Fastify()
  await app.register(sse)
  // As instrumentation does it: the handler runs within the span of its request.
  app.addHook('onRequest', (request, _reply, done) => {
    const span = tracer.startSpan(`${request.method} ${request.url}`)
    span.end()
    context.with(trace.setSpan(context.active(), span), done)
  })
  const channel = app.sse.channel('news')
  app.get('/news', (_request, reply) => reply.sse(channel))
  app.get('/permitted', (_request, reply) =>
    reply.sse(channel.subscribe({
      filter: () => {
        onFilter()
        return true
      }
    })))
  app.get('/fails', (_request, reply) =>
    reply.sse((function * () {
      yield { data: 1 }
      throw new Error('swordfish')
    })()))
  app.post('/news', async () => ({ id: await channel.publish({ event: 'one', data: 1 }) }))
  const spans = async (name: string, count = 1): Promise<ReadableSpan[]> => {
    for (;;) {
      const found = exporter.getFinishedSpans().filter(span => span.name === name)
      if (found.length >= count) return found
      await new Promise(setImmediate)
    }
  }
  return { app, port: await listen(t, app), spans, exporter }
}

const millis = ([seconds, nanos]: readonly [number, number]): number => seconds * 1_000 + nanos / 1e6

t.test('a publish is a producer span, within the active span', async t => {
  const { port, spans } = await start(t)
  const response = await fetch(`http://127.0.0.1:${port}/news`, { method: 'POST' })
  const { id } = await response.json() as { id: string }
  const [span] = await spans('publish news')
  const [request] = await spans('POST /news')
  t.equal(span!.kind, SpanKind.PRODUCER)
  t.match(span!.attributes, {
    'messaging.system': 'fastify-typed-sse',
    'messaging.operation.type': 'send',
    'messaging.destination.name': 'news',
    'messaging.message.id': id,
    'sse.event': 'one'
  })
  t.equal(span!.parentSpanContext?.spanId, request!.spanContext().spanId)
  t.equal(span!.spanContext().traceId, request!.spanContext().traceId)
})

t.test('a delivery is one span for all subscribers, with links to the publishes in it', async t => {
  const { app, port, spans } = await start(t)
  const clients = await Promise.all([1, 2, 3].map(() => open(port, { path: '/news' })))
  for (const client of clients) {
    t.teardown(() => client.socket.destroy())
    await client.until(': live')
  }
  const news = app.sse.channel('news')
  const ids = await Promise.all([1, 2].map(data => news.publish({ data })))
  await Promise.all(clients.map(client => client.until('data: 2\n\n')))
  const [delivery] = await spans('deliver news')
  t.equal(delivery!.kind, SpanKind.CONSUMER)
  t.match(delivery!.attributes, {
    'messaging.operation.type': 'process',
    'messaging.destination.name': 'news',
    'messaging.batch.message_count': 2,
    'sse.subscribers': 3
  })
  const publishes = await spans('publish news', 2)
  t.strictSame(publishes.map(({ attributes }) => attributes['messaging.message.id']), ids)
  t.strictSame(delivery!.links.map(({ context }) => context), publishes.map(span => span.spanContext()))
  t.equal(delivery!.parentSpanContext, undefined)
  t.ok(millis(delivery!.startTime) <= millis(delivery!.endTime))
  t.equal((await spans('deliver news')).length, 1)
  await news.publish({ data: 3 })
  const [, next] = await spans('deliver news', 2)
  t.strictSame(next!.links.map(({ context }) => context), [(await spans('publish news', 3))[2]!.spanContext()],
    'and no other')
})

t.test('a stream is one span from its start to its end, within its request, created at the end', async t => {
  // When the stream began, by a listener before that of the program and by one after it.
  const starts: number[] = []
  const observe = (): void => {
    const listener = (message: unknown): void => {
      starts.push(Date.now() - (message as { duration: number }).duration)
    }
    subscribe('fastify-typed-sse:close', listener)
    t.teardown(() => unsubscribe('fastify-typed-sse:close', listener))
  }
  observe()
  const { app, port, spans, exporter } = await start(t)
  observe()
  const client = await open(port, { path: '/news' })
  await client.until(': live')
  await app.sse.channel('news').publish({ data: 1 })
  await client.until('data: 1\n\n')
  t.strictSame(exporter.getFinishedSpans().filter(({ name }) => name.startsWith('stream')), [])
  client.socket.destroy()
  const [span] = await spans('stream GET /news')
  const [request] = await spans('GET /news')
  t.equal(span!.kind, SpanKind.SERVER)
  t.strictSame(span!.attributes, {
    'sse.route': 'GET /news',
    'sse.close.reason': 'client',
    'sse.events': 1,
    'sse.bytes': app.sse.stats().streams.bytes
  })
  t.equal(span!.parentSpanContext?.spanId, request!.spanContext().spanId)
  const [earliest, latest] = starts as [number, number]
  // OpenTelemetry rounds to nanoseconds.
  t.ok(millis(span!.startTime) >= earliest - 0.001)
  t.ok(millis(span!.startTime) <= latest + 0.001)
  t.ok(millis(span!.endTime) > millis(span!.startTime))
  t.equal(span!.status.code, SpanStatusCode.UNSET)
})

t.test('the span of a failed stream has an error status; a stream that the server ends has none', async t => {
  const { app, port, spans } = await start(t)
  await (await open(port, { path: '/fails' })).until('event: error')
  const [failed] = await spans('stream GET /fails')
  t.match(failed, { status: { code: SpanStatusCode.ERROR }, attributes: { 'sse.close.reason': 'error' } })
  await (await open(port, { path: '/news' })).until(': live')
  await app.close()
  const [ended] = await spans('stream GET /news')
  t.match(ended, { status: { code: SpanStatusCode.UNSET }, attributes: { 'sse.close.reason': 'shutdown' } })
})

t.test('L11: a user\'s function runs in the span of the request of its own stream', async t => {
  const { port, spans } = await start(t)
  const seen: Array<string | undefined> = []
  const see = (): void => { seen.push(trace.getSpanContext(context.active())?.spanId) }
  const clients = await Promise.all(['/permitted?1', '/permitted?2'].map(path => open(port, { path })))
  for (const client of clients) {
    t.teardown(() => client.socket.destroy())
    await client.until(': live')
  }
  onFilter = see
  await fetch(`http://127.0.0.1:${port}/news`, { method: 'POST' })
  await Promise.all(clients.map(client => client.until('data: 1\n\n')))
  const ids = [...await spans('GET /permitted?1'), ...await spans('GET /permitted?2')].map(span =>
    span.spanContext().spanId
  )
  t.strictSame(seen.sort(), ids.sort())
})

t.test('undelivered publishes are remembered up to maxPending', async t => {
  const { app, port, spans } = await start(t, { maxPending: 3 })
  const news = app.sse.channel('news')
  // Without a subscriber nothing is delivered, so nothing would be removed.
  for (let n = 1; n <= 5; n++) await news.publish({ data: n })
  const client = await open(port, { path: '/news' })
  t.teardown(() => client.socket.destroy())
  await client.until(': live')
  for (let n = 6; n <= 9; n++) news.publish({ data: n })
  await client.until('data: 9\n\n')
  const [delivery] = await spans('deliver news')
  const publishes = await spans('publish news', 9)
  t.equal(delivery!.attributes['messaging.batch.message_count'], 4)
  t.strictSame(delivery!.links.map(({ context }) => context), publishes.slice(-3).map(span => span.spanContext()),
    'the newest')
})

t.test('after stop, no more spans are created', async t => {
  const exporter = new InMemorySpanExporter()
  const stop = traceSse(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).getTracer('test')
  )
  const app = Fastify()
  await app.register(sse)
  await listen(t, app)
  await app.sse.channel('news').publish({ data: 1 })
  stop()
  await app.sse.channel('news').publish({ data: 2 })
  t.strictSame(exporter.getFinishedSpans().map(({ name }) => name), ['publish news'])
})

t.test('example/tracing/server.ts prints the spans of its ticks', async t => {
  const child = spawn(process.execPath, ['--import', 'tsx', 'example/tracing/server.ts'], {
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const exit = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exit
  })
  let output = ''
  child.stdout.on('data', text => { output += String(text) })
  const says = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (let match = pattern.exec(output); ; match = pattern.exec(output)) {
      if (match !== null) return match
      await once(child.stdout, 'data')
    }
  }
  const [, port] = await says(/curl -N http:\/\/127\.0\.0\.1:(\d+)\/ticks/)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write('GET /ticks HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await says(/name: 'publish ticks'/)
  await says(/name: 'deliver ticks'/)
  child.kill('SIGTERM')
  t.strictSame(await exit, [0, null])
  t.match(output, /name: 'stream GET \/ticks'/)
  t.match(output, /'sse\.close\.reason': 'shutdown'/)
  socket.destroy()
})
