import { IncomingMessage, OutgoingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import Fastify, { LogController, type FastifyInstance, type FastifyReply, type RouteShorthandOptions } from 'fastify'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import sse, { type AnyEvent } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { fastifyWithout } from '../setup/renamed-symbol.ts'
import { within } from '../setup/within.ts'
import { canWriteHeadDirectly, clearErrorMark, compactHead, logsRequest } from '../../lib/stream/fastify-internals.ts'

/** What is said of a reply in its handler. */
async function ask<T> (question: (reply: FastifyReply) => T, { app = Fastify(), options = {}, before = () => {} }: {
  app?: FastifyInstance
  options?: RouteShorthandOptions
  before?: (reply: FastifyReply) => unknown
} = {}): Promise<T> {
  let answer: T
  app.get('/', options, (_request, reply) => {
    before(reply)
    answer = question(reply)
    if (reply.sent || reply.raw.headersSent) reply.hijack().raw.end()
    else reply.send('')
  })
  await app.inject('/')
  return answer!
}

/** An app with an onSend hook, which has no routes yet. */
function hooked (): FastifyInstance {
  const app = Fastify()
  app.addHook('onSend', async () => {})
  return app
}

t.test('L9: the head can be written directly if no onSend hook gets the body', async t => {
  t.equal(await ask(canWriteHeadDirectly), true)
  t.equal(
    await ask(canWriteHeadDirectly, {
      options: { onRequest: async () => {}, preHandler: async () => {}, onResponse: async () => {} }
    }),
    true,
    'other hooks'
  )
  t.equal(await ask(canWriteHeadDirectly, { app: hooked() }), false, 'a hook of the app')
  t.equal(await ask(canWriteHeadDirectly, { options: { onSend: async () => {} } }), false, 'a hook of the route')
})

t.test('L9: an onSend hook counts only in its scope', async t => {
  const app = Fastify()
  const answers: Record<string, boolean> = {}
  const route = async (scope: FastifyInstance): Promise<void> => {
    scope.get('/', (_request, reply) => {
      answers[scope.prefix] = canWriteHeadDirectly(reply)
      reply.send('')
    })
  }
  app.register(async scope => {
    await route(scope)
    // After the route, which has it all the same.
    scope.addHook('onSend', async () => {})
  }, { prefix: '/hooked' })
  app.register(route, { prefix: '/plain' })
  for (const path of ['/hooked/', '/plain/']) await app.inject(path)
  t.strictSame(answers, { '/hooked': false, '/plain': true })
})

t.test('L9: the head of a reply with trailers is not written directly, also after the trailers were removed', async t => {
  const trailing = (reply: FastifyReply): unknown => reply.trailer('x-sum', async () => '1')
  t.equal(await ask(canWriteHeadDirectly, { before: trailing }), false)
  t.equal(await ask(canWriteHeadDirectly, {
    before: reply => {
      trailing(reply)
      reply.removeTrailer('x-sum')
    }
  }), false)
})

t.test('L10: a head that is sent is not written directly', async t => {
  t.equal(await ask(canWriteHeadDirectly, { before: reply => reply.hijack() }), false)
  t.equal(await ask(canWriteHeadDirectly, { before: reply => reply.raw.writeHead(200) }), false)
})

t.test('L10: the mark of a handler that threw is cleared once', async t => {
  t.strictSame(await ask(reply => [clearErrorMark(reply), clearErrorMark(reply)]), [false, false])
  const symbol = (reply: FastifyReply): symbol =>
    Object.getOwnPropertySymbols(reply).find(({ description }) => description === 'fastify.reply.isError')!
  const before = (reply: FastifyReply): void => {
    Object.assign(reply, { [symbol(reply)]: true })
  }
  t.strictSame(await ask(reply => [clearErrorMark(reply), clearErrorMark(reply)], { before }), [true, false])
})

t.test('another copy of Fastify has its own symbols, and one without them has no state', async t => {
  const copy = (onSend: unknown, error: boolean): FastifyReply =>
    Object.assign(Object.create({ [Symbol('fastify.context')]: { onSend } }) as FastifyReply, {
      [Symbol('fastify.reply.trailers')]: null,
      [Symbol('fastify.reply.isError')]: error,
      sent: false,
      raw: { headersSent: false }
    })
  for (let n = 0; n < 2; n++) {
    t.equal(canWriteHeadDirectly(copy(null, false)), true)
    t.equal(canWriteHeadDirectly(copy([], false)), false)
    t.equal(clearErrorMark(copy(null, true)), true)
    t.equal(clearErrorMark(copy(null, false)), false)
    t.equal(await ask(canWriteHeadDirectly), true)
  }
  const strange = { sent: false, raw: { headersSent: false } } as FastifyReply
  t.equal(canWriteHeadDirectly(strange), false)
  t.equal(clearErrorMark(strange), undefined)
})

t.test('L3: a head that was sent keeps its text in one string, and the response works as before', t => {
  const responseWith = (value: string): ServerResponse => {
    const response = new ServerResponse(new IncomingMessage(new Socket()))
    response.writeHead(200, { 'x-value': value, date: 'x' })
    return response
  }
  const textOf = (response: ServerResponse): unknown => (response as { _header?: unknown })._header
  for (const value of ['one', 'one', 'é']) {
    const response = responseWith(value)
    const text = String(textOf(response))
    compactHead(response)
    t.equal(textOf(response), text)
    t.equal(response.headersSent, true)
    t.throws(() => response.setHeader('x-late', '1'), { code: 'ERR_HTTP_HEADERS_SENT' })
  }
  const unsent = new ServerResponse(new IncomingMessage(new Socket()))
  compactHead(unsent)
  t.equal(unsent.headersSent, false, 'a response without a head')
  t.end()
})

t.test('a request is logged unless the log controller of its server or disableRequestLogging disables it', async t => {
  class Own extends LogController {
    override isLogDisabled ({ url }: { url: string }): boolean { return url === '/' }
  }
  const controllers: Array<[LogController | undefined, boolean]> = [
    [undefined, true],
    [new LogController(), true],
    [new LogController({ disableRequestLogging: true }), false],
    [new LogController({ disableRequestLogging: ({ url }) => url === '/' }), false],
    [new LogController({ disableRequestLogging: () => false }), true],
    [new Own(), false]
  ]
  for (const [logController, logged] of controllers) {
    t.equal(await ask(logsRequest, { app: Fastify({ ...(logController !== undefined && { logController }) }) }), logged)
  }
  const before = (disableRequestLogging: unknown): FastifyReply =>
    ({ server: { initialConfig: { disableRequestLogging } }, request: { url: '/' } }) as unknown as FastifyReply
  const options: Array<[unknown, boolean]> = [[undefined, true], [false, true], [true, false], [
    ({ url }: { url: string }) => url === '/',
    false
  ], [() => false, true]]
  for (const [option, logged] of options) t.equal(logsRequest(before(option)), logged)
})

t.test('with `disableRequestLogging` the end of a stream is not logged', async t => {
  for (const disabled of [true, false]) {
    const lines: string[] = []
    const logger = { stream: { write: (line: string) => { lines.push((JSON.parse(line) as { msg: string }).msg) } } }
    const app = Fastify({ logger, logController: new LogController({ disableRequestLogging: disabled }) })
    await app.register(sse)
    app.get('/', (_request, reply) => reply.sse([{ data: 1 }]))
    await app.inject('/')
    t.strictSame(lines.filter(line => line === 'sse stream closed').length, disabled ? 0 : 1)
    await app.close()
  }
})

/**
 * An app of that Fastify with streams on routes with and without `schema.sse`, which succeed and fail in several ways.
 */
async function appOf (t: Test, fastify: typeof Fastify): Promise<{ app: FastifyInstance, warnings: unknown[] }> {
  const warnings: unknown[] = []
  const write = (line: string): void => {
    const { missing } = JSON.parse(line) as { missing?: unknown }
    if (missing !== undefined) warnings.push(missing)
  }
  const app = fastify({ logger: { level: 'warn', stream: { write } } })
  t.teardown(() => app.close())
  await app.register(sse)
  // A second registration on the same server.
  await app.register(async scope => { await scope.register(sse) })
  const wait = async function * (): AsyncGenerator<AnyEvent> {
    await new Promise(resolve => setTimeout(resolve, 20))
    yield { data: 1 }
  }
  const handlers: Record<string, (reply: FastifyReply) => unknown> = {
    stream: reply => reply.sse([{ data: 1 }]),
    unreturned: async reply => { reply.sse(wait()) },
    thrown: reply => {
      reply.sse(wait())
      throw Object.assign(new Error('no'), { statusCode: 418 })
    },
    rejected: async reply => {
      reply.sse(wait())
      throw Object.assign(new Error('no'), { statusCode: 418 })
    },
    text: reply => {
      reply.sse(wait())
      throw 'a text' // eslint-disable-line no-throw-literal
    },
    source: reply =>
      reply.sse((async function * (): AsyncGenerator<AnyEvent> {
        throw Object.assign(new Error('none'), { statusCode: 404 })
      })())
  }
  for (const [name, handler] of Object.entries(handlers)) {
    app.get(`/declared/${name}`, { schema: { sse: { message: Type.Number() } } }, (_request, reply) => handler(reply))
    app.get(`/free/${name}`, (_request, reply) => handler(reply))
  }
  return { app, warnings }
}

const RENAMED = [undefined, 'fastify.reply.isError', 'fastify.context', 'fastify.reply.trailers',
  'fastify.logController', 'fastify.Reply', 'fastify.Request']
for (const description of RENAMED) {
  t.test(`E1: without ${description ?? 'any change'} in Fastify, the answers are right${description === undefined ? '' : ', and one warning is logged'}`, async t => {
    const { app, warnings } = await appOf(t, description === undefined ? Fastify : fastifyWithout(description))
    for (const route of ['declared', 'free']) {
      for (const [name, status] of Object.entries({
        stream: 200,
        unreturned: 200,
        thrown: 418,
        rejected: 418,
        text: 500,
        source: 404
      })) {
        const response = await app.inject(`/${route}/${name}`)
        t.equal(response.statusCode, status, `${route} ${name}`)
        if (status === 200) t.equal(response.body, 'data: 1\n\n')
      }
    }
    t.equal(warnings.length, description === undefined ? 0 : 1)
  })
}

/** Whether the first frame of a stream is framed by the plugin, and the body of the answer. */
async function firstFrame (
  t: Test,
  fastify: typeof Fastify
): Promise<{ direct: boolean, body: string, warnings: unknown[] }> {
  const { app, warnings } = await appOf(t, fastify)
  const { write } = OutgoingMessage.prototype
  const writes: string[] = []
  OutgoingMessage.prototype.write = function (this: OutgoingMessage, ...args: Parameters<typeof write>) {
    writes.push(String(args[0]))
    return Reflect.apply(write, this, args)
  } as typeof write
  t.teardown(() => { OutgoingMessage.prototype.write = write })
  const client = await open(await listen(t, app), { path: '/declared/stream', headers: { connection: 'close' } })
  await within('the end', client.closed)
  OutgoingMessage.prototype.write = write
  return { direct: writes.includes('9\r\ndata: 1\n\n\r\n'), body: client.responses()[0]!.body, warnings }
}

t.test('direct writes are off if Fastify or Node lack what they need', async t => {
  t.match(await firstFrame(t, Fastify), { direct: true, body: 'data: 1\n\n', warnings: [] })
  t.match(await firstFrame(t, fastifyWithout('fastify.reply.trailers')), {
    direct: false,
    body: 'data: 1\n\n',
    warnings: [['fastify.reply.trailers']]
  })
  // A Node in which framing cannot be switched off when the head is sent.
  const values = new WeakMap<object, boolean>()
  Object.defineProperty(OutgoingMessage.prototype, 'chunkedEncoding', {
    configurable: true,
    get (this: OutgoingMessage) { return values.get(this) ?? false },
    set (this: OutgoingMessage, value: boolean) { if (value || !this.headersSent) values.set(this, value) }
  })
  t.teardown(() => Reflect.deleteProperty(OutgoingMessage.prototype, 'chunkedEncoding'))
  t.match(await firstFrame(t, Fastify), {
    direct: false,
    body: 'data: 1\n\n',
    warnings: [['response.chunkedEncoding']]
  })
})
