import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable, Transform } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setImmediate as turn } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import {
  EventQueue, StreamClosedError, type AnyEvent, type CloseReport, type EventMap, type RegisterOptions,
  type StreamOptions
} from '../../lib/index.ts'
import sse from '../../lib/server/plugin.ts'
import { listen } from '../setup/listen.ts'
import { liftLoopBudget } from '../setup/loop-budget.ts'
import { open } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

interface LogLine { level: number, msg?: string, err?: { type?: string, message?: string, code?: string } }

const ERROR = 50
const WARN = 40
const INFO = 30

// What hangs fails its own test.
const PATIENCE = 3_000

interface TestApp {
  app: FastifyInstance
  log: LogLine[]
  reports: CloseReport[]
  /** What was logged at that level: the codes of the errors, or their messages, or else the lines. */
  logged: (level: number) => Array<string | undefined>
}

/** An app with the plugin. Its log lines and the reports of its streams are collected. */
async function build (t: Test, options: RegisterOptions = {}): Promise<TestApp> {
  const log: LogLine[] = []
  const reports: CloseReport[] = []
  const app = Fastify({
    forceCloseConnections: true,
    logger: {
      level: 'debug',
      stream: {
        write: (line: string) => {
          log.push(JSON.parse(line))
        }
      }
    }
  })
  t.teardown(() => app.close())
  await app.register(sse, { onClose: report => reports.push(report), ...options })
  // For Fastify, an inject that is aborted is a response that failed. That line is not ours, and a real client makes
  // none.
  const logged = (level: number) =>
    log.filter(line => line.level === level && line.msg !== 'request errored').map(line =>
      line.err === undefined ? line.msg : line.err.code ?? line.err.message
    )
  return { app, log, reports, logged }
}

/** An answer that must come. */
function get (app: FastifyInstance, options: string | InjectOptions = '/') {
  return within('an answer', app.inject(options), PATIENCE)
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

/** The answer of an app with that one route. */
async function answer (t: Test, handler: Handler, options: RegisterOptions = {}, map?: EventMap) {
  const built = await build(t, options)
  built.app.get('/', map === undefined ? {} : { schema: { sse: map } }, handler)
  const response = await get(built.app)
  return { ...built, response }
}

/** The body and the report of a stream with that source. */
async function stream (
  t: Test,
  source: () => AsyncIterable<unknown> | Iterable<unknown>,
  options: StreamOptions = {},
  map?: EventMap
) {
  const built = await answer(t, (_request, reply) => reply.sse(source() as AsyncIterable<AnyEvent>, options), {}, map)
  return { ...built, body: built.response.payload, report: built.reports[0] }
}

/** A promise in the test's hand. */
function gate (): { opened: Promise<void>, open: () => void } {
  let open!: () => void
  const opened = new Promise<void>(resolve => { open = resolve })
  return { opened, open }
}

/** A client that reads what comes as it comes, and may leave. */
async function connect (app: FastifyInstance, options: InjectOptions = {}) {
  const controller = new AbortController()
  const response = await get(app, { url: '/', payloadAsStream: true, signal: controller.signal, ...options })
  const chunks = response.stream().setEncoding('utf8')[Symbol.asyncIterator]()
  const read = () => within('the next chunk', chunks.next(), PATIENCE)
  return {
    headers: response.headers,
    next: async (): Promise<string | undefined> => (await read()).value,
    /** All that is still to come. */
    async rest (): Promise<string> {
      let text = ''
      for (let step = await read(); step.done !== true; step = await read()) text += step.value
      return text
    },
    leave (): void {
      controller.abort()
      chunks.next().catch(() => {})
    }
  }
}

/** What is written to the response, write by write. */
function writesOf (reply: FastifyReply): string[] {
  const writes: string[] = []
  const { raw } = reply
  const write = raw.write
  raw.write = ((...args: Parameters<typeof write>) => {
    writes.push(String(args[0]))
    return Reflect.apply(write, raw, args)
  }) as typeof write
  return writes
}

async function * generate (...events: AnyEvent[]): AsyncGenerator<AnyEvent> { yield * events }

/** An event at once, and then nothing more; `returned` counts how often it was stopped. */
function oneThenSilence (): AsyncIterable<AnyEvent> & { returned: number } {
  let calls = 0
  const source = {
    returned: 0,
    [Symbol.asyncIterator]: () => ({
      next: () => calls++ === 0 ? { value: { data: 1 }, done: false } : new Promise(() => {}),
      return: () => { source.returned++ }
    })
  }
  return source as unknown as AsyncIterable<AnyEvent> & { returned: number }
}

const problem = (status: number, title: string, detail?: string) =>
  `event: error\ndata: ${JSON.stringify({ type: 'about:blank', title, status, instance: 'req-1', detail })}\n\n`
const INTERNAL = problem(500, 'Internal Server Error')

// The beginning: L1

const unlucky: Array<[what: string, source: () => unknown]> = [
  ['an async generator that throws', async function * () { throw new Error('no luck') }],
  ['a generator that throws', function * () { throw new Error('no luck') }],
  ['a function that throws', () => { throw new Error('no luck') }],
  ['a function that rejects', async () => { throw new Error('no luck') }],
  ['a readable that fails', () => new Readable({ objectMode: true, read () { this.destroy(new Error('no luck')) } })],
  ['a queue that ends with an error', () => {
    const queue = new EventQueue()
    queue.end(new Error('no luck'))
    return queue
  }]
]
for (const [what, source] of unlucky) {
  t.test(`L1: ${what} before its first event makes an ordinary error response`, async t => {
    const { app, reports, logged } = await build(t)
    let hooked: Error | undefined
    app.addHook('onError', async (_request, _reply, error) => { hooked = error })
    app.get('/', (_request, reply) => reply.sse(source as () => AsyncIterable<AnyEvent>))
    const response = await get(app)
    t.equal(response.statusCode, 500)
    t.same(response.json(), { statusCode: 500, error: 'Internal Server Error', message: 'no luck' })
    t.match(response.headers, {
      'content-type': 'application/json; charset=utf-8',
      'cache-control': undefined,
      'x-accel-buffering': undefined
    })
    t.equal(hooked?.message, 'no luck')
    t.same(logged(ERROR), ['no luck'], 'the log has it once')
    t.match(reports, [{ reason: 'error', events: 0, bytes: 0 }])
  })
}

t.test('L1: an error before the first event has its own status', async t => {
  const { response } = await answer(t, (_request, reply) => reply.sse((async function * () {
    throw Object.assign(new Error('no such order'), { statusCode: 404 })
  })()))
  t.equal(response.statusCode, 404)
  t.equal(response.json().message, 'no such order')
})

const handlers: Array<
  [what: string, handler: (error: unknown, request: FastifyRequest, reply: FastifyReply) => unknown, status: number,
    body: string]
> = [
  ['sends', (_error, _request, reply) => {
    reply.code(418).send({ tea: true })
  }, 418, '{"tea":true}'],
  ['returns', (_error, _request, reply) => {
    reply.code(418)
    return { tea: true }
  }, 418, '{"tea":true}'],
  ['sends later', async (_error, _request, reply) => {
    await null
    return reply.code(418).send({ tea: true })
  }, 418, '{"tea":true}'],
  ['sends nothing', (_error, _request, reply) => {
    reply.code(418).send()
  }, 418, ''],
  ['sends nothing later', async (_error, _request, reply) => {
    await null
    return reply.code(418).send()
  }, 418, ''],
  ['is async and returns nothing', async (_error, _request, reply) => {
    reply.code(418)
  }, 418, ''],
  ['throws', () => {
    throw new Error('worse')
  }, 500, '{"statusCode":500,"error":"Internal Server Error","message":"worse"}']
]
for (const [what, handler, status, body] of handlers) {
  t.test(`L1: the reply of an error handler that ${what} is sent`, async t => {
    const { app } = await build(t)
    app.setErrorHandler(handler)
    app.get('/', (_request, reply) => reply.sse(() => { throw new Error('no luck') }))
    const response = await get(app)
    t.equal(response.statusCode, status)
    t.equal(response.payload, body)
  })
}

t.test("L1: an error handler may pass the error to the parent's handler, which may answer without a payload", async t => {
  const { app } = await build(t)
  app.setErrorHandler((_error, _request, reply) => { reply.code(418).send() })
  app.register(async child => {
    child.setErrorHandler((error, _request, reply) => { reply.send(error) })
    child.get('/', (_request, reply) => reply.sse(() => { throw new Error('no luck') }))
  })
  const response = await get(app)
  t.equal(response.statusCode, 418)
  t.equal(response.payload, '')
})

t.test('W1: the headers are those of an event stream, and headers that the handler has set take precedence', async t => {
  const plain = await stream(t, () => generate({ data: 1 }))
  t.match(plain.response.headers, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
    'content-length': undefined
  })
  const { response } = await answer(t, (_request, reply) => {
    reply.header('cache-control', 'no-store')
    reply.raw.setHeader('x-accel-buffering', 'yes')
    return reply.type('text/event-stream').code(201).sse(generate({ data: 1 }))
  })
  t.equal(response.statusCode, 201)
  t.match(response.headers, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'yes'
  })
})

for (const flushHeadersAfter of [0, 50]) {
  for (const promises of [0, 1, 20]) {
    t.test(`L1: an event that is ready after ${promises} promises is sent with the head, without a comment, with flushHeadersAfter ${flushHeadersAfter}`, async t => {
      liftLoopBudget(t)
      const { body } = await stream(t, async function * () {
        for (let nth = 0; nth < promises; nth++) await null
        yield { data: 1 }
      }, { flushHeadersAfter })
      t.equal(body, 'data: 1\n\n')
    })
  }
}

t.test('L1: no comment follows a first event that is ready at once', async t => {
  const { body } = await stream(t, () => {
    let calls = 0
    const next = () => calls++ === 0 ? { value: { data: 1 }, done: false } : turn({ value: undefined, done: true })
    return { [Symbol.asyncIterator]: () => ({ next }) } as AsyncIterable<unknown>
  }, { flushHeadersAfter: 0 })
  t.equal(body, 'data: 1\n\n')
})

for (const flushHeadersAfter of [0, 5]) {
  t.test(`L1: if the first event takes longer than ${flushHeadersAfter} ms, the head is sent with a comment`, async t => {
    const { app } = await build(t, { flushHeadersAfter })
    const first = gate()
    app.get('/', (_request, reply) => reply.sse((async function * () {
      await first.opened
      yield { data: 1 }
    })()))
    const client = await connect(app)
    t.equal(client.headers['content-type'], 'text/event-stream; charset=utf-8')
    t.equal(await client.next(), ':\n\n')
    first.open()
    t.equal(await client.rest(), 'data: 1\n\n')
  })
}

t.test('L1: an error after the head is an error event, not a status', async t => {
  const { app } = await build(t, { flushHeadersAfter: 0 })
  const first = gate()
  app.get('/', (_request, reply) => reply.sse((async function * () {
    await first.opened
    throw new Error('no luck')
  })()))
  const client = await connect(app)
  first.open()
  t.equal(await client.rest(), `:\n\n${INTERNAL}`)
})

t.test('L1: a source that takes longer than flushHeadersAfter and then ends without an event ends with the comment', async t => {
  const { response } = await answer(t, (_request, reply) => reply.sse((async function * () {
    await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
  })()), { flushHeadersAfter: 0 })
  t.equal(response.payload, ':\n\n')
})

t.test('a source without events is a stream without a body', async t => {
  const { response, report } = await stream(t, () => generate())
  t.equal(response.statusCode, 200)
  t.equal(response.headers['content-type'], 'text/event-stream; charset=utf-8')
  t.equal(response.payload, '')
  t.match(report, { reason: 'complete', events: 0, bytes: 0 })
})

t.test('L1: an error within flushHeadersAfter after a wait has its own status', async t => {
  const { response } = await answer(t, (_request, reply) => reply.sse((async function * () {
    await new Promise(resolve => setImmediate(resolve))
    throw Object.assign(new Error('not you'), { statusCode: 403 })
  })()), { flushHeadersAfter: 60_000 })
  t.equal(response.statusCode, 403)
})

// Hooks that run between the first event and the head: L9

t.test('L9: an async onSend hook sets headers and delays the head, and no event is lost meanwhile', async t => {
  const { app } = await build(t)
  const [hook, source] = [gate(), gate()]
  app.addHook('onSend', async (_request, reply) => {
    source.open()
    await hook.opened
    reply.header('x-hook', 'ran')
  })
  app.get('/', (_request, reply) => reply.sse((async function * () {
    yield { data: 1 }
    await source.opened
    yield { data: 2 }
    hook.open()
    yield { data: 3 }
  })()))
  const response = await get(app)
  t.equal(response.headers['x-hook'], 'ran')
  t.equal(response.payload, 'data: 1\n\ndata: 2\n\ndata: 3\n\n')
})

t.test('E2: an error during the onSend hooks is sent after the events', async t => {
  const { app } = await build(t)
  const hook = gate()
  app.addHook('onSend', () => hook.opened)
  app.get('/', (_request, reply) => reply.sse((async function * () {
    yield { data: 1 }
    await null
    setImmediate(hook.open)
    throw new Error('no luck')
  })()))
  t.equal((await get(app)).payload, `data: 1\n\n${INTERNAL}`)
})

t.test('L9: an onSend hook that fails makes an error response, and the source is stopped', async t => {
  const { app, reports } = await build(t)
  let finished = 0
  app.addHook('onSend', async () => { throw Object.assign(new Error('hook'), { statusCode: 418 }) })
  app.get('/', (_request, reply) => reply.sse((async function * () {
    try {
      yield { data: 1 }
      yield { data: 2 }
      await new Promise<void>(resolve => reply.raw.once('close', resolve))
    } finally { finished++ }
  })()))
  const response = await get(app)
  t.equal(response.statusCode, 418)
  t.equal(response.json().message, 'hook')
  await new Promise(resolve => setImmediate(resolve))
  t.equal(finished, 1)
  t.match(reports, [{ reason: 'error' }])
})

t.test('L9: an onSend hook that replaces the body ends the stream and stops the source', async t => {
  const { app, reports } = await build(t)
  let signal: AbortSignal | undefined
  app.addHook('onSend', async () => 'something else')
  app.get('/', (_request, reply) => reply.sse(async function * (context) {
    signal = context.signal
    yield { data: 1 }
    await new Promise(() => {})
  }))
  t.equal((await get(app)).payload, 'something else')
  t.equal(signal!.aborted, true)
  t.match(reports, [{ reason: 'error', bytes: 0 }])
})

t.test('L9: an onSend hook that transforms the body gets the frames', async t => {
  const { app, reports } = await build(t)
  app.addHook('onSend', async (_request, _reply, payload) => (payload as Readable).pipe(new Transform({
    transform: (chunk, _encoding, done) => done(null, String(chunk).toUpperCase())
  })))
  app.get('/', (_request, reply) => reply.sse((async function * () {
    yield { data: 'one' }
    await new Promise(resolve => setImmediate(resolve))
    yield { data: 'two' }
  })()))
  t.equal((await get(app)).payload, 'DATA: ONE\n\nDATA: TWO\n\n')
  t.match(reports, [{ reason: 'complete', events: 2 }])
})

const bad: Array<[when: string, hook: (() => Promise<void>) | undefined]> = [['', undefined], [
  ', with an async onSend hook',
  () => new Promise(resolve => setImmediate(resolve))
]]
for (const [when, hook] of bad) {
  t.test(`a header that cannot be sent is an error response, not the end of the process${when}`, async t => {
    const { app, logged, reports } = await build(t)
    if (hook !== undefined) app.addHook('onSend', hook)
    const source = oneThenSilence()
    app.get('/', (_request, reply) => {
      reply.header('x-bad', 'a\r\nb')
      return reply.sse(source)
    })
    const response = await get(app)
    t.equal(response.statusCode, 500)
    t.equal(response.json().code, 'ERR_INVALID_CHAR')
    t.equal(source.returned, 1)
    t.ok(logged(ERROR).includes('ERR_INVALID_CHAR'))
    t.match(reports, [{ reason: 'error' }])
  })
}

t.test('an error reply that cannot be sent cuts the connection and is logged', async t => {
  const { app, logged, reports } = await build(t)
  app.get('/', (_request, reply) => {
    reply.send = () => { throw new Error('broken reply') }
    return reply.sse(() => { throw new Error('no luck') })
  })
  await t.rejects(get(app), { code: 'LIGHT_ECONNRESET' })
  t.same(logged(ERROR), ['broken reply'])
  t.match(reports, [{ reason: 'error' }])
})

// Writes: L5

/** A stream, and the data that it wrote. */
async function written (t: Test, source: () => unknown): Promise<string[]> {
  let writes: string[] = []
  const { app } = await build(t)
  liftLoopBudget(t)
  app.get('/', (_request, reply) => {
    writes = writesOf(reply)
    return reply.sse(source as () => AsyncIterable<AnyEvent>)
  })
  await get(app)
  return writes
}

const ready: Array<[what: string, source: () => unknown]> = [
  ['an array', () => [{ data: 1 }, { data: 2 }, { data: 3 }]],
  ['a generator', function * () { yield * [{ data: 1 }, { data: 2 }, { data: 3 }] }],
  ['an async generator', () => generate({ data: 1 }, { data: 2 }, { data: 3 })],
  ['a queue', () => {
    const queue = new EventQueue({ capacity: 3 })
    for (const data of [1, 2, 3]) queue.push({ data })
    queue.end()
    return queue
  }]
]
for (const [what, source] of ready) {
  t.test(`L5: the events that ${what} has ready are sent in one write, with the end`, async t => {
    t.same(await written(t, source), ['data: 1\n\ndata: 2\n\ndata: 3\n\n'])
  })
}

t.test('L5: events that become ready together later are sent in one write', async t => {
  t.same(await written(t, async function * () {
    yield { data: 1 }
    await new Promise(resolve => setImmediate(resolve))
    yield { data: 2 }
    yield { data: 3 }
    await new Promise(resolve => setImmediate(resolve))
    yield { data: 4 }
  }), ['data: 1\n\n', 'data: 2\n\ndata: 3\n\n', 'data: 4\n\n'])
})

t.test('L5: a single event is sent at once', async t => {
  const { app } = await build(t, { heartbeatInterval: 0 })
  const second = gate()
  app.get('/', (_request, reply) => reply.sse((async function * () {
    yield { data: 1 }
    await second.opened
    yield { data: 2 }
  })()))
  const client = await connect(app)
  // Were it kept back for company, this would wait for ever.
  t.equal(await client.next(), 'data: 1\n\n')
  second.open()
  t.equal(await client.rest(), 'data: 2\n\n')
})

t.test('L5: a batch is sent when it is large enough, so that memory stays bounded', async t => {
  const writes = await written(t, () => Array.from({ length: 200 }, () => ({ data: 'x'.repeat(1000) })))
  t.equal(writes.join(''), `data: ${'x'.repeat(1000)}\n\n`.repeat(200))
  t.ok(writes.length > 1)
  t.ok(writes.every(write => write.length < 40_000))
})

// Every form of handler: L10

const forms: Array<[form: string, handler: Handler]> = [
  ['a sync return', (_request, reply) => reply.sse(generate({ data: 1 }, { data: 2 }))],
  ['a sync call', (_request, reply) => { reply.sse(generate({ data: 1 }, { data: 2 })) }],
  ['an async return', async (_request, reply) => reply.sse(generate({ data: 1 }, { data: 2 }))],
  ['an async return after a wait', async (_request, reply) => {
    await null
    return reply.sse(generate({ data: 1 }, { data: 2 }))
  }],
  ['an await', async (_request, reply) => {
    await reply.sse(generate({ data: 1 }, { data: 2 }))
  }],
  ['an async call that is neither returned nor awaited', async (_request, reply) => {
    reply.sse(generate({ data: 1 }, { data: 2 }))
  }],
  ['the same with a slow source', async (_request, reply) => {
    reply.sse((async function * () {
      await new Promise(resolve => setImmediate(resolve))
      yield * generate({ data: 1 }, { data: 2 })
    })())
  }],
  ['an async call that returns the reply', async (_request, reply) => {
    reply.sse(generate({ data: 1 }, { data: 2 }))
    return reply
  }],
  ['a sync call that returns the reply', (_request, reply) => {
    reply.sse(generate({ data: 1 }, { data: 2 }))
    return reply
  }]
]
for (const [form, handler] of forms) {
  for (const slowHook of [false, true]) {
    t.test(`L10: ${form} works${slowHook ? ' with an async onSend hook' : ''}`, async t => {
      const { app, logged, reports } = await build(t)
      if (slowHook) app.addHook('onSend', () => new Promise<void>(resolve => setTimeout(resolve, 5)))
      app.get('/', handler)
      const response = await get(app)
      t.equal(response.statusCode, 200)
      t.equal(response.headers['content-type'], 'text/event-stream; charset=utf-8')
      t.equal(response.payload, 'data: 1\n\ndata: 2\n\n')
      t.same([...logged(WARN), ...logged(ERROR)], [])
      t.match(reports, [{ reason: 'complete', events: 2 }])
    })
  }
}

for (const slowHook of [false, true]) {
  t.test(`L10: an error of the source reaches the client when reply.sse() is not returned${slowHook ? ', with an async onSend hook' : ''}`, async t => {
    const { app, logged } = await build(t)
    if (slowHook) app.addHook('onSend', () => new Promise<void>(resolve => setTimeout(resolve, 5)))
    app.get('/', async (_request, reply) => { reply.sse(() => { throw new Error('no luck') }) })
    const response = await get(app)
    t.equal(response.statusCode, 500)
    t.equal(response.json().message, 'no luck')
    t.same(logged(ERROR), ['no luck'])
  })
}

t.test('reply.sse() settles when the stream is over', async t => {
  const { app } = await build(t)
  const order: string[] = []
  app.get('/', async (_request, reply) => {
    await reply.sse((async function * () {
      yield { data: 1 }
      order.push('source done')
    })())
    order.push(reply.raw.writableEnded ? 'response over' : 'too early')
  })
  await get(app)
  await new Promise(resolve => setImmediate(resolve))
  t.same(order, ['source done', 'response over'])
})

const throwing: Array<[when: string, handler: (source: AsyncIterable<AnyEvent>) => Handler]> = [
  ['at once', source => async (_request, reply) => {
    reply.sse(source)
    throw new Error('changed my mind')
  }],
  ['at once in a sync handler', source => (_request, reply) => {
    reply.sse(source)
    throw new Error('changed my mind')
  }],
  ['when the first event is ready but not on its way', source => async (_request, reply) => {
    // In its own turn, so that the source is read at once.
    await turn()
    reply.sse(source)
    throw new Error('changed my mind')
  }]
]
for (const [when, handler] of throwing) {
  t.test(`L10: a handler that throws after reply.sse(), ${when}, makes an ordinary error response, and the source is stopped`, async t => {
    const source = oneThenSilence()
    const { response, logged, reports } = await answer(t, handler(source))
    t.equal(response.statusCode, 500)
    t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
    t.same(response.json(), { statusCode: 500, error: 'Internal Server Error', message: 'changed my mind' })
    t.same(logged(ERROR), ['changed my mind'])
    t.match(reports, [{ reason: 'error' }])
    t.equal(source.returned, 1)
  })
}

t.test('L10: a handler that throws while the onSend hooks run ends its stream with the error event', async t => {
  const { app, logged } = await build(t)
  const hook = gate()
  app.addHook('onSend', async (_request, _reply, payload) => {
    if (payload instanceof Readable) await hook.opened
  })
  const source = oneThenSilence()
  app.get('/', async (_request, reply) => {
    reply.sse(source)
    await turn()
    await turn()
    setImmediate(hook.open)
    throw new Error('changed my mind')
  })
  const response = await get(app)
  t.equal(response.statusCode, 200)
  t.equal(response.headers['content-type'], 'text/event-stream; charset=utf-8')
  t.equal(response.payload, `data: 1\n\n${INTERNAL}`)
  t.same(logged(ERROR), ['changed my mind'])
  t.equal(source.returned, 1)
})

for (const transformed of [false, true]) {
  t.test(`L10: a handler that throws when the stream is live is logged, and the stream continues${transformed ? ', also behind a hook that transforms it' : ''}`, async t => {
    const { app, logged } = await build(t)
    if (transformed) {
      app.addHook('onSend', async (_request, _reply, payload) => (payload as Readable).pipe(new PassThrough()))
    }
    const [live, second] = [gate(), gate()]
    app.get('/', async (_request, reply) => {
      reply.sse((async function * () {
        yield { data: 1 }
        await second.opened
        yield { data: 2 }
      })())
      await live.opened
      setImmediate(second.open)
      throw new Error('changed my mind')
    })
    const client = await connect(app)
    t.equal(await client.next(), 'data: 1\n\n')
    live.open()
    t.equal(await client.rest(), 'data: 2\n\n')
    t.same(logged(ERROR), ['changed my mind'])
  })
}

const replies: Array<[what: string, handler: Handler]> = [
  ['returns a value', async (_request, reply) => { reply.sse(generate({ data: 1 })); return { answer: 42 } }],
  ['returns a value synchronously', (_request, reply) => { reply.sse(generate({ data: 1 })); return { answer: 42 } }],
  ['sends a value', (_request, reply) => { reply.sse(generate({ data: 1 })); reply.send({ answer: 42 }) }]
]
for (const [what, handler] of replies) {
  for (const slowHook of [false, true]) {
    t.test(`L10: a handler that ${what} after reply.sse() does not disturb the stream, and FST_SSE_SEND_AFTER_SSE is logged${slowHook ? ', with an async onSend hook' : ''}`, async t => {
      const { app, logged } = await build(t)
      if (slowHook) app.addHook('onSend', () => turn())
      app.get('/', handler)
      t.equal((await get(app)).payload, 'data: 1\n\n')
      t.same([...logged(WARN), ...logged(ERROR)], ['FST_SSE_SEND_AFTER_SSE'])
    })
  }
}

t.test('L10: a second reply.sse() is rejected with FST_SSE_ALREADY_STARTED, its source is disposed of, and the first stream continues', async t => {
  const { app, logged } = await build(t)
  const second = new EventQueue()
  app.get('/', async (_request, reply) => {
    const first = reply.sse(generate({ data: 1 }))
    await t.rejects(reply.sse(second), { code: 'FST_SSE_ALREADY_STARTED' })
    reply.sse(second)
    await first
  })
  t.equal((await get(app)).payload, 'data: 1\n\n')
  t.equal(second.signal.aborted, true)
  t.same(logged(WARN), ['FST_SSE_ALREADY_STARTED', 'FST_SSE_ALREADY_STARTED'])
})

t.test('L10: a second call with the same source does not end the first stream', async t => {
  const { app, logged } = await build(t)
  const queue = new EventQueue({ capacity: 1 })
  app.get('/', (_request, reply) => {
    queue.push({ data: 1 })
    queue.end()
    reply.sse(queue)
    reply.sse(queue)
  })
  t.equal((await get(app)).payload, 'data: 1\n\n')
  t.same([...logged(WARN), ...logged(ERROR)], ['FST_SSE_ALREADY_STARTED'])
})

t.test('L10: reply.sse() after the reply was sent is rejected with FST_SSE_REPLY_SENT, and its source is disposed of', async t => {
  const { app, logged, reports } = await build(t)
  const late = [new EventQueue(), new EventQueue(), new EventQueue()] as const
  app.get('/', (_request, reply) => {
    reply.send('done')
    t.rejects(reply.sse(late[0]), { code: 'FST_SSE_REPLY_SENT' })
  })
  app.get('/raw', (_request, reply) => {
    reply.raw.writeHead(200)
    t.rejects(reply.sse(late[1]), { code: 'FST_SSE_REPLY_SENT' })
    reply.raw.end('done')
  })
  app.get('/hijacked', (_request, reply) => {
    reply.hijack()
    t.rejects(reply.sse(late[2]), { code: 'FST_SSE_REPLY_SENT' })
    reply.raw.end('done')
  })
  for (const url of ['/', '/raw', '/hijacked']) t.equal((await get(app, url)).payload, 'done')
  t.same(late.map(queue => queue.signal.aborted), [true, true, true])
  t.same(logged(WARN), Array(3).fill('FST_SSE_REPLY_SENT'))
  t.same(reports, [], 'no stream, no report')
})

for (const source of [undefined, null, 'text', 5, {}, { data: 1 }]) {
  t.test(`L10: ${JSON.stringify(source) ?? 'nothing'} is no source: the client gets a 500, the log FST_SSE_SOURCE`, async t => {
    const { response, logged } = await answer(t, (_request, reply) =>
      reply.sse(source as unknown as Iterable<AnyEvent>))
    t.equal(response.statusCode, 500)
    t.equal(response.json().code, 'FST_SSE_SOURCE')
    t.same(logged(ERROR), ['FST_SSE_SOURCE'])
  })
}

const broken: Array<[what: string, iterator: unknown]> = [
  ['no iterator', undefined],
  ['an iterator without next()', {}],
  ['an iterator whose next() gives nothing', { next: () => undefined }],
  ['an iterator whose next() gives nothing later', { next: async () => undefined }],
  ['an iterator whose next() gives a number later', { next: async () => 5 }]
]
for (const [what, iterator] of broken) {
  t.test(`L10: ${what} is an error response, not the end of the process`, async t => {
    const { response, logged, reports } = await answer(t, (_request, reply) =>
      reply.sse({ [Symbol.asyncIterator]: () => iterator } as AsyncIterable<AnyEvent>))
    t.equal(response.statusCode, 500)
    t.equal(logged(ERROR).length, 1)
    t.match(reports, [{ reason: 'error' }])
  })
}

// Invalid events: C2

const counted = { count: Type.Object({ n: Type.Integer() }), message: Type.String() }

t.test('C2: the error is thrown into the generator at its yield; if it is caught, the stream continues without the event', async t => {
  const caught: unknown[] = []
  const { body, report, logged } = await stream(t, async function * () {
    for (const n of [1, 'two', 3]) {
      try {
        yield { event: 'count', data: { n } }
      } catch (error) {
        caught.push(error)
        yield { data: 'instead' }
      }
    }
  }, {}, counted)
  t.equal(body, 'event: count\ndata: {"n":1}\n\ndata: instead\n\nevent: count\ndata: {"n":3}\n\n')
  t.match(caught, [{ code: 'FST_SSE_DATA', message: /^Event 'count' does not match its schema at '\/n': / }])
  t.match(report, { reason: 'complete', events: 3 })
  t.same([...logged(WARN), ...logged(ERROR)], [], 'a caught error is not logged')
})

t.test('C2: the error is thrown into a sync generator, too', async t => {
  const { body } = await stream(t, function * () {
    try {
      yield { data: 5 }
    } catch {
      yield { data: 'five' }
    }
  }, {}, counted)
  t.equal(body, 'data: five\n\n')
})

const invalid: Array<[what: string, event: unknown, code: string]> = [
  ['of an unknown name', { event: 'cuont', data: { n: 1 } }, 'FST_SSE_UNKNOWN_EVENT'],
  ['that does not match its schema', { event: 'count', data: { n: 1.5 } }, 'FST_SSE_DATA'],
  ['without data', { event: 'count' }, 'FST_SSE_DATA'],
  ['with a line break in its id', { data: 'x', id: 'a\nb' }, 'FST_SSE_FIELD'],
  ['that is none', 'text', 'FST_SSE_EVENT']
]
for (const [what, event, code] of invalid) {
  t.test(`C2: an event ${what}, uncaught, ends the stream with an error event and is logged once as ${code}`, async t => {
    let cleanups = 0
    const { body, report, logged } = await stream(t, async function * () {
      try {
        yield { data: 'first' }
        yield event
        yield { data: 'never' }
      } finally { cleanups++ }
    }, {}, counted)
    t.equal(body, `data: first\n\n${INTERNAL}`)
    t.same(logged(ERROR), [code])
    t.match(report, { reason: 'error', events: 1 })
    t.equal(cleanups, 1)
  })
}

t.test('C2: an invalid first event is an ordinary error response', async t => {
  const { response } = await stream(t, () => generate({ data: 5 }), {}, counted)
  t.equal(response.statusCode, 500)
  t.equal(response.json().code, 'FST_SSE_DATA')
})

const unthrowable: Array<[what: string, source: () => AsyncIterable<unknown> | Iterable<unknown>]> = [
  ['an array', () => [{ data: 'first' }, { data: 5 }, { data: 'never' }]],
  ['a readable', () => Readable.from([{ data: 'first' }, { data: 5 }, { data: 'never' }])]
]
for (const [what, source] of unthrowable) {
  t.test(`C2: ${what}, which has no throw(), is stopped`, async t => {
    const made = source()
    const { body, logged } = await stream(t, () => made, {}, counted)
    t.equal(body, `data: first\n\n${INTERNAL}`)
    t.same(logged(ERROR), ['FST_SSE_DATA'])
    if (made instanceof Readable) t.equal(made.destroyed, true)
  })
}

t.test('C2: push() of a queue resolves to false after its event ended the stream', async t => {
  const queue = new EventQueue()
  const pushed = [queue.push({ data: 'first' }), queue.push({ data: 5 }), queue.push({ data: 'never' })]
  await stream(t, () => queue, {}, counted)
  t.same(await Promise.all(pushed), [true, true, false])
})

t.test("C2: with onInvalid 'skip' the event is left out and logged", async t => {
  const { body, report, logged } = await stream(t, () => [{ data: 'a' }, { data: 5 }, { data: 'b' }], {
    onInvalid: 'skip'
  }, counted)
  t.equal(body, 'data: a\n\ndata: b\n\n')
  t.same([...logged(WARN), ...logged(ERROR)], ['FST_SSE_DATA'])
  t.match(report, { reason: 'complete', events: 2 })
})

t.test('C2: an onInvalid function gets the error and the event, and decides', async t => {
  const args: unknown[] = []
  const events = [{ data: 'a' }, { data: 5 }, { data: 'b' }, { data: null }, { data: 'never' }]
  const { body } = await stream(t, () => events, {
    onInvalid: (error, event) => {
      args.push([(error as NodeJS.ErrnoException).code, event])
      return args.length === 1 ? 'skip' : 'error'
    }
  }, counted)
  t.equal(body, `data: a\n\ndata: b\n\n${INTERNAL}`)
  t.same(args, [['FST_SSE_DATA', { data: 5 }], ['FST_SSE_DATA', { data: null }]])
})

t.test('C2: an onInvalid function that throws ends the stream with its error', async t => {
  let cleanups = 0
  const { body, logged } = await stream(t, function * () {
    try {
      yield { data: 'a' }
      yield { data: 5 }
    } finally { cleanups++ }
  }, { onInvalid: () => { throw Object.assign(new Error('too many'), { statusCode: 429 }) } }, counted)
  t.equal(body, `data: a\n\n${problem(429, 'Too Many Requests', 'too many')}`)
  t.same(logged(ERROR), ['too many'])
  t.equal(cleanups, 1)
})

// Errors after the head: E2

async function * failing (error: unknown): AsyncGenerator<AnyEvent> {
  yield { data: 'first' }
  throw error
}

t.test('E2: the message of an unexpected error is logged once, and the client gets problem details without it', async t => {
  const { body, log, report } = await stream(t, () => failing(new Error('password is hunter2')))
  t.equal(body, `data: first\n\n${INTERNAL}`)
  const lines = log.filter(line => JSON.stringify(line).includes('hunter2'))
  t.match(lines, [{ level: ERROR, msg: 'sse stream failed', reqId: 'req-1', err: { message: 'password is hunter2' } }])
  t.equal(lines.length, 1)
  t.match(report, { reason: 'error', events: 1 })
})

t.test('E2: an error with a client status keeps its status and title', async t => {
  const { body } = await stream(t, () => failing(Object.assign(new Error('quota used up'), { statusCode: 429 })))
  t.equal(body, `data: first\n\n${problem(429, 'Too Many Requests', 'quota used up')}`)
})

const thrown: Array<[value: unknown, message: string]> = [
  ['a string', 'a string'],
  [undefined, 'undefined'],
  [null, 'null'],
  [Symbol('odd'), 'Symbol(odd)'],
  [Object.create(null), 'no prototype'],
  [{ toString () { throw new Error('not even that') } }, 'object']
]
for (const [value, message] of thrown) {
  t.test(`E2: a source that throws ${message} fails as with an error`, async t => {
    const { body, log } = await stream(t, () => failing(value))
    t.equal(body, `data: first\n\n${INTERNAL}`)
    const lines = log.filter(line => line.level === ERROR)
    t.equal(lines.length, 1)
    t.match(lines[0], { err: { message } })
  })
}

t.test('E2: errorEvent makes the last event', async t => {
  const { body, report } = await stream(t, () => failing(Object.assign(new Error('secret'), { code: 'E_DISK' })), {
    errorEvent: (error, request) => ({
      event: 'oops',
      id: 9,
      data: { code: (error as NodeJS.ErrnoException).code, request: request.id }
    })
  })
  t.equal(body, 'data: first\n\nevent: oops\nid: 9\ndata: {"code":"E_DISK","request":"req-1"}\n\n')
  t.match(report, { events: 1 })
})

for (const [what, errorEvent] of [['null', null], ['a function that gives null', () => null]] as const) {
  t.test(`E2: with ${what} for errorEvent the stream ends without an event`, async t => {
    const { body, report, logged } = await stream(t, () => failing(new Error('secret')), { errorEvent })
    t.equal(body, 'data: first\n\n')
    t.same(logged(ERROR), ['secret'])
    t.match(report, { reason: 'error' })
  })
}

const unmakeable: Array<[what: string, errorEvent: () => AnyEvent, logged: string]> = [
  ['throws', () => { throw new Error('worse') }, 'worse'],
  ['gives no event', () => 'text' as unknown as AnyEvent, 'FST_SSE_EVENT'],
  ['gives an event that cannot be sent', () => ({ event: 'a\nb', data: 1 }), 'FST_SSE_FIELD']
]
for (const [what, errorEvent, line] of unmakeable) {
  t.test(`E2: an errorEvent that ${what} is logged, and the stream ends without an event`, async t => {
    const { body, report, logged } = await stream(t, () => failing(new Error('secret')), { errorEvent })
    t.equal(body, 'data: first\n\n')
    t.same(logged(ERROR), ['secret', line])
    t.match(report, { reason: 'error' })
  })
}

t.test('C1: an errorEvent whose name the map declares is checked and serialized by its schema; another is free', async t => {
  const map = { message: Type.String(), failed: Type.Object({ code: Type.String() }, { additionalProperties: true }) }
  const failWith = async (
    event: AnyEvent
  ) => (await stream(t, () => failing(new Error('secret')), { errorEvent: () => event }, map))
  t.equal((await failWith({ event: 'failed', data: { code: 'E' } })).body,
    'data: first\n\nevent: failed\ndata: {"code":"E"}\n\n')
  const refused = await failWith({ event: 'failed', data: { code: 5 } })
  t.equal(refused.body, 'data: first\n\n')
  t.same(refused.logged(ERROR), ['secret', 'FST_SSE_DATA'])
  t.equal((await failWith({ event: 'other', data: { code: 5 } })).body,
    'data: first\n\nevent: other\ndata: {"code":5}\n\n')
})

// The end of the source after the end of the stream

t.test('L3: an abort that follows from a disconnect is not logged, and the disconnect is logged at info, once', async t => {
  const { app, logged, reports } = await build(t)
  const closed = gate()
  app.get('/', (request, reply) => {
    reply.raw.once('close', () => setImmediate(closed.open))
    return reply.sse(async function * ({ signal }) {
      yield { data: 1 }
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
  })
  const client = await connect(app)
  t.equal(await client.next(), 'data: 1\n\n')
  client.leave()
  await within('the close', closed.opened, PATIENCE)
  t.match(reports, [{ reason: 'client', events: 1, bytes: 9 }])
  t.same([...logged(WARN), ...logged(ERROR)], [])
  t.equal(logged(INFO).filter(line => line === 'sse stream closed').length, 1)
})

t.test('L3: a readable that is destroyed by the end of the stream is not logged', async t => {
  const { app, logged } = await build(t)
  const closed = gate()
  const source = new Readable({ objectMode: true, read () {} })
  source.push({ data: 1 })
  app.get('/', (_request, reply) => {
    reply.raw.once('close', () => setImmediate(closed.open))
    return reply.sse(source)
  })
  const client = await connect(app)
  await client.next()
  client.leave()
  await within('the close', closed.opened, PATIENCE)
  t.equal(source.destroyed, true)
  t.same([...logged(WARN), ...logged(ERROR)], [])
})

const late: Array<[what: string, source: (left: Promise<void>) => unknown, logged: string]> = [
  ['while its next() is pending', left => (async function * () {
    yield { data: 1 }
    await left
    throw new Error('late')
  })(), 'late'],
  ['in its finally', left => (async function * () {
    try {
      yield { data: 1 }
      await left
    } finally {
      await Promise.reject(new Error('late'))
    }
  })(), 'late'],
  ['when it is stopped', () => ({
    [Symbol.asyncIterator]: () => {
      let calls = 0
      return {
        next: () => calls++ === 0 ? { value: { data: 1 } } : new Promise(() => {}),
        return: () => {
          throw new Error('late')
        }
      }
    }
  }), 'late'],
  ['with no error', left => (async function * () {
    yield { data: 1 }
    await left
    throw undefined // eslint-disable-line no-throw-literal
  })(), 'sse source failed after its stream was over']
]
for (const [when, makeSource, line] of late) {
  t.test(`a source that fails ${when} after the client disconnected is logged`, async t => {
    liftLoopBudget(t)
    const { app, logged } = await build(t)
    const [left, closed] = [gate(), gate()]
    app.get('/', (_request, reply) => {
      reply.raw.once('close', () => {
        left.open()
        setImmediate(closed.open)
      })
      return reply.sse(makeSource(left.opened) as AsyncIterable<AnyEvent>)
    })
    const client = await connect(app)
    await client.next()
    client.leave()
    await within('the close', closed.opened, PATIENCE)
    t.same(logged(ERROR), [line])
  })
}

t.test('L3: a source that is made after the client disconnected is stopped, unread', async t => {
  const { app } = await build(t, { flushHeadersAfter: 0 })
  const [left, done] = [gate(), gate()]
  let calls = 0
  app.get('/', (_request, reply) => reply.sse(async ({ signal }) => {
    signal.addEventListener('abort', left.open)
    await left.opened
    return {
      [Symbol.asyncIterator]: (): AsyncIterator<AnyEvent, undefined> => ({
        next: async () => { calls++; return { value: undefined, done: true } },
        return: async () => { done.open(); return { value: undefined, done: true } }
      })
    }
  }))
  const client = await connect(app)
  t.equal(await client.next(), ':\n\n')
  client.leave()
  await within('the end of the source', done.opened, PATIENCE)
  t.equal(calls, 0)
})

// The report of onClose

t.test('onClose gets the events, the sent bytes, the last id and the duration of a complete stream', async t => {
  const started = performance.now()
  const { report, reports, body } = await stream(t, async function * () {
    yield { comment: 'not an event' }
    yield { data: 'größer', id: 7 }
    await turn()
    yield { id: 'eight' }
  })
  t.equal(reports.length, 1)
  t.match(report, { reason: 'complete', events: 1, bytes: Buffer.byteLength(body), lastEventId: 'eight' })
  t.ok(report!.duration > 0 && report!.duration <= performance.now() - started)
})

t.test('onClose gets the id of a resuming client if no new id was sent', async t => {
  const { app, reports } = await build(t)
  app.get('/', (_request, reply) => reply.sse(({ lastEventId }) => [{ data: lastEventId }]))
  const response = await get(app, { url: '/', headers: { 'last-event-id': '41' } })
  t.equal(response.payload, 'data: 41\n\n')
  t.match(reports, [{ reason: 'complete', lastEventId: '41' }])
})

t.test('onClose of the call replaces the plugin\'s', async t => {
  const own: CloseReport[] = []
  const { reports } = await stream(t, () => [{ data: 1 }], { onClose: report => own.push(report) })
  t.equal(own.length, 1)
  t.same(reports, [])
})

t.test('an onClose that throws is logged', async t => {
  const { body, logged } = await stream(t, () => [{ data: 1 }], {
    onClose: () => {
      throw new Error('metrics are down')
    }
  })
  t.equal(body, 'data: 1\n\n')
  t.same(logged(ERROR), ['metrics are down'])
})

t.test('L7: the source and onClose of a stream that the server ends get the reason shutdown, once', async t => {
  const { app, reports } = await build(t)
  let reason: unknown
  app.get('/', (_request, reply) => reply.sse(async function * ({ signal }) {
    yield { data: 1 }
    await new Promise(resolve => signal.addEventListener('abort', resolve))
    reason = signal.reason
  }))
  const client = await connect(app)
  t.equal(await client.next(), 'data: 1\n\n')
  await app.close()
  t.match(await client.rest(), /^retry: \d+\n\n$/, 'a clean end, and when to come back')
  t.ok(reason instanceof StreamClosedError)
  t.match(reason, { reason: 'shutdown' })
  t.same(reports.map(report => report.reason), ['shutdown'])
})

/** A stream over HTTP/2, from its first event on, with a client that reads no further by itself. */
async function openHttp2 (t: Test, source: AsyncIterable<AnyEvent>) {
  const reports: CloseReport[] = []
  const app = Fastify({ http2: true })
  await app.register(sse, { onClose: report => reports.push(report) })
  app.get('/', (_request, reply) => reply.sse(source))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  const request = session.request({ ':path': '/' })
  request.on('error', () => {})
  await once(request, 'response')
  return { app, request, reports }
}

t.test('L7: an HTTP/2 client gets the clean end, and its session does not keep the server open', async t => {
  const { app, request, reports } = await openHttp2(t, oneThenSilence())
  const body = text(request)
  await within('the close', app.close(), PATIENCE)
  t.match(await body, /^data: 1\n\nretry: \d+\n\n$/)
  t.equal(request.rstCode, 0)
  t.match(reports, [{ reason: 'shutdown' }])
})

t.test('L7: an HTTP/2 client that does not read cannot keep the server open either', async t => {
  const { app, reports } = await openHttp2(t, (async function * () {
    for (;;) yield { data: 'x'.repeat(10_000) }
  })())
  await within('the close', app.close(), PATIENCE)
  t.match(reports, [{ reason: 'shutdown' }])
})

t.test('L3: a client that disconnected before reply.sse() is reported, and its source is disposed of', async t => {
  const { app, reports, logged } = await build(t)
  const queue = new EventQueue()
  const handled = new Promise<void>(resolve => {
    app.get('/', async (_request, reply) => {
      client.reset()
      await once(reply.raw, 'close')
      await reply.sse(queue)
      resolve()
    })
  })
  const client = await open(await listen(t, app))
  await within('the handler', handled, PATIENCE)
  t.equal(queue.signal.aborted, true)
  t.match(reports, [{ reason: 'client', events: 0, bytes: 0 }])
  t.same([...logged(WARN), ...logged(ERROR)], [])
})

t.test('L7: a stream that waits for its first event ends when the server closes, with an empty body if clients get no reconnection delay', async t => {
  const { app, reports } = await build(t, { flushHeadersAfter: 60_000, reconnectWindow: 0 })
  const called = gate()
  app.get('/', (_request, reply) => {
    called.open()
    return reply.sse((async function * () { await new Promise(() => {}) })())
  })
  const response = get(app)
  await within('the call', called.opened, PATIENCE)
  await app.close()
  t.equal((await response).statusCode, 200)
  t.equal((await response).payload, '')
  t.match(reports, [{ reason: 'shutdown', bytes: 0 }])
})

t.test('L2: a stream that completed before the server closes keeps its reason, and the server waits for it', async t => {
  const { app, reports } = await build(t)
  const [called, hook] = [gate(), gate()]
  app.addHook('onSend', async () => {
    called.open()
    await hook.opened
  })
  app.get('/', (_request, reply) => reply.sse([{ data: 1 }]))
  const response = get(app)
  await within('the call', called.opened, PATIENCE)
  const closed = app.close()
  setImmediate(hook.open)
  t.equal((await response).payload, 'data: 1\n\n')
  await closed
  t.match(reports, [{ reason: 'complete', events: 1 }])
})

t.test('L7: a stream that is requested while the server closes gets 503 with Retry-After, and its source is disposed of', async t => {
  const { app, reports } = await build(t)
  const [called, closing] = [gate(), gate()]
  const queue = new EventQueue()
  app.addHook('preClose', done => { closing.open(); done() })
  app.get('/', async (_request, reply) => {
    called.open()
    await closing.opened
    await turn()
    return reply.sse(queue)
  })
  const pending = get(app)
  await within('the call', called.opened, PATIENCE)
  await app.close()
  const response = await pending
  t.equal(response.statusCode, 503)
  t.match(response.headers['retry-after'], /^[1-6]$/)
  t.equal(response.json().code, 'FST_SSE_CLOSING')
  t.equal(queue.signal.aborted, true)
  t.same(reports, [], 'it was never a stream')
})

t.test('maxLifetime ends the stream cleanly, ±10 %, with the reason expired', async t => {
  const { app, reports } = await build(t, { maxLifetime: 100 })
  app.get('/', (_request, reply) => reply.sse((async function * () {
    yield { data: 1 }
    await new Promise(() => {})
  })()))
  t.equal((await get(app)).payload, 'data: 1\n\n')
  t.match(reports, [{ reason: 'expired', events: 1 }])
  t.ok(reports[0]!.duration >= 89, `after ${reports[0]!.duration} ms`)
})

t.test('L6: heartbeats begin with the head and continue while no event is sent', async t => {
  const { app, reports } = await build(t, { heartbeatInterval: 20, flushHeadersAfter: 0 })
  const first = gate()
  app.get('/', (_request, reply) => reply.sse((async function * () {
    await first.opened
    yield { data: 1 }
  })()))
  const client = await connect(app)
  let quiet = ''
  while (quiet.length < 12) quiet += await client.next()
  first.open()
  const body = quiet + await client.rest()
  t.match(body, /^(:\n\n){4,}data: 1\n\n$/)
  t.match(reports, [{ events: 1, bytes: body.length }])
})

t.test('a client that reads no byte for stallTimeout while bytes wait is cut off with the reason stalled', async t => {
  const { app, logged } = await build(t)
  let abortedWith: unknown
  const reported = new Promise<CloseReport>(resolve => {
    app.get('/', (_request, reply) => reply.sse(async function * ({ signal }) {
      signal.addEventListener('abort', () => { abortedWith = signal.reason })
      for (;;) yield { data: 'x'.repeat(100_000) }
    }, { stallTimeout: 100, onClose: resolve }))
  })
  const client = await open(await listen(t, app), { pauseOnConnect: true })
  t.match(await within('the report', reported, PATIENCE), { reason: 'stalled' })
  t.match(abortedWith, { reason: 'stalled' })
  t.same([...logged(WARN), ...logged(ERROR)], [])
  client.reset()
})

// Options of one stream

t.test('retry is sent in the first frame, before the first event or the opening comment', async t => {
  t.equal((await stream(t, () => [{ data: 1 }], { retry: 0 })).body, 'retry: 0\n\ndata: 1\n\n')
  t.equal((await stream(t, async function * () {
    await turn()
    await turn()
  }, { retry: 3000, flushHeadersAfter: 0 })).body, 'retry: 3000\n\n:\n\n')
  t.equal((await stream(t, () => [], { retry: 3000 })).body, 'retry: 3000\n\n')
  const { response } = await answer(t, (_request, reply) => reply.sse([{ data: 1 }]), { retry: 10 })
  t.equal(response.payload, 'retry: 10\n\ndata: 1\n\n', 'the plugin\'s option holds for every stream')
})

t.test('L10: an invalid option of the call is an error response that names it, and the source is disposed of', async t => {
  const queue = new EventQueue()
  const { response, logged } = await answer(t, (_request, reply) => reply.sse(queue, { retry: -1 }))
  t.equal(response.statusCode, 500)
  t.equal(response.json().message, "Option 'retry' must be a whole number of milliseconds, 0 or more, got -1 (number)")
  t.same(logged(ERROR), ['FST_SSE_OPTION'])
  t.equal(queue.signal.aborted, true)
})

const finite: Array<[what: string, source: (start: () => void) => unknown]> = [
  ['a function', start => () => { start(); return [{ data: 1 }] }],
  ['an async generator', start => (async function * () { start(); yield { data: 1 } })()],
  ['a generator', start => (function * () { start(); yield { data: 1 } })()]
]
for (const [what, makeSource] of finite) {
  t.test(`with finite, the end of ${what} is marked, and a reconnect with that mark gets 204 without starting the source`, async t => {
    const { app, reports } = await build(t, { retry: 5 })
    let starts = 0
    const sources: unknown[] = []
    app.get('/', (_request, reply) => {
      const source = makeSource(() => starts++)
      sources.push(source)
      return reply.sse(source as Iterable<AnyEvent>, { finite: true })
    })
    const first = await get(app)
    t.equal(first.payload, 'retry: 5\n\ndata: 1\n\nevent: sse.position\nid: sse.end\ndata: \n\n')
    t.equal(starts, 1)

    const again = await get(app, { url: '/', headers: { 'last-event-id': 'sse.end' } })
    t.equal(again.statusCode, 204)
    t.equal(again.payload, '')
    t.match(again.headers, { 'content-type': undefined, 'content-length': undefined })
    t.equal(starts, 1)
    const disposed = sources[1]
    if (typeof disposed !== 'function') {
      t.same(await (disposed as AsyncGenerator).next(), { value: undefined, done: true })
    }
    t.equal((await get(app, '/?lastEventId=sse.end')).statusCode, 204, 'by the query parameter, too')
    t.equal(reports.length, 1, 'no stream, no report')
  })
}

t.test('with finite, a client that reconnects from the middle gets the stream', async t => {
  const { app } = await build(t)
  app.get('/', (_request, reply) => reply.sse(({ lastEventId }) => [{ data: lastEventId }], { finite: true }))
  t.equal((await get(app, { url: '/', headers: { 'last-event-id': '4' } })).payload,
    'data: 4\n\nevent: sse.position\nid: sse.end\ndata: \n\n')
})

t.test('without finite, the mark is an id like any other', async t => {
  const { app } = await build(t)
  app.get('/', (_request, reply) => reply.sse(({ lastEventId }) => [{ data: lastEventId }]))
  t.equal((await get(app, { url: '/', headers: { 'last-event-id': 'sse.end' } })).payload, 'data: sse.end\n\n')
})

t.test('with finite, a stream that ends for any other reason is not marked', async t => {
  t.equal((await stream(t, () => failing(new Error('no luck')), { finite: true })).body, `data: first\n\n${INTERNAL}`)
  const cut = await stream(t, async function * () {
    yield { data: 1 }
    await new Promise(() => {})
  }, { finite: true, maxLifetime: 20 })
  t.equal(cut.body, 'data: 1\n\n')
})

// What may not end the process, nor leave a client without an answer

for (const [what, options] of Object.entries<StreamOptions>({
  onClose: { onClose: async () => { throw new Error('async') } },
  onInvalid: { onInvalid: (async () => { throw new Error('async') }) as unknown as () => 'error' },
  errorEvent: { errorEvent: (async () => { throw new Error('async') }) as unknown as () => null }
})) {
  t.test(`a callback that is async and rejects is logged: ${what}`, async t => {
    const { logged, response } = await stream(t, async function * () {
      yield { data: 'first' }
      yield { data: 5 }
    }, options, counted)
    t.equal(response.statusCode, 200)
    await turn()
    t.ok(logged(ERROR).includes('async'))
  })
}

t.test('L9: the error handler of a failed onSend hook may set its own content type', async t => {
  const { app, reports } = await build(t)
  app.setErrorHandler((_error, _request, reply) => {
    reply.code(503).type('application/problem+json').send({ status: 503 })
  })
  app.addHook('onSend', async (_request, _reply, payload) => {
    if (payload instanceof Readable) throw new Error('hook')
  })
  app.get('/', (_request, reply) => reply.sse(oneThenSilence()))
  const response = await get(app)
  t.strictSame([response.statusCode, response.headers['content-type'], response.json()], [503,
    'application/problem+json; charset=utf-8', { status: 503 }])
  t.match(reports, [{ reason: 'error' }])
})

for (const thrown of ['a string', null, 5]) {
  t.test(`L10: a handler that throws ${shownAs(thrown)} after reply.sse() makes an ordinary error response`, async t => {
    const { response, reports } = await answer(t, async (_request, reply) => {
      reply.sse(oneThenSilence())
      throw thrown
    })
    t.equal(response.statusCode, 500)
    t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
    t.match(response.json().message, 'The handler threw')
    t.match(reports, [{ reason: 'error' }])
  })
}

function shownAs (value: unknown): string {
  return value === null ? 'null' : `a ${typeof value}`
}

t.test('L10: a second call with the source of the first one does not dispose of it', async t => {
  const { app } = await build(t)
  app.get('/', (_request, reply) => {
    const source = generate({ data: 1 }, { data: 2 })
    const first = reply.sse(source)
    reply.sse(source).catch(() => {})
    return first
  })
  t.equal((await get(app)).payload, 'data: 1\n\ndata: 2\n\n')
})

const getters: Array<[what: string, step: () => unknown]> = [
  ['done', () => Object.defineProperty({}, 'done', { get () { throw new Error('getter') } })],
  ['then', () => Object.defineProperty({}, 'then', { get () { throw new Error('getter') } })]
]
for (const [what, step] of getters) {
  for (const late of what === 'done' ? [false, true] : [false]) {
    t.test(`L10: a step whose ${what} throws${late ? ' later' : ''} fails the stream, not the process`, async t => {
      const { response, logged } = await answer(t, (_request, reply) => reply.sse({
        [Symbol.asyncIterator]: () => ({ next: () => late ? Promise.resolve(step()) : step() })
      } as unknown as AsyncIterable<AnyEvent>))
      t.equal(response.statusCode, 500)
      t.same(logged(ERROR), ['getter'])
    })
  }
}

t.test('L7: app.close() does not wait for a stream behind a predecessor that never ends', async t => {
  const app = Fastify({ forceCloseConnections: true })
  const reports: CloseReport[] = []
  await app.register(sse, { onClose: report => reports.push(report) })
  let arrived!: () => void
  const arrival = new Promise<void>(resolve => { arrived = resolve })
  app.get('/never', () => new Promise(() => {}))
  app.get('/', (_request, reply) => {
    arrived()
    return reply.sse(oneThenSilence())
  })
  const client = await open(await listen(t, app), { path: '/never' })
  client.request({ path: '/' })
  await within('the second request', arrival, PATIENCE)
  await within('the close', app.close(), PATIENCE)
  t.match(reports, [{ reason: 'shutdown' }])
  client.reset()
})
