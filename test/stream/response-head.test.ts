import { Readable } from 'node:stream'
import Fastify, { type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import { SERVER_SENT_EVENTS } from '../../lib/stream/formats.ts'
import { ResponseHead, type HeadOwner } from '../../lib/stream/response-head.ts'
import { Scope } from '../../lib/scope.ts'

/** The head of a reply, whose stream has only a scope and an error handler. */
function headOf (reply: FastifyReply, handlerFailed: (error: Error) => void = () => {}): ResponseHead {
  const handlerReturned = (value: unknown): void => {
    if (value !== undefined) reply.log.warn({ value }, 'dropped')
  }
  return new ResponseHead(
    {
      reply,
      wrapped: false,
      representation: SERVER_SENT_EVENTS,
      record: { scope: new Scope() },
      failures: { handlerFailed, handlerReturned }
    } as Partial<HeadOwner> as HeadOwner
  )
}

interface Answered { status: number, headers: Record<string, unknown>, body: string, thrown: Error[], log: string }

/** What a client gets from a handler that has a Head for its reply. */
async function answer (t: Test, handler: (head: ResponseHead, reply: FastifyReply) => unknown): Promise<Answered> {
  let log = ''
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { log += line } } } })
  t.teardown(() => app.close())
  const thrown: Error[] = []
  app.get('/', (_request, reply) => {
    const head = headOf(reply, error => {
      thrown.push(error)
      head.sendError(error)
    })
    return handler(head, reply)
  })
  const response = await app.inject('/')
  return { status: response.statusCode, headers: response.headers, body: response.body, thrown, log }
}

t.test('W1: the head has the headers of an event stream, except for headers that were set before', async t => {
  const { headers, body } = await answer(t, (head, reply) => {
    reply.header('cache-control', 'no-store')
    head.commit()
    head.send(Readable.from(['data: 1\n\n']))
  })
  t.match(headers, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no'
  })
  t.equal(body, 'data: 1\n\n')
})

t.test('L1: a head is committed once, and the commit stops the timer', async t => {
  let late = 0
  await answer(t, async (head, reply) => {
    head.flushAfter(1, () => late++)
    // Until the timer is there, and no further: where the machine is busy a turn of the loop may take longer than the
    // timer.
    await Promise.resolve()
    await new Promise<void>(resolve => process.nextTick(resolve))
    t.strictSame([head.committed, head.commit(), head.committed, head.commit()], [false, true, true, false])
    head.flushAfter(0, () => late++)
    await new Promise(resolve => setTimeout(resolve, 20))
    head.send(Readable.from(['']))
  })
  t.equal(late, 0)
})

t.test('L1: flushAfter calls back after its delay, and without a timer for a delay of 0', async t => {
  for (const delay of [0, 1]) {
    await answer(t, async (head, reply) => {
      await new Promise<void>(resolve => head.flushAfter(delay, resolve))
      t.equal(head.committed, false)
      head.sendError(new Error('that was all'))
    })
  }
})

t.test('L10: a payload that the handler sends meanwhile is dropped: undefined silently, a value with a warning', async t => {
  const { body, log } = await answer(t, (head, reply) => {
    reply.send()
    reply.send({ answer: 42 })
    head.commit()
    head.send(Readable.from(['data: 1\n\n']))
  })
  t.equal(body, 'data: 1\n\n')
  t.equal(log.match(/dropped/g)?.length, 1)
})

t.test('W1: a head that is written directly equals the head that is sent with a body', async t => {
  const set = (reply: FastifyReply): void => {
    reply.raw.setHeader('x-raw', ['1', '2'])
    reply.raw.setHeader('x-both', 'raw')
    reply.headers({ 'x-both': 'reply', 'cache-control': 'no-store', 'x-number': 7, 'x-empty': undefined })
    for (const name of ['a', 'b']) reply.header('set-cookie', `${name}=1`)
  }
  const alone = await answer(t, (head, reply) => {
    set(reply)
    head.commit()
    t.equal(head.writeDirectly(), true)
    t.equal(reply.sent, true)
    reply.raw.end('data: 1\n\n')
  })
  const [wanted, ...more] = await Promise.all([200, 201].map(status => answer(t, (head, reply) => {
    set(reply.code(status))
    head.commit()
    if (status !== 200) t.equal(head.writeDirectly(), false, 'only a response that has a body')
    head.send(Readable.from(['data: 1\n\n']))
  })))
  // The writer of the body decides about chunks, not the head.
  const own = (
    {
      headers: {
        date: _date, connection: _connection, 'transfer-encoding': _encoding, 'content-length': _length,
        ...headers
      }
    }: Answered
  ): object => headers
  t.match(own(alone), {
    'set-cookie': ['a=1', 'b=1'],
    'x-both': 'reply',
    'content-type': 'text/event-stream; charset=utf-8'
  })
  for (const other of [wanted!, ...more]) {
    t.strictSame(own(alone), own(other))
    t.equal(other.body, alone.body)
  }
})

t.test('L9: a head is not written directly if reply.send does more, or if it is sent already', async t => {
  const befores: Array<(reply: FastifyReply) => unknown> = [
    reply => reply.code(204),
    reply => reply.trailer('x-sum', async () => '1'),
    reply => reply.hijack(),
    reply => reply.raw.writeHead(200)
  ]
  for (const before of befores) {
    await answer(t, (head, reply) => {
      before(reply)
      head.commit()
      t.equal(head.writeDirectly(), false)
      reply.hijack().raw.end()
    })
  }
})

t.test('L9: a head is not written directly if reply.send was replaced', async t => {
  const app = Fastify()
  app.get('/', (_request, reply) => {
    const { send } = reply
    let bodies = 0
    reply.send = payload => {
      bodies++
      return send.call(reply, payload)
    }
    const head = headOf(reply, error => t.error(error))
    head.commit()
    t.equal(head.writeDirectly(), false)
    head.send(Readable.from(['data: 1\n\n']))
    t.equal(bodies, 1)
  })
  t.equal((await app.inject('/')).body, 'data: 1\n\n')
})

t.test('E1: a head that cannot be written throws, and an ordinary error follows', async t => {
  const { status, body } = await answer(t, (head, reply) => {
    reply.header('x-bad', 'a\nb')
    head.commit()
    t.throws(() => head.writeDirectly(), { code: 'ERR_INVALID_CHAR' })
    t.equal(reply.sent, false)
    reply.removeHeader('x-bad')
    head.sendError(new Error('bad header'))
  })
  t.equal(status, 500)
  t.match(body, 'bad header')
})

t.test('L10: an error that the handler throws is reported to the stream', async t => {
  const error = Object.assign(new Error('changed my mind'), { statusCode: 409 })
  const { status, thrown } = await answer(t, () => { throw error })
  t.equal(status, 409)
  t.strictSame(thrown, [error])
})

t.test('L1: the error goes through error handlers, which may send any payload, or none', async t => {
  for (const payload of [undefined, 'sorry']) {
    const app = Fastify()
    t.teardown(() => app.close())
    app.setErrorHandler((_error, _request, reply) => reply.code(418).send(payload))
    app.get('/', (_request, reply) => { headOf(reply).sendError(new Error('no')) })
    const response = await app.inject('/')
    t.strictSame([response.statusCode, response.body], [418, payload ?? ''])
  }
})

t.test('L9: the error of an onSend hook becomes the response', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.setErrorHandler((error, _request, reply) => reply.code(502).send({ message: (error as Error).message }))
  app.addHook('onSend', async (_request, _reply, payload) => {
    if (payload instanceof Readable) throw new Error('hook')
  })
  app.get('/', (_request, reply) => {
    const head = headOf(reply)
    head.commit()
    head.send(Readable.from(['never']))
  })
  const response = await app.inject('/')
  t.strictSame([response.statusCode, response.json()], [502, { message: 'hook' }])
})

t.test('an error that cannot be sent cuts the connection', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/', (_request, reply) => {
    reply.send = () => { throw new Error('broken reply') }
    headOf(reply).sendError(new Error('no'))
  })
  await t.rejects(app.inject('/'), { code: 'LIGHT_ECONNRESET' })
})
