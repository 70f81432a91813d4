import { once } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { Lifecycle, StreamClosedError, type CloseReason } from '../lib/lifecycle.ts'
import sse from '../lib/server/plugin.ts'
import { listen } from './setup/listen.ts'
import { open } from './setup/raw.ts'

const events = { message: Type.Integer() }

/** A response as Node makes it, on a connection that leads nowhere; a pipelined one has its socket in the request only. */
function makeResponse (pipelined = false): { socket: Socket, response: ServerResponse } {
  const socket = new Duplex({ read () {}, write: (_chunk, _encoding, done) => done() }) as Socket
  const response = new ServerResponse(new IncomingMessage(socket))
  if (!pipelined) response.assignSocket(socket)
  return { socket, response }
}

const MEANINGS: Array<[CloseReason, string]> = [
  ['client', 'The stream is over: the client left'],
  ['complete', 'The stream is over: the source is done'],
  ['error', 'The stream is over: the source failed'],
  ['shutdown', 'The stream is over: the server is closing'],
  ['stalled', 'The stream is over: the client took no byte for too long'],
  ['lagging', 'The stream is over: the client fell behind the history'],
  ['expired', 'The stream is over: it reached its maximum lifetime'],
  ['channel-ended', 'The stream is over: its channel ended']
]

for (const [reason, message] of MEANINGS) {
  t.test(`L2: a life that ends by ${reason} says so in its signal, once`, t => {
    const life = new Lifecycle()
    const { signal } = life
    let aborts = 0
    signal.addEventListener('abort', () => aborts++)
    t.equal(signal.aborted, false)

    t.equal(life.end(reason), true)
    t.equal(life.end('error'), false, 'the first reason stays')
    t.equal(aborts, 1)
    t.equal(life.reason, reason)
    t.ok(signal.reason instanceof StreamClosedError)
    t.match(signal.reason, { name: 'AbortError', code: 'FST_SSE_CLOSED', reason, message })
    t.end()
  })
}

t.test('L2: there is one signal, and it is aborted already when it is asked for after the end', t => {
  const life = new Lifecycle()
  life.end('shutdown')
  t.equal(life.signal.aborted, true)
  t.match(life.signal.reason, { name: 'AbortError', reason: 'shutdown' })
  t.equal(life.signal, life.signal)
  t.end()
})

t.test('L2: a connection that closes under an unfinished response means that the client left', async t => {
  const { socket, response } = makeResponse()
  const life = new Lifecycle()
  let told = 0
  life.stream = { closed: () => told++ }
  life.watch(response)
  life.watch(response)
  t.equal(response.listenerCount('close'), 1, 'watching twice is watching once')
  response.destroy()
  await once(socket, 'close')
  t.equal(life.reason, 'client')
  t.equal(told, 1)
})

for (const [unforeseen, whose] of [['complete', 'a reply that is no stream'], ['error', 'a stream']] as const) {
  t.test(`L2: a response that ends without our doing is ${unforeseen} for ${whose}`, async t => {
    const { response } = makeResponse()
    const life = new Lifecycle()
    life.unexpectedReason = unforeseen
    life.watch(response)
    response.end()
    response.emit('close')
    t.equal(life.reason, unforeseen)
  })
}

t.test('L2: the reason is the one that came first, and the end is told when the connection is done', t => {
  const { response } = makeResponse()
  const life = new Lifecycle()
  let told = 0
  life.stream = { closed: () => told++ }
  life.watch(response)
  life.end('expired')
  t.equal(told, 0)
  response.end()
  response.emit('close')
  response.emit('close')
  t.equal(told, 1)
  t.equal(life.reason, 'expired')
  t.end()
})

t.test('L3: a client that was gone before the watch began has left', t => {
  const gone = makeResponse()
  gone.socket.destroy()
  const cut = makeResponse()
  cut.response.destroy()
  for (const { response } of [gone, cut]) {
    const life = new Lifecycle()
    life.watch(response)
    t.equal(life.reason, 'client')
    t.equal(life.signal.aborted, true)
  }
  t.end()
})

t.test('L3: a pipelined response, which has no socket yet, learns that the connection is gone', async t => {
  const { socket, response } = makeResponse(true)
  const life = new Lifecycle()
  let told = 0
  life.stream = { closed: () => told++ }
  life.watch(response)
  socket.destroy()
  await once(socket, 'close')
  t.equal(life.reason, 'client')
  t.equal(told, 1)
})

t.test('L3: a pipelined response that is done leaves no listener on the connection', t => {
  const { socket, response } = makeResponse(true)
  const before = socket.listenerCount('close')
  const life = new Lifecycle()
  life.watch(response)
  t.equal(socket.listenerCount('close'), before + 1)
  response.emit('close')
  t.equal(socket.listenerCount('close'), before)
  t.end()
})

/** An app whose route streams until the test lets it end; `seen` has the signals that its handlers were given. */
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

t.test('L2: request.signal of a POST with a body lives as long as its stream and is aborted with complete', async t => {
  const { port, seen, finish } = await listenWithStream(t)
  const response = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"question":1}' })
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
  t.test(`L2: request.signal of a ${method} is aborted with client when the client leaves, although the reply is hijacked`, async t => {
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

t.test('L3: a pipelined stream ends when the client leaves during its predecessor', async t => {
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

t.test('L2: a handler on a route with schema.sse that answers something else has a right signal too', async t => {
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

t.test('L2: a reply that the handler hijacked and wrote itself ends its signal as well', async t => {
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

t.test('L2: the function form is given the signal of the request, one and the same', async t => {
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

t.test('L2: asked for after the stream is over, request.signal is aborted already', async t => {
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
      t.ok(signal.reason instanceof DOMException, 'the platform\'s reason, not ours')
      resolve()
    })
  })
  const client = await open(await listen(t, app))
  await handled
})
