import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify, {
  type FastifyInstance, type FastifyReply, type FastifyRequest,
  type FastifyServerOptions
} from 'fastify'
import t, { type Test } from 'tap'
import sse, { type CloseReport } from '../../lib/index.ts'
import { sendInPlace, wrapHandler } from '../../lib/server/handler-wrapper.ts'
import { within } from '../setup/within.ts'

const schema = { sse: { message: Type.Number() } }

interface Event { data: number }

interface Line { level: number, msg: string, err?: { code?: string, message: string } }
interface TestApp { app: FastifyInstance, lines: Line[], reports: CloseReport[] }

/** An app with the plugin, its log from `warn` on, and the reports of its streams. */
async function build (t: Test, options: FastifyServerOptions = {}): Promise<TestApp> {
  const lines: Line[] = []
  const reports: CloseReport[] = []
  const app = Fastify({
    ...options,
    logger: {
      level: 'warn',
      stream: {
        write: (line: string) => {
          lines.push(JSON.parse(line) as Line)
        }
      }
    }
  })
  t.teardown(() => app.close())
  await app.register(sse, { flushHeadersAfter: 60_000, onClose: report => { reports.push(report) } })
  return { app, lines, reports }
}

/** A source whose only event is ready after some turns of the loop. `stopped` is set when it is stopped before. */
function late (): AsyncIterable<Event> & { stopped: boolean } {
  let done = false
  const source = {
    stopped: false,
    [Symbol.asyncIterator]: () => ({
      next: async (): Promise<IteratorResult<Event>> => {
        if (done) return { done: true, value: undefined }
        await delay(20)
        done = true
        return { done: false, value: { data: 1 } }
      },
      return: async () => {
        source.stopped = true
        return { done: true as const, value: undefined }
      }
    })
  }
  return source
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown
const get = (app: FastifyInstance) => within('an answer', app.inject('/'), 3_000)

t.test('L10: Fastify gets neither the result nor the `send` of a handler that started a stream', async t => {
  const handlers: Handler[] = [
    (_request, reply) => reply.sse(late()),
    (_request, reply) => { reply.sse(late()) },
    async (_request, reply) => { reply.sse(late()) },
    async (_request, reply) => { await reply.sse(late()) },
    (_request, reply) => {
      reply.sse(late())
      return reply
    },
    async (_request, reply) => {
      await turn()
      reply.sse(late())
    },
    async (_request, reply) => {
      await turn()
      return reply.sse(late())
    },
    (_request, reply) => { setImmediate(() => { reply.sse(late()) }) }
  ]
  for (const handler of handlers) {
    const { app, lines, reports } = await build(t)
    // All replies share one function.
    let send: unknown
    app.addHook('onResponse', async (_request, reply) => { send = reply.send })
    app.get('/', { schema }, handler)
    const { statusCode, body } = await get(app)
    t.strictSame([statusCode, body, send === sendInPlace], [200, 'data: 1\n\n', true])
    t.strictSame([lines, reports.map(({ reason }) => reason)], [[], ['complete']])
  }
})

t.test('a handler that starts no stream answers as without the plugin', async t => {
  const { app } = await build(t)
  const handlers: Record<string, Handler> = {
    value: () => 'a',
    promise: async () => 'b',
    sent: (_request, reply) => { reply.send('c') },
    empty: async () => {},
    thrown: () => { throw Object.assign(new Error('no'), { statusCode: 418 }) },
    rejected: async () => { throw Object.assign(new Error('no'), { statusCode: 418 }) }
  }
  for (const [name, handler] of Object.entries(handlers)) app.get(`/${name}`, { schema }, handler)
  const answers = await Promise.all(Object.keys(handlers).map(name => app.inject(`/${name}`)))
  t.strictSame(answers.map(({ statusCode, body }) => statusCode === 200 ? body : statusCode), ['a', 'b', 'c', '', 418,
    418])
})

t.test('L10: an error of the handler becomes the response, and stops the source', async t => {
  for (const [thrown, status] of [[Object.assign(new Error('no'), { statusCode: 418 }), 418], ['a text', 500], [
    undefined,
    500
  ]] as const) {
    let source = late()
    const handlers: Handler[] = [
      (_request, reply) => {
        reply.sse(source)
        throw thrown
      },
      async (_request, reply) => {
        reply.sse(source)
        throw thrown
      },
      async (_request, reply) => {
        await turn()
        reply.sse(source)
        throw thrown
      }
    ]
    for (const handler of handlers) {
      source = late()
      const { app, reports } = await build(t)
      app.get('/', { schema }, handler)
      t.equal((await get(app)).statusCode, status)
      t.strictSame([source.stopped, reports.map(({ reason }) => reason)], [true, ['error']])
    }
  }
})

t.test('L10: a handler that throws when the stream is sent is logged by Fastify, and the stream continues', async t => {
  const { app, lines } = await build(t)
  app.get('/', { schema }, async (_request, reply) => {
    reply.sse((async function * (): AsyncGenerator<Event> {
      yield { data: 1 }
      await delay(20)
      yield { data: 2 }
    })())
    await delay(10)
    throw new Error('late')
  })
  t.equal((await get(app)).body, 'data: 1\n\ndata: 2\n\n')
  t.strictSame(lines.map(({ err }) => err?.message), ['late'])
})

t.test('L10: a value that the handler returns after reply.sse() is dropped with a warning; an error becomes the response', async t => {
  const { app, lines } = await build(t)
  const value = { answer: 42 }
  const start = (reply: FastifyReply): void => { reply.sse(late()) }
  app.get('/sync', { schema }, (_request, reply) => { start(reply); return value })
  app.get('/async', { schema }, async (_request, reply) => { start(reply); return value })
  for (const path of ['/sync', '/async']) t.equal((await app.inject(path)).body, 'data: 1\n\n')
  t.strictSame(lines.map(({ err, msg }) => [err?.code, msg]),
    Array(2).fill(['FST_SSE_SEND_AFTER_SSE', 'sse payload dropped']))
  app.close()
  const other = await build(t)
  other.app.get('/', { schema }, async (_request, reply) => {
    start(reply)
    return Object.assign(new Error('returned'), { statusCode: 409 })
  })
  t.equal((await get(other.app)).statusCode, 409)
})

t.test('L10: a payload that is sent after reply.sse() becomes the response, and stops the source', async t => {
  for (const slowHook of [false, true]) {
    const { app, lines, reports } = await build(t)
    if (slowHook) app.addHook('onSend', async () => { await delay(40) })
    app.get('/', { schema }, (_request, reply) => {
      reply.sse(late())
      reply.send({ answer: 42 })
    })
    const { statusCode, body } = await get(app)
    t.strictSame([statusCode, body], [200, '{"answer":42}'])
    t.strictSame(reports.map(({ reason, events }) => [reason, events]), [['error', 0]])
    t.strictSame(lines.map(({ err, msg }) => [err?.code, msg]), [['FST_SSE_SEND_AFTER_SSE', 'sse stream replaced']])
  }
})

t.test('L10: a payload that Fastify sends slowly after reply.sse() is never mixed with the stream', async t => {
  const parts = async function * (): AsyncGenerator<Buffer> {
    yield Buffer.from('a')
    await delay(50)
    yield Buffer.from('b')
  }
  const payloads: Array<[make: () => unknown, body: string]> = [
    [() => Readable.from(parts()), 'ab'],
    [() => ReadableStream.from(parts()), 'ab'],
    [() => ({ answer: 42 }), '{"answer":42}']
  ]
  for (const [make, body] of payloads) {
    const { app, reports } = await build(t)
    app.get('/', { schema, preSerialization: async (_request, _reply, payload) => await delay(50, payload) },
      (_request, reply) => {
        reply.sse(late())
        reply.send(make())
      })
    t.equal(await (await fetch(await app.listen({ port: 0 }))).text(), body)
    t.strictSame(reports.map(({ reason, bytes }) => [reason, bytes]), [['error', 0]])
  }
})

t.test('L10: a payload that is sent while the onSend hooks get the stream is dropped; their error is the answer', async t => {
  for (const fails of [false, true]) {
    const { app, lines } = await build(t)
    app.setErrorHandler((error: Error, _request, reply) => { reply.code(418).type('text/plain').send(error.message) })
    app.addHook('onSend', async (_request, reply, payload) => {
      await delay(60)
      if (fails && reply.statusCode === 200) throw new Error('no')
      return payload
    })
    app.get('/', { schema }, async (_request, reply) => {
      reply.sse([{ data: 1 }])
      await delay(20)
      reply.send({ answer: 42 })
    })
    const response = await fetch(await app.listen({ port: 0 }))
    t.strictSame([response.status, await response.text()], fails ? [418, 'no'] : [200, 'data: 1\n\n'])
    t.strictSame(lines.map(({ err, msg }) => [err?.code, msg]), [['FST_SSE_SEND_AFTER_SSE', 'sse payload dropped']])
  }
})

t.test('L10: a later onRoute hook may wrap the handler again, and gets the promise of the stream', async t => {
  const steps: string[] = []
  const wrappers: Array<(handler: () => unknown, reply: FastifyReply) => unknown> = [
    async handler => {
      try {
        return await handler()
      } finally {
        steps.push('over')
      }
    },
    async handler => {
      await turn()
      handler()
    },
    async (handler, reply) => {
      reply.sse(late())
      await handler()
    }
  ]
  const handlers: Handler[] = [
    (_request, reply) => reply.sse(late()),
    async (_request, reply) => { await reply.sse(late()) }
  ]
  for (const wrap of wrappers) {
    for (const handler of handlers) {
      const { app, reports } = await build(t)
      app.addHook('onRoute', route => {
        const { handler: inner } = route
        route.handler = function (request, reply) { return wrap(() => inner.call(this, request, reply), reply) }
      })
      app.get('/', { schema }, wrap === wrappers[2] ? async () => {} : handler)
      t.equal((await get(app)).body, 'data: 1\n\n')
      t.strictSame(reports.map(({ reason }) => reason), ['complete'])
    }
  }
  await turn()
  t.strictSame(steps, ['over', 'over'])
})

t.test('a route whose handler a later onRoute hook removes fails at its declaration, as without the plugin', async t => {
  const { app } = await build(t)
  app.addHook('onRoute', route => { Reflect.set(route, 'handler', undefined) })
  t.throws(() => app.get('/', { schema }, async () => {}), TypeError)
})

t.test('L10: a not-found handler that the handler calls may answer with its own stream', async t => {
  const notFound: Handler[] = [
    (_request, reply) => reply.sse(late()),
    async (_request, reply) => { reply.sse(late()) }
  ]
  for (const handler of notFound) {
    const { app, reports } = await build(t)
    app.setNotFoundHandler(handler)
    app.get('/', { schema }, (_request, reply) => { reply.callNotFound() })
    t.equal((await get(app)).body, 'data: 1\n\n')
    t.strictSame(reports.map(({ reason }) => reason), ['complete'])
  }
})

t.test('L10: a reply that is hijacked after reply.sse() gets no stream, and the event of the source makes a warning', async t => {
  const { app, lines, reports } = await build(t)
  app.get('/', { schema }, (_request, reply) => {
    reply.sse(late())
    reply.hijack()
    setTimeout(() => reply.raw.end('other'), 60)
  })
  t.equal((await get(app)).body, 'other')
  t.strictSame(lines.map(({ err, msg }) => [err?.code, msg]), [['FST_SSE_SEND_AFTER_SSE', 'sse stream replaced']])
  t.strictSame(reports.map(({ bytes }) => bytes), [0])
})

t.test('L9: an error that Fastify sends before the head stops the source, also with a slow error handler', async t => {
  const cases: Array<[FastifyServerOptions, Handler]> = [
    [{ handlerTimeout: 50 }, (_request, reply) =>
      reply.sse(({ signal }) =>
        (async function * (): AsyncGenerator<Event> {
          await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()))
          yield { data: 0 }
        })()
      )],
    [{}, (_request, reply) => {
      reply.sse(late())
      reply.send(new Error('sent'))
    }]
  ]
  for (const [options, handler] of cases) {
    const { app, reports } = await build(t, options)
    app.setErrorHandler(async (error: Error, _request, reply) => {
      await delay(40)
      return reply.code(503).send(error.message)
    })
    app.get('/', { schema: { sse: { message: Type.Unknown() } } }, handler)
    t.equal((await get(app)).statusCode, 503)
    t.strictSame(reports.map(({ reason, events }) => [reason, events]), [['error', 0]])
  }
})

t.test('L10: an error handler may answer with its own stream, before and after reply.sse()', async t => {
  const handlers: Handler[] = [
    () => { throw new Error('no') },
    async () => { throw new Error('no') },
    (_request, reply) => {
      reply.sse(late())
      throw new Error('no')
    },
    async (_request, reply) => reply.sse((async function * (): AsyncGenerator<Event> { throw new Error('no') })())
  ]
  for (const handler of handlers) {
    const { app } = await build(t)
    app.setErrorHandler(async (_error, _request, reply) => { reply.code(200).sse([{ data: 2 }]) })
    app.get('/', { schema }, handler)
    t.equal((await get(app)).body, 'data: 2\n\n')
  }
})

t.test('L9: an error handler may answer a handler timeout with its own stream, and the handler may end later', async t => {
  const { app, lines } = await build(t, { handlerTimeout: 30 })
  let end: () => void
  const ended = new Promise<void>(resolve => { end = resolve })
  app.setErrorHandler(async (_error, _request, reply) => {
    reply.code(200).sse((async function * (): AsyncGenerator<Event> {
      await ended
      await delay(10)
      yield { data: 1 }
    })())
  })
  app.get('/', { schema }, async () => {
    await delay(40)
    end()
  })
  t.strictSame([(await get(app)).body, lines], ['data: 1\n\n', []])
})

t.test('a handler that two registrations have wrapped runs once', async t => {
  const { app } = await build(t)
  let calls = 0
  app.get('/', { schema }, wrapHandler(async (_request, reply) => {
    calls++
    await reply.sse(late())
  }))
  t.strictSame([(await get(app)).body, calls], ['data: 1\n\n', 1])
})
