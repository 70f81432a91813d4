import { Readable } from 'node:stream'
import Fastify, { type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import { Head } from '../lib/head.ts'

/** What a client gets from a handler that has a Head for its reply. */
async function answer (t: Test, handler: (head: Head, reply: FastifyReply) => unknown): Promise<{ status: number, headers: Record<string, unknown>, body: string, thrown: Error[], log: string }> {
  let log = ''
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { log += line } } } })
  t.teardown(() => app.close())
  const thrown: Error[] = []
  app.get('/', (_request, reply) => {
    const head = new Head(reply, {
      overruled: error => {
        thrown.push(error)
        head.sendError(error)
      }
    })
    return handler(head, reply)
  })
  const response = await app.inject('/')
  return { status: response.statusCode, headers: response.headers, body: response.body, thrown, log }
}

t.test('W1: the head is that of an event stream, but for what was set before', async t => {
  const { headers, body } = await answer(t, (head, reply) => {
    reply.header('cache-control', 'no-store')
    head.commit()
    head.send(Readable.from(['data: 1\n\n']))
  })
  t.match(headers, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
  t.equal(body, 'data: 1\n\n')
})

t.test('L1: it is committed once, and that ends the wait for it', async t => {
  let late = 0
  await answer(t, async (head, reply) => {
    head.arm(1, () => late++)
    // Until the timer is there, and no further: where the machine is busy a turn of the loop may take longer than the timer.
    await Promise.resolve()
    await new Promise<void>(resolve => process.nextTick(resolve))
    t.strictSame([head.committed, head.commit(), head.committed, head.commit()], [false, true, true, false])
    head.arm(0, () => late++)
    await new Promise(resolve => setTimeout(resolve, 20))
    head.send(Readable.from(['']))
  })
  t.equal(late, 0)
})

t.test('L1: the wait is over after its time, and without a timer when that is 0', async t => {
  for (const delay of [0, 1]) {
    await answer(t, async (head, reply) => {
      await new Promise<void>(resolve => head.arm(delay, resolve))
      t.equal(head.committed, false)
      head.sendError(new Error('that was all'))
    })
  }
})

t.test('L10: what the handler sends meanwhile is dropped: undefined silently, a value with a warning', async t => {
  const { body, log } = await answer(t, (head, reply) => {
    reply.send()
    reply.send({ answer: 42 })
    head.commit()
    head.send(Readable.from(['data: 1\n\n']))
  })
  t.equal(body, 'data: 1\n\n')
  t.equal(log.match(/FST_SSE_REPLY_TAKEN/g)?.length, 1)
})

t.test('L10: an error that the handler throws is told', async t => {
  const error = Object.assign(new Error('changed my mind'), { statusCode: 409 })
  const { status, thrown } = await answer(t, () => { throw error })
  t.equal(status, 409)
  t.strictSame(thrown, [error])
})

t.test('L1: the error goes through error handlers, which may send what they like, also nothing', async t => {
  for (const payload of [undefined, 'sorry']) {
    const app = Fastify()
    t.teardown(() => app.close())
    app.setErrorHandler((_error, _request, reply) => reply.code(418).send(payload))
    app.get('/', (_request, reply) => { new Head(reply, { overruled: () => {} }).sendError(new Error('no')) })
    const response = await app.inject('/')
    t.strictSame([response.statusCode, response.body], [418, payload ?? ''])
  }
})

t.test('L9: when an onSend hook fails, its error is the answer', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.setErrorHandler((error, _request, reply) => reply.code(502).send({ told: (error as Error).message }))
  app.addHook('onSend', async (_request, _reply, payload) => { if (payload instanceof Readable) throw new Error('hook') })
  app.get('/', (_request, reply) => {
    const head = new Head(reply, { overruled: () => {} })
    head.commit()
    head.send(Readable.from(['never']))
  })
  const response = await app.inject('/')
  t.strictSame([response.statusCode, response.json()], [502, { told: 'hook' }])
})

t.test('an error that cannot even be sent cuts the connection', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/', (_request, reply) => {
    reply.send = () => { throw new Error('broken reply') }
    new Head(reply, { overruled: () => {} }).sendError(new Error('no'))
  })
  await t.rejects(app.inject('/'), { code: 'LIGHT_ECONNRESET' })
})
