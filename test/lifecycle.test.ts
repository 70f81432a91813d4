import { once } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { isNativeError } from 'node:util/types'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { Lifecycle, StreamClosedError, type CloseReason } from '../lib/lifecycle.ts'
import sse from '../lib/server/plugin.ts'
import { listen } from './setup/listen.ts'
import { open } from './setup/raw.ts'

const events = { message: Type.Integer() }

/** Returns a response like Node's, on an unconnected socket. A pipelined one has its socket in the request only. */
function makeResponse (pipelined = false): { socket: Socket, response: ServerResponse } {
  const socket = new Duplex({ read () {}, write: (_chunk, _encoding, done) => done() }) as Socket
  const response = new ServerResponse(new IncomingMessage(socket))
  if (!pipelined) response.assignSocket(socket)
  return { socket, response }
}

const MEANINGS: Array<[CloseReason, string]> = [
  ['client', 'The stream is closed: the client disconnected'],
  ['complete', 'The stream is closed: the source ended'],
  ['error', 'The stream is closed: the source failed'],
  ['shutdown', 'The stream is closed: the server is closing'],
  ['stalled', 'The stream is closed: the client read no bytes for too long'],
  ['lagging', 'The stream is closed: the client fell behind the history of its channel'],
  ['expired', 'The stream is closed: it reached its maximum lifetime'],
  ['channel-ended', 'The stream is closed: its channel ended']
]

for (const [reason, message] of MEANINGS) {
  t.test(`L2: a lifecycle that ends with ${reason} aborts its signal with that reason, once`, t => {
    const lifecycle = new Lifecycle()
    const { signal } = lifecycle
    let aborts = 0
    signal.addEventListener('abort', () => aborts++)
    t.equal(signal.aborted, false)

    t.equal(lifecycle.end(reason), true)
    t.equal(lifecycle.end('error'), false, 'the first reason stays')
    t.equal(aborts, 1)
    t.equal(lifecycle.reason, reason)
    t.ok(signal.reason instanceof StreamClosedError)
    t.match(signal.reason, { name: 'AbortError', code: 'FST_SSE_CLOSED', reason, message })
    t.end()
  })
}

t.test('L2: the reason of a signal is a native error of its own, without stack frames', t => {
  const limit = Error.stackTraceLimit
  const [one, other] = ['client', 'client'].map(reason => {
    const lifecycle = new Lifecycle()
    const { signal } = lifecycle
    lifecycle.end(reason as CloseReason)
    return signal.reason as StreamClosedError & { note?: string }
  })
  t.ok(isNativeError(one))
  t.notMatch(one!.stack, /\n {4}at /)
  one!.note = 'a program may add to an error, and change it'
  one!.message = 'changed'
  t.notOk('note' in other!)
  t.equal(other!.message, 'The stream is closed: the client disconnected')
  t.equal(Error.stackTraceLimit, limit, 'other errors keep their frames')
  t.end()
})

t.test('L2: a lifecycle has one signal, which is already aborted if it is read after the end', t => {
  const lifecycle = new Lifecycle()
  lifecycle.end('shutdown')
  t.equal(lifecycle.signal.aborted, true)
  t.match(lifecycle.signal.reason, { name: 'AbortError', reason: 'shutdown' })
  t.equal(lifecycle.signal, lifecycle.signal)
  t.end()
})

t.test('L2: the reason is client if the connection closes before the response ends', async t => {
  const { socket, response } = makeResponse()
  const lifecycle = new Lifecycle()
  let calls = 0
  lifecycle.stream = { closed: () => calls++ }
  lifecycle.watch(response)
  lifecycle.watch(response)
  t.equal(response.listenerCount('close'), 1, 'watching twice is watching once')
  response.destroy()
  await once(socket, 'close')
  t.equal(lifecycle.reason, 'client')
  t.equal(calls, 1)
})

for (const [expected, kind] of [['complete', 'a reply that is no stream'], ['error', 'a stream']] as const) {
  t.test(`L2: if other code ends a response, the reason is ${expected} for ${kind}`, async t => {
    const { response } = makeResponse()
    const lifecycle = new Lifecycle()
    lifecycle.unexpectedReason = expected
    lifecycle.watch(response)
    response.end()
    response.emit('close')
    t.equal(lifecycle.reason, expected)
  })
}

t.test('L2: the first reason counts, and closed() is called when the connection closes', t => {
  const { response } = makeResponse()
  const lifecycle = new Lifecycle()
  let calls = 0
  lifecycle.stream = { closed: () => calls++ }
  lifecycle.watch(response)
  lifecycle.end('expired')
  t.equal(calls, 0)
  response.end()
  response.emit('close')
  response.emit('close')
  t.equal(calls, 1)
  t.equal(lifecycle.reason, 'expired')
  t.end()
})

t.test('L3: the reason is client if the connection closed before watch()', t => {
  const gone = makeResponse()
  gone.socket.destroy()
  const cut = makeResponse()
  cut.response.destroy()
  for (const { response } of [gone, cut]) {
    const lifecycle = new Lifecycle()
    lifecycle.watch(response)
    t.equal(lifecycle.reason, 'client')
    t.equal(lifecycle.signal.aborted, true)
  }
  t.end()
})

t.test('L3: a pipelined response without a socket ends when the connection closes', async t => {
  const { socket, response } = makeResponse(true)
  const lifecycle = new Lifecycle()
  let calls = 0
  lifecycle.stream = { closed: () => calls++ }
  lifecycle.watch(response)
  socket.destroy()
  await once(socket, 'close')
  t.equal(lifecycle.reason, 'client')
  t.equal(calls, 1)
})

t.test('L3: a pipelined response removes its listener from the connection when it ends', t => {
  const { socket, response } = makeResponse(true)
  const before = socket.listenerCount('close')
  const lifecycle = new Lifecycle()
  lifecycle.watch(response)
  t.equal(socket.listenerCount('close'), before + 1)
  response.emit('close')
  t.equal(socket.listenerCount('close'), before)
  t.end()
})

/** An app whose stream runs until the test ends it. `seen`: the signals of its handlers. */
async function listenWithStream (t: Test) {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse)
  const seen: AbortSignal[] = []
  const finish: Array<() => void> = []
  app.route({
    method: ['GET', 'POST'],
    url: '/',
    schema: { sse: events },
    handler (request, reply) {
      seen.push(request.signal)
      return reply.sse((async function * () {
        yield { data: 1 }
        await new Promise<void>(resolve => finish.push(resolve))
        yield { data: 2 }
      })())
    }
  })
  return { port: await listen(t, app), seen, finish }
}

t.test('L2: request.signal of a POST with a body aborts with complete when its stream ends', async t => {
  const { port, seen, finish } = await listenWithStream(t)
  const response = await fetch(`http://127.0.0.1:${port}/`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"question":1}'
  })
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  t.equal((await reader.read()).value, 'data: 1\n\n')
  const [signal] = seen
  t.equal(signal!.aborted, false)

  const over = once(signal!, 'abort')
  finish[0]!()
  t.equal((await reader.read()).value, 'data: 2\n\n')
  t.equal((await reader.read()).done, true)
  await over
  t.match(signal!.reason, { name: 'AbortError', reason: 'complete' })
})

for (const method of ['GET', 'POST']) {
  t.test(`L2: request.signal of a ${method} aborts with client when the client disconnects, also after reply.hijack()`, async t => {
    const { port, seen } = await listenWithStream(t)
    const client = await open(port, method === 'POST' ? { method, body: '{"question":1}' } : {})
    await client.until('data: 1')
    const [signal] = seen
    t.equal(signal!.aborted, false)
    client.reset()
    await once(signal!, 'abort')
    t.match(signal!.reason, { name: 'AbortError', reason: 'client' })
  })
}

t.test('L3: a pipelined stream ends when the client disconnects during the response before it', async t => {
  const { port, seen } = await listenWithStream(t)
  const client = await open(port)
  await client.until('data: 1')
  client.request({})
  while (seen.length < 2) await new Promise(resolve => setImmediate(resolve))
  client.reset()
  for (const signal of seen) {
    if (!signal.aborted) await once(signal, 'abort')
    t.match(signal.reason, { reason: 'client' })
  }
})

t.test('L2: request.signal also works for an ordinary reply on a route with schema.sse', async t => {
  const app = Fastify()
  await app.register(sse)
  let signal: AbortSignal | undefined
  app.post('/', { schema: { sse: events } }, async request => {
    signal = request.signal
    await new Promise(resolve => setImmediate(resolve))
    return { aborted: signal.aborted }
  })
  const response = await app.inject({ method: 'POST', url: '/', payload: { stream: false } })
  t.same(response.json(), { aborted: false })
  t.match(signal!.reason, { reason: 'complete' })
})

t.test('L2: request.signal also aborts after a hijacked reply', async t => {
  const app = Fastify()
  await app.register(sse)
  let signal: AbortSignal | undefined
  app.get('/', { schema: { sse: events } }, (request, reply) => {
    signal = request.signal
    reply.hijack()
    reply.raw.end('by hand')
  })
  t.equal((await app.inject('/')).payload, 'by hand')
  t.match(signal!.reason, { reason: 'complete' })
})

t.test('L2: a function source receives the signal of the request', async t => {
  const app = Fastify()
  await app.register(sse)
  t.plan(3)
  app.get('/', { schema: { sse: events } }, (request, reply) => reply.sse(({ signal }) => {
    t.equal(signal, request.signal)
    t.equal(signal.aborted, false)
    signal.addEventListener('abort', () => t.match(signal.reason, { reason: 'complete' }))
    return [{ data: 1 }]
  }))
  await app.inject('/')
})

t.test('L2: request.signal is already aborted if it is read after the stream', async t => {
  const app = Fastify()
  await app.register(sse)
  let late: AbortSignal | undefined
  app.get('/', { schema: { sse: events } }, async (request, reply) => {
    await reply.sse([{ data: 1 }])
    late = request.signal
  })
  await app.inject('/')
  t.match(late!.reason, { name: 'AbortError', reason: 'complete' })
})

t.test('L2: on routes without schema.sse request.signal is Fastify\'s own', async t => {
  const app = Fastify()
  await app.register(sse)
  const handled = new Promise<void>(resolve => {
    app.get('/', async request => {
      const { signal } = request
      t.equal(request.signal, signal)
      t.equal(signal.aborted, false)
      client.reset()
      await once(signal, 'abort')
      t.ok(signal.reason instanceof DOMException, 'the reason of the platform')
      resolve()
    })
  })
  const client = await open(await listen(t, app))
  await handled
})
