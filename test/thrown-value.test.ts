import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyReply } from 'fastify'
import t from 'tap'
import sse, { EventQueue, type AnyEvent } from '../lib/index.ts'
import { toError, isAbortError, toReadable } from '../lib/thrown-value.ts'
import { oddities } from './setup/oddities.ts'
import { within } from './setup/within.ts'

t.test('an error that can be read is returned unchanged, also with causes', async t => {
  const inner = new TypeError('inner')
  for (const error of [inner, new Error('outer', { cause: inner }), new DOMException('gone', 'AbortError'),
    Object.assign(new Error('x'), { statusCode: 404, cause: 'text' })]) {
    t.equal(toError(error), error)
    t.equal(toReadable(error), error)
  }
})

t.test('a thrown value that is no error becomes the cause of an error', async t => {
  for (const thrown of ['text', 7, null, undefined, { a: 1 }, Symbol('x'), () => {}]) {
    const error = toError(thrown, 'The handler')
    t.match(error.message, /^The handler threw /)
    t.equal(error.cause, thrown)
    t.equal(toReadable(thrown), thrown)
  }
})

t.test('the replacement of an unreadable value contains no part of it', async t => {
  for (const [what, thrown] of oddities()) {
    const error = toError(thrown)
    t.not(error, thrown, what)
    t.match(String(error.stack), 'cannot be read', what)
    t.equal(error.cause, undefined, what)
    t.ok(toReadable(thrown) instanceof Error, what)
    t.equal(isAbortError(thrown), false, what)
  }
})

t.test('the causes of an error are checked to a limited depth', async t => {
  const error = new Error('round')
  error.cause = error
  t.equal(toError(error), error)
})

t.test('isAbortError() detects an abort by its name or code', async t => {
  t.equal(isAbortError(new DOMException('gone', 'AbortError')), true)
  t.equal(isAbortError(Object.assign(new Error('gone'), { code: 'ERR_STREAM_PREMATURE_CLOSE' })), true)
  for (const other of [new Error('gone'), { name: 'AbortError' }, 'AbortError', undefined]) {
    t.equal(isAbortError(other), false)
  }
})

/** All places that may throw: in a source and in the functions around it. */
const places: Array<[where: string, answer: (reply: FastifyReply, thrown: unknown) => unknown, early: boolean]> = [
  ['by the function', (reply, thrown) =>
    reply.sse(() => {
      throw thrown
    }), true],
  ['by the first next()',
    (reply, thrown) => reply.sse({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(thrown) }) }), true],
  ['by a next() that answers at once', (reply, thrown) =>
    reply.sse({
      [Symbol.iterator]: () => ({
        next: () => {
          throw thrown
        }
      })
    }), true],
  ['by a later next()', (reply, thrown) =>
    reply.sse(async function * () {
      yield { data: 1 }
      await turn()
      throw thrown
    }), false],
  ['by onInvalid', (reply, thrown) =>
    reply.sse([{ data: 1 }, { data: undefined }], {
      onInvalid: () => {
        throw thrown
      }
    }), false],
  ['by a toJSON', (reply, thrown) =>
    reply.sse([{ data: 1 }, {
      data: {
        toJSON: () => {
          throw thrown
        }
      }
    }]), false],
  ['by the handler, after it', (reply, thrown) => {
    reply.sse(new EventQueue()).catch(() => {})
    throw thrown
  }, true]
]
for (const [where, handler, early] of places) {
  t.test(`E2: any value thrown ${where} ends the stream`, async t => {
    const ends: string[] = []
    const app = Fastify({ logger: { level: 'debug', stream: { write: () => {} } } })
    await app.register(sse, { onClose: ({ reason }) => ends.push(reason) })
    let thrown: unknown
    app.get('/', (_request, reply) => handler(reply, thrown))
    t.teardown(() => app.close())
    for (const [what, oddity] of oddities()) {
      thrown = oddity
      const response = await within(what, app.inject('/'))
      if (early) t.equal(response.statusCode, 500, what)
      else t.match(response.payload, /^data: 1\n\nevent: error\ndata: {.*"status":500/, what)
      t.equal(app.sse.streams().length, 0, what)
      t.equal(ends.pop(), 'error', what)
    }
  })
}

t.test('L3: a value that a source throws while it stops changes nothing', async t => {
  const app = Fastify({ logger: { level: 'debug', stream: { write: () => {} } } })
  await app.register(sse)
  let thrown: unknown
  const iterator = (): AsyncIterator<AnyEvent> => ({
    next: () => new Promise(() => {}),
    return: () => Promise.reject(thrown)
  })
  app.get('/', (_request, reply) => reply.sse({ [Symbol.asyncIterator]: iterator }))
  t.teardown(() => app.close())
  for (const [what, oddity] of oddities()) {
    thrown = oddity
    const answer = app.inject({ url: '/' })
    while (app.sse.streams().length === 0) await turn()
    app.sse.streams()[0]!.disconnect()
    t.equal((await within(what, answer)).statusCode, 403, what)
    t.equal(app.sse.streams().length, 0, what)
  }
})

t.test('L10: an invalid source is rejected', async t => {
  const app = Fastify()
  await app.register(sse)
  app.get('/', (_request, reply) => reply.sse(given as never))
  app.get('/twice', (_request, reply) => {
    reply.sse(given as never).catch(() => {})
    return reply.sse(again as never)
  })
  t.teardown(() => app.close())
  let [given, again]: unknown[] = []
  for (const [index, [what, oddity]] of oddities().entries()) {
    given = oddity
    t.match((await within(what, app.inject('/'))).json(), { statusCode: 500 }, what)
    again = oddities()[index]![1]
    t.equal((await within(what, app.inject('/twice'))).statusCode, 500, what)
  }
})

t.test('a throwing error serializer leaves no stream and no promise open', async t => {
  const ends: string[] = []
  const app = Fastify({
    logger: {
      level: 'debug',
      serializers: {
        err: () => {
          throw new Error('serializer')
        }
      },
      stream: { write: () => {} }
    }
  })
  await app.register(sse, { onClose: ({ reason }) => ends.push(reason) })
  let over: Promise<void> | undefined
  app.get('/', (_request, reply) => {
    over = reply.sse((function * () {
      yield { data: 1 }
      throw new Error('late')
    })())
    return over
  })
  t.teardown(() => app.close())
  t.match((await within('the answer', app.inject('/'))).payload, /^data: 1\n\nevent: error\n/)
  await within('the end', over!)
  t.strictSame(ends, ['error'])
})
