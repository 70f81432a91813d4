import { PassThrough, Transform, type Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import compress from '@fastify/compress'
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import session from '@fastify/session'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import sse, { EventQueue, type AnyEvent, type CloseReport } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { open, type RawRequest } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

declare module 'fastify' {
  interface Session {
    visits?: number
  }
}

type Test = Pick<typeof t, 'teardown'>

async function sendRequest (t: Test, app: FastifyInstance, request: RawRequest = {}): ReturnType<typeof open> {
  const client = await open(await listen(t, app), request)
  t.teardown(() => client.socket.destroy())
  return client
}

t.test('L9: cors, helmet, cookie, session, rate-limit and compress work together on a stream', async t => {
  const app = Fastify()
  await app.register(cors, { origin: 'http://shop.example', credentials: true })
  await app.register(helmet)
  await app.register(cookie)
  await app.register(session, {
    secret: 'a secret of at least thirty-two characters',
    cookieName: 'sid',
    cookie: { secure: false }
  })
  await app.register(rateLimit, { max: 2, timeWindow: 60_000 })
  await app.register(compress, { threshold: 0 })
  await app.register(sse)
  app.addHook('onSend', async (_request, reply) => {
    reply.setCookie('late', 'set in onSend')
  })
  let queue = new EventQueue()
  app.get('/', (request, reply) => {
    request.session.set('visits', 1)
    reply.setCookie('early', 'set in the handler')
    return reply.sse(queue)
  })
  // The other plugins are active: other responses are compressed.
  app.get('/plain', async () => ({ text: 'compressible '.repeat(100) }))
  const headers = { Origin: 'http://shop.example', 'Accept-Encoding': 'gzip, br' }
  const client = await sendRequest(t, app, { headers })
  for (const data of ['a', 'b', 'c']) {
    await queue.push({ data })
    await within(`event ${data}, as text`, client.until(`\r\n9\r\ndata: ${data}\n\n\r\n`))
  }
  const [response] = client.responses()
  t.match(response, {
    status: 200,
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'access-control-allow-origin': 'http://shop.example',
      'access-control-allow-credentials': 'true',
      'content-security-policy': /default-src 'self'/,
      'x-content-type-options': 'nosniff',
      'x-ratelimit-limit': '2',
      'x-ratelimit-remaining': '1',
      'transfer-encoding': 'chunked'
    }
  })
  t.equal(response?.headers['content-encoding'], undefined)
  t.equal(response?.headers['content-length'], undefined)
  const cookies = (response?.head.match(/^set-cookie: [^=]+/gim) ?? []).map(line => line.slice('set-cookie: '.length))
    .sort()
  t.same(cookies, ['early', 'late', 'sid'])
  queue.end()
  await within('the end', client.until('0\r\n\r\n'))

  const sid = response?.head.match(/^set-cookie: (sid=[^;]+)/im)?.[1] ?? ''
  queue = new EventQueue()
  const offset = client.received.length
  client.request({ headers: { ...headers, Cookie: sid } })
  await queue.push({ data: 'd' })
  await within('the stream of the same session', client.until('data: d\n\n', offset))
  queue.end()
  await within('the end', client.until('0\r\n\r\n', offset))
  t.equal(client.responses()[1]?.headers['x-ratelimit-remaining'], '0')

  client.request({ headers })
  client.request({ path: '/plain', headers: { ...headers, Connection: 'close' } })
  await within('the end of the connection', client.closed)
  t.match(client.responses()[2], { status: 429, headers: { 'content-type': /json/ } },
    'a refusal is an ordinary answer')
})

t.test('L9: beside a stream, compress still compresses other responses', async t => {
  const app = Fastify()
  await app.register(compress, { threshold: 0 })
  await app.register(sse)
  app.get('/plain', async () => ({ text: 'compressible '.repeat(100) }))
  const client = await sendRequest(t, app, {
    path: '/plain',
    headers: { 'Accept-Encoding': 'gzip', Connection: 'close' }
  })
  await within('the end', client.closed)
  t.equal(client.responses()[0]?.headers['content-encoding'], 'gzip')
})

t.test('L9: handlerTimeout does not cut a live stream', async t => {
  const app = Fastify({ handlerTimeout: 100 })
  await app.register(sse)
  const queue = new EventQueue()
  app.get('/', (_request, reply) => reply.sse(queue))
  const client = await sendRequest(t, app)
  await queue.push({ data: 'before' })
  await within('the first event', client.until('data: before\n\n'))
  await delay(300)
  await within('its reader', queue.push({ data: 'after' }))
  await within('an event later than that', client.until('data: after\n\n'))
})

t.test('L9: handlerTimeout does not cut a stream whose first event takes longer, once the head is sent', async t => {
  const app = Fastify({ handlerTimeout: 150 })
  await app.register(sse, { flushHeadersAfter: 10 })
  app.get('/', (_request, reply) =>
    reply.sse((async function * (): AsyncGenerator<AnyEvent> {
      await delay(400)
      yield { data: 'late' }
    })()))
  const client = await sendRequest(t, app)
  await within('the event', client.until('data: late\n\n'))
  await within('the end', client.until('0\r\n\r\n'))
})

t.test('L9: handlerTimeout ends a handler that never opens its stream', async t => {
  const app = Fastify({ handlerTimeout: 50 })
  await app.register(sse)
  app.get('/', async (_request, reply) => {
    await new Promise(() => {})
    return await reply.sse([])
  })
  const client = await sendRequest(t, app, { headers: { Connection: 'close' } })
  await within('the answer', client.closed)
  const [response] = client.responses()
  t.equal(response?.status, 503)
  t.match(JSON.parse(response?.body ?? ''), { code: 'FST_ERR_HANDLER_TIMEOUT' })
})

t.test('L9: handlerTimeout ends a stream that has no head yet, and its source', async t => {
  const app = Fastify({ handlerTimeout: 50 })
  const reports: CloseReport[] = []
  let abortReason: unknown
  await app.register(sse, {
    flushHeadersAfter: 60_000,
    onClose: report => {
      reports.push(report)
    }
  })
  app.get('/', (_request, reply) =>
    reply.sse(({ signal }) =>
      (async function * (): AsyncGenerator<AnyEvent> {
        await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()))
        abortReason = signal.reason
        yield { data: 'never' }
      })()
    ))
  const client = await sendRequest(t, app, { headers: { Connection: 'close' } })
  await within('the answer', client.closed)
  const [response] = client.responses()
  t.match(response, { status: 503, headers: { 'content-type': /json/ } })
  t.match(JSON.parse(response?.body ?? ''), { code: 'FST_ERR_HANDLER_TIMEOUT' })
  t.match(abortReason, { reason: 'error' })
  t.same(reports.map(report => report.reason), ['error'])
})

t.test('L9: an onSend hook may pipe the stream through a transform; events are still sent one by one', async t => {
  const app = Fastify()
  const reports: CloseReport[] = []
  await app.register(sse, {
    onClose: report => {
      reports.push(report)
    }
  })
  app.addHook('onSend', async (_request, _reply, payload) =>
    (payload as Readable).pipe(new Transform({
      transform (chunk: Buffer, _encoding, done) {
        done(null, chunk.toString().toUpperCase())
      }
    })))
  const queue = new EventQueue()
  app.get('/', (_request, reply) => reply.sse(queue))
  const client = await sendRequest(t, app)
  for (const data of ['a', 'b', 'c']) {
    await queue.push({ data })
    await within(`event ${data}`, client.until(`DATA: ${data.toUpperCase()}\n\n`))
  }
  queue.end()
  await within('the end', client.until('0\r\n\r\n'))
  t.equal(client.responses()[0]?.body, 'DATA: A\n\nDATA: B\n\nDATA: C\n\n')
  t.equal(client.responses()[0]?.headers['content-type'], 'text/event-stream; charset=utf-8')
  t.same(reports.map(report => report.reason), ['complete'])
})

t.test('L9: a transformed stream is not cut by handlerTimeout either', async t => {
  const app = Fastify({ handlerTimeout: 100 })
  await app.register(sse)
  app.addHook('onSend', async (_request, _reply, payload) => (payload as Readable).pipe(new PassThrough()))
  const queue = new EventQueue()
  app.get('/', (_request, reply) => reply.sse(queue))
  const client = await sendRequest(t, app)
  await queue.push({ data: 'before' })
  await within('the first event', client.until('data: before\n\n'))
  await delay(300)
  await within('its reader', queue.push({ data: 'after' }))
  await within('an event later than that', client.until('data: after\n\n'))
})

const failure = (): Error => Object.assign(new Error('the hook failed'), { statusCode: 418 })
const failing: Record<string, () => Promise<never>> = {
  throws: async () => {
    throw failure()
  },
  'rejects later': async () => {
    await delay(10)
    throw failure()
  }
}

for (const [how, fail] of Object.entries(failing)) {
  t.test(`L9: an onSend hook that ${how} causes an ordinary error response, and the source is stopped`, async t => {
    const app = Fastify()
    const reports: CloseReport[] = []
    await app.register(sse, {
      onClose: report => {
        reports.push(report)
      }
    })
    let left!: () => void
    const finallyRan = new Promise<void>(resolve => {
      left = resolve
    })
    let signal!: AbortSignal
    let over!: Promise<void>
    app.get('/', { onSend: async (_request, reply, payload) => reply.statusCode === 200 ? await fail() : payload },
      (_request, reply) => {
        over = reply.sse(context => {
          signal = context.signal
          return (async function * (): AsyncGenerator<AnyEvent> {
            try {
              for (;;) {
                yield { data: 'a' }
                await delay(5)
              }
            } finally {
              left()
            }
          })()
        })
        return over
      })
    const client = await sendRequest(t, app, { headers: { Connection: 'close' } })
    await within('the answer', client.closed)
    const [response] = client.responses()
    t.match(response, { status: 418, complete: true, headers: { 'content-type': /^application\/json/ } })
    t.match(JSON.parse(response?.body ?? ''), { statusCode: 418, message: 'the hook failed' })
    await within('the end of reply.sse()', over)
    t.match(signal.reason, { reason: 'error' })
    t.same(reports.map(report => report.reason), ['error'])
    await within('finally', finallyRan)
  })
}

t.test('W1: a header that a hook or the handler has set before has priority', async t => {
  const app = Fastify()
  await app.register(sse)
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('X-Accel-Buffering', 'yes').header('X-Own', 'own')
  })
  app.addHook('onSend', async (_request, reply, payload) => {
    reply.header('X-Late', 'late')
    return payload
  })
  app.get('/', (_request, reply) => {
    reply.type('text/event-stream').header('Cache-Control', 'no-store').code(201)
    return reply.sse([{ data: 'a' }])
  })
  const client = await sendRequest(t, app, { headers: { Connection: 'close' } })
  await within('the end', client.closed)
  t.equal(client.received.replace(/Date: .*/, 'Date: now'), [
    'HTTP/1.1 201 Created',
    'x-accel-buffering: yes',
    'x-own: own',
    'content-type: text/event-stream',
    'cache-control: no-store',
    'x-late: late',
    'Date: now',
    'Connection: close',
    'Transfer-Encoding: chunked',
    '',
    '9\r\ndata: a\n\n\r\n0\r\n\r\n'
  ].join('\r\n'))
})

t.test('L9: a trailer of reply.trailer() is sent after the last event', async t => {
  const app = Fastify()
  const reports: CloseReport[] = []
  await app.register(sse, {
    onClose: report => {
      reports.push(report)
    }
  })
  const queue = new EventQueue()
  app.get('/', (_request, reply) => {
    reply.trailer('x-count', async () => '2')
    return reply.sse(queue)
  })
  const client = await sendRequest(t, app)
  await queue.push({ data: 'a' })
  await within('the first event, before the end', client.until('data: a\n\n'))
  await queue.push({ data: 'b' })
  queue.end()
  await within('the end', client.until('0\r\nx-count: 2\r\n\r\n'))
  const [response] = client.responses()
  t.match(response, {
    status: 200,
    complete: true,
    body: 'data: a\n\ndata: b\n\n',
    trailers: 'x-count: 2',
    headers: { trailer: 'x-count' }
  })
  client.fin()
  await within('the end of the connection', client.closed)
  t.same(reports.map(report => report.reason), ['complete'])
})

t.test('L9: onRequest, preHandler and onSend hooks run once each, in their order', async t => {
  const app = Fastify()
  await app.register(sse)
  const ran: string[] = []
  let responded!: () => void
  const response = new Promise<void>(resolve => {
    responded = resolve
  })
  app.addHook('onRequest', async () => {
    ran.push('onRequest')
  })
  app.addHook('preHandler', async () => {
    ran.push('preHandler')
  })
  app.addHook('onSend', async () => {
    ran.push('onSend')
  })
  app.addHook('onResponse', async () => {
    ran.push('onResponse')
    responded()
  })
  app.get('/', (_request, reply) => {
    ran.push('handler')
    return reply.sse([{ data: 'a' }, { data: 'b' }])
  })
  const client = await sendRequest(t, app, { headers: { Connection: 'close' } })
  await within('the end', client.closed)
  await within('onResponse', response)
  t.same(ran, ['onRequest', 'preHandler', 'handler', 'onSend', 'onResponse'])
})

for (const directWrites of [true, false]) {
  t.test(`L1: an error handler may reply with a stream, after an error of the handler or of the source's first step (directWrites: ${directWrites})`, async t => {
    const app = Fastify()
    const reports: string[] = []
    await app.register(sse, {
      directWrites,
      onClose: ({ reason }) => {
        reports.push(reason)
      }
    })
    let handled = 0
    const signals: AbortSignal[] = []
    app.setErrorHandler((error, request, reply) => {
      handled++
      return reply.sse(async function * ({ signal }) {
        signals.push(signal)
        if (request.url === '/again') throw new Error('again')
        yield { event: 'failed', data: `${(error as Error).message}, ${signal.aborted}` }
      })
    })
    app.get('/handler', async () => {
      throw new Error('of the handler')
    })
    app.get('/source', (_request, reply) =>
      reply.sse(async function * (): AsyncGenerator<AnyEvent> {
        await delay(1)
        throw new Error('of the source')
      }))
    app.get('/awaited', async (_request, reply) => {
      await reply.sse(async function * (): AsyncGenerator<AnyEvent> {
        throw new Error('of the source')
      })
    })
    app.get('/again', (_request, reply) =>
      reply.sse(async function * (): AsyncGenerator<AnyEvent> {
        throw new Error('first')
      }))
    const port = await listen(t, app)
    for (const [path, message] of Object.entries({
      '/handler': 'of the handler',
      '/source': 'of the source',
      '/awaited': 'of the source'
    })) {
      const client = await open(port, { path })
      t.teardown(() => client.socket.destroy())
      await within(path, client.until('0\r\n\r\n'))
      t.match(client.responses()[0], {
        status: 200,
        complete: true,
        body: `event: failed\ndata: ${message}, false\n\n`,
        headers: { 'content-type': 'text/event-stream; charset=utf-8' }
      }, path)
    }
    t.equal(handled, 3)
    t.strictSame(reports, ['complete', 'error', 'complete', 'error', 'complete'])
    const again = await within('the answer', app.inject('/again'))
    t.strictSame([again.statusCode, again.json().message, handled], [500, 'again', 4], 'no handler is called twice')
    t.strictSame(reports.slice(5), ['error', 'error'])
    t.equal(app.sse.streams().length, 0)
    t.ok(signals.every(({ aborted }) => aborted))
  })
}

t.test('L10: the handler may not call reply.sse() a second time, even if its first source has failed', async t => {
  const app = Fastify()
  await app.register(sse)
  let refused: unknown
  app.get('/', async (_request, reply) => {
    reply.sse(() => {
      throw Object.assign(new Error('gone'), { statusCode: 410 })
    }).catch(() => {})
    await reply.sse([{ data: 'second' }]).catch((error: unknown) => {
      refused = error
    })
  })
  t.equal((await app.inject('/')).statusCode, 410)
  t.match(refused, { code: 'FST_SSE_ALREADY_STARTED' })
})
