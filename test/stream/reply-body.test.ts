import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { PassThrough, Transform } from 'node:stream'
import { text } from 'node:stream/consumers'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import { ReplyBody } from '../../lib/stream/reply-body.ts'
import { SERVER_SENT_EVENTS } from '../../lib/stream/formats.ts'
import { openDirectly, type ByteSink } from '../../lib/stream/response-writer.ts'
import { FrameBatch } from '../../lib/channel/frame-batch.ts'
import { listen } from '../setup/listen.ts'
import { open, RawClient } from '../setup/raw.ts'

/** A writer that the test controls. It records its sink and the number of drain notifications. */
class TestWriter {
  readonly contentType = SERVER_SENT_EVENTS.contentType
  drains = 0
  readonly opened: Promise<ByteSink>
  #opened!: (sink: ByteSink) => void
  #drained: () => void = () => {}

  constructor (onOpen: (sink: ByteSink) => void = () => {}) {
    this.opened = new Promise(resolve => { this.#opened = resolve })
    this.open = sink => {
      onOpen(sink)
      this.#opened(sink)
    }
  }

  readonly open: (sink: ByteSink) => void

  drained (): void {
    this.drains++
    this.#drained()
  }

  nextDrain (): Promise<void> { return new Promise(resolve => { this.#drained = resolve }) }
}

/** An app that answers with the writer's body on `/`. */
function appWith (writer: TestWriter, before: (reply: FastifyReply) => void = () => {}): FastifyInstance {
  const app = Fastify({ forceCloseConnections: true })
  app.get('/', (_request, reply) => {
    before(reply)
    reply.send(new ReplyBody(writer, reply))
  })
  return app
}

t.test('L9: onSend hooks get a readable stream, and their headers are sent with the frames', async t => {
  const writer = new TestWriter(sink => {
    t.equal(sink.write('one '), true)
    sink.write('two ')
    sink.end('three')
  })
  const app = appWith(writer)
  app.addHook('onSend', async (_request, reply, payload) => {
    t.ok(payload instanceof ReplyBody)
    reply.header('x-hook', 'ran')
  })
  const response = await app.inject('/')
  t.equal(response.statusCode, 200)
  t.equal(response.headers['x-hook'], 'ran')
  t.equal(response.payload, 'one two three')
})

t.test('W1: a body that ends in its first write has no Content-Length', async t => {
  const app = appWith(new TestWriter(sink => sink.end('all at once')))
  const client = await open(await listen(t, app))
  await client.until('0\r\n\r\n')
  const [response] = client.responses()
  t.equal(response!.headers['content-length'], undefined)
  t.equal(response!.headers['transfer-encoding'], 'chunked')
  t.equal(response!.body, 'all at once')
  client.fin()
})

t.test('a body may end without a byte', async t => {
  const app = appWith(new TestWriter(sink => sink.end('')))
  t.equal((await app.inject('/')).payload, '')
})

t.test('L9: the handler timeout does not end a live stream, and the reply counts as sent', async t => {
  const app = Fastify({ handlerTimeout: 40 })
  const writer = new TestWriter(sink => sink.write('still '))
  let sent = false
  app.get('/', (_request, reply) => {
    reply.send(new ReplyBody(writer, reply))
    sent = reply.sent
    // Past the timeout, by a timer that Node starts later and so fires later.
    setTimeout(async () => (await writer.opened).end('here'), 80)
  })
  t.equal((await app.inject('/')).payload, 'still here')
  t.equal(sent, true)
})

for (const last of ['two', '']) {
  t.test(`L9: trailers follow the last bytes, if the end has ${last === '' ? 'none' : 'some'}`, async t => {
    const writer = new TestWriter(sink => {
      sink.write('one ')
      sink.end(last)
    })
    const app = appWith(writer, reply => { reply.trailer('x-count', async () => '2') })
    const client = await open(await listen(t, app))
    await client.until('x-count: 2\r\n\r\n')
    const [response] = client.responses()
    t.equal(response!.body, `one ${last}`)
    t.equal(response!.trailers, 'x-count: 2')
    t.equal(response!.headers['content-length'], undefined)
    client.fin()
  })
}

t.test('W1: the writer is opened on the response without a body, and a FIN of the client closes it', async t => {
  const app = Fastify({ forceCloseConnections: true })
  const writer = new TestWriter(sink => sink.write('one'))
  let closed: Promise<unknown> | undefined
  app.get('/', (_request, reply) => {
    closed = once(reply.raw, 'close')
    openDirectly(reply.hijack(), writer)
  })
  const client = await open(await listen(t, app))
  await client.until('\r\n3\r\none\r\n')
  client.fin()
  await closed
  t.pass('closed')
})

t.test('L10: a write after the end of the response does not crash the process, with a body or without', async t => {
  for (const send of [openDirectly,
    (reply: FastifyReply, writer: TestWriter) => reply.send(new ReplyBody(writer, reply))]) {
    const app = Fastify()
    const failed = new Promise<unknown[]>(resolve => {
      app.get('/', (_request, reply) => {
        if (send === openDirectly) reply.hijack()
        send(reply, new TestWriter(sink => sink.end('all')))
        // Only beside another listener: the plugin must have added its own.
        if (reply.raw.listenerCount('error') > 0) reply.raw.once('error', (...args: unknown[]) => resolve(args))
        reply.raw.write('more')
      })
    })
    const client = await open(await listen(t, app))
    await client.until('all\r\n0\r\n\r\n')
    t.match(await failed, [{ code: 'ERR_STREAM_WRITE_AFTER_END' }])
    client.fin()
  }
})

t.test('L9: a hook that transforms the body reads it as an ordinary readable, at its own pace', async t => {
  const big = 'x'.repeat(100_000)
  const writer = new TestWriter(async sink => {
    t.equal(sink.write('head '), true)
    const drained = writer.nextDrain()
    t.equal(sink.write(big), false, 'more than a readable holds')
    await drained
    sink.end(' tail')
  })
  const app = appWith(writer)
  app.addHook('onSend', async (_request, _reply, payload) => (payload as ReplyBody).pipe(new Transform({
    transform: (chunk, _encoding, done) => done(null, String(chunk).toUpperCase())
  })))
  t.equal((await app.inject('/')).payload, `HEAD ${big.toUpperCase()} TAIL`)
})

t.test('L9: a transforming hook gets an end without bytes', async t => {
  const app = appWith(new TestWriter(sink => {
    sink.write('one')
    sink.end('')
  }))
  app.addHook('onSend', async (_request, _reply, payload) => (payload as ReplyBody).pipe(new Transform({
    transform: (chunk, _encoding, done) => done(null, chunk),
    flush: done => done(null, '!')
  })))
  t.equal((await app.inject('/')).payload, 'one!')
})

t.test('L8: for HEAD no byte of the body is sent', async t => {
  const app = appWith(new TestWriter(sink => sink.end('one')))
  const client = await open(await listen(t, app), { method: 'HEAD' })
  await client.until('\r\n\r\n')
  client.request({})
  await client.until('0\r\n\r\n')
  t.same(client.responses().map(response => response.body), ['', 'one'], 'the next response follows the head at once')
  client.fin()
})

t.test('a head that a hook has sent is not sent again', async t => {
  const app = appWith(new TestWriter(sink => sink.end('one')))
  app.addHook('onSend', async (_request, reply) => { reply.raw.writeHead(202) })
  const response = await app.inject('/')
  t.equal(response.statusCode, 202)
  t.equal(response.payload, 'one')
})

// More than the kernel's buffers of both sides hold.
const flood = 'x'.repeat(16 * 1024 * 1024)

t.test('L4: the writer is notified when the connection has room again', async t => {
  const writer = new TestWriter(sink => t.equal(sink.write(flood), false))
  const client = await open(await listen(t, appWith(writer)), { pauseOnConnect: true })
  const sink = await writer.opened
  t.equal(writer.drains, 0)
  const drained = writer.nextDrain()
  client.resume()
  await drained
  sink.end('end')
  await client.until('end\r\n0\r\n\r\n')
  client.fin()
})

/** The server's side of the next connection. */
async function nextConnection (app: FastifyInstance): Promise<Socket> {
  const [socket] = await once(app.server, 'connection')
  return socket
}

t.test('L3: the FIN of a client that does not read closes the response although bytes wait', async t => {
  const writer = new TestWriter(sink => sink.write(flood))
  let closed: Promise<unknown> | undefined
  const app = appWith(writer, reply => { closed = once(reply.raw, 'close') })
  const client = await open(await listen(t, app), { pauseOnConnect: true })
  await writer.opened
  client.fin()
  await closed
  t.pass('closed')
})

t.test('L3: a client that half-closes after the end was written still gets all bytes', async t => {
  const writer = new TestWriter(sink => {
    sink.write(flood)
    sink.end('end')
  })
  const app = appWith(writer)
  const port = await listen(t, app)
  const connection = nextConnection(app)
  const client = await open(port, { pauseOnConnect: true })
  await writer.opened
  client.fin()
  await once(await connection, 'end')
  client.resume()
  await client.until('end\r\n0\r\n\r\n')
  t.equal(client.responses()[0]!.body.length, flood.length + 3)
})

t.test('L3: on a server that allows half-open connections a FIN does not close the response', async t => {
  const writer = new TestWriter(sink => sink.write('one '))
  const app = appWith(writer)
  Object.assign(app.server, { httpAllowHalfOpen: true })
  const port = await listen(t, app)
  const connection = nextConnection(app)
  const client = await open(port)
  const sink = await writer.opened
  client.fin()
  await once(await connection, 'end')
  sink.end('two')
  await client.until('0\r\n\r\n')
  t.equal(client.responses()[0]!.body, 'one two')
})

t.test('L3: a closed response leaves no listener on itself or on a kept connection', async t => {
  const app = Fastify()
  let report: (counts: { before: number[], during: number[], after: number[] }) => void
  app.get('/', (request, reply) => {
    const { socket } = request.raw
    const count = () => [socket.listenerCount('end'), reply.raw.listenerCount('drain')]
    const before = count()
    let during: number[]
    reply.send(new ReplyBody(new TestWriter(sink => {
      sink.write('.'.repeat(1_000_000))
      setImmediate(() => {
        during = count()
        sink.end('.')
      })
    }), reply))
    // After the earlier listeners.
    reply.raw.once('close', () => report({ before, during, after: count() }))
  })
  const client = new RawClient(connect(await listen(t, app), '127.0.0.1'))
  for (let round = 0; round < 3; round++) {
    const counts = new Promise<Parameters<typeof report>[0]>(resolve => { report = resolve })
    client.request({})
    const { before, during, after } = await counts
    t.not(during[0], before[0])
    t.not(during[1], before[1])
    t.same(after, before)
  }
  client.fin()
})

t.test('a response that ends in its first write listens to no socket', async t => {
  const app = Fastify()
  app.get('/', (request, reply) => {
    const count = () => [request.raw.socket.listenerCount('end'), reply.raw.listenerCount('drain')]
    const before = count()
    reply.send(new ReplyBody(new TestWriter(sink => { sink.end('.') }), reply))
    t.same(count(), before)
  })
  t.equal(await (await fetch(`http://127.0.0.1:${await listen(t, app)}`)).text(), '.')
})

t.test('L3: a client that disconnects while the onSend hooks run gets no write and leaves no listener', async t => {
  const writer = new TestWriter(() => t.fail('there is nobody to write to'))
  const app = appWith(writer)
  const piped = new Promise<{ response: ServerResponse, drains: number }>(resolve => {
    app.addHook('onSend', async (_request, reply) => {
      const { raw } = reply
      raw.once('close', () => setImmediate(() => resolve({ response: raw, drains: raw.listenerCount('drain') })))
      client.reset()
      await once(raw, 'close')
    })
  })
  const client = await open(await listen(t, app))
  const { drains, response } = await piped
  t.equal(drains, 0)
  t.equal(response.headersSent, false)
})

t.test('L9: the handler timeout does not end a live stream that a hook transforms', async t => {
  const app = Fastify({ handlerTimeout: 40 })
  app.addHook('onSend', async (_request, _reply, payload) => (payload as ReplyBody).pipe(new PassThrough()))
  const writer = new TestWriter(sink => sink.write('still '))
  app.get('/', (_request, reply) => {
    reply.send(new ReplyBody(writer, reply))
    setTimeout(async () => (await writer.opened).end('here'), 80)
  })
  t.equal((await app.inject('/')).payload, 'still here')
})

t.test('L3: the FIN of a client closes a response that a hook transforms', async t => {
  const writer = new TestWriter(sink => sink.write('one'))
  let closed: Promise<unknown> | undefined
  const app = appWith(writer, reply => { closed = once(reply.raw, 'close') })
  app.addHook('onSend', async (_request, _reply, payload) => (payload as ReplyBody).pipe(new PassThrough()))
  const client = await open(await listen(t, app))
  await client.until('one')
  client.fin()
  await closed
  t.pass('closed')
})

/** An HTTP/2 app with such a body, and a client of it. */
async function listenHttp2 (t: Test, writer: TestWriter) {
  const app = Fastify({ http2: true })
  let closed: Promise<unknown> | undefined
  app.all('/', (_request, reply) => {
    closed = once(reply.raw, 'close')
    reply.send(new ReplyBody(writer, reply as unknown as FastifyReply))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const session = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  session.on('error', () => {})
  t.teardown(async () => {
    session.destroy()
    await app.close()
  })
  return { app, session, closed: () => closed }
}

for (const method of ['GET', 'POST']) {
  t.test(`W1: an HTTP/2 client is served, with ${method}`, async t => {
    const writer = new TestWriter(sink => sink.write('one '))
    const { session } = await listenHttp2(t, writer)
    const request = session.request({ ':method': method, ':path': '/', 'content-type': 'application/json' })
    request.end(method === 'POST' ? '{}' : undefined)
    const [headers] = await once(request, 'response')
    t.equal(headers[':status'], 200)
    t.equal(headers['content-length'], undefined)
    const [first] = await once(request.setEncoding('utf8'), 'data')
    t.equal(first, 'one ')
    // The request ended long ago: that does not end the response.
    const sink = await writer.opened
    sink.write('two ')
    sink.end('three')
    t.equal(await text(request), 'two three')
  })
}

for (const leave of ['cancel', 'destroy'] as const) {
  t.test(`L3: an HTTP/2 client that ${leave === 'cancel' ? 'cancels its stream' : 'closes its session'} closes the response`, async t => {
    const writer = new TestWriter(sink => sink.write('one '))
    const { session, closed } = await listenHttp2(t, writer)
    const request = session.request({ ':path': '/' })
    request.on('error', () => {})
    await once(request, 'data')
    if (leave === 'cancel') request.close()
    else session.destroy()
    await closed()
    t.pass('closed')
  })
}

t.test('W2: over HTTP/2 an end without bytes is no write: Node would drop the pending bytes', async t => {
  const writer = new TestWriter()
  const { app, session } = await listenHttp2(t, writer)
  const written: unknown[] = []
  app.server.once('stream', stream => {
    const write = stream.write.bind(stream) as (chunk: unknown) => boolean
    stream.write = (chunk: unknown) => {
      written.push(chunk)
      return write(chunk)
    }
  })
  const request = session.request({ ':path': '/' })
  const sink = await writer.opened
  sink.write('one')
  sink.end('')
  t.equal(await text(request), 'one')
  t.same(written, ['one'])
})

/** A chunk of two events, the frames of which any connection may get. */
const shared = new FrameBatch('e', [{ offset: 1, event: 'message', data: 'é€😀', json: false }, {
  offset: 2,
  event: 'tick',
  data: '2',
  json: true
}])
const sharedText = 'id: e-1\ndata: é€😀\n\nevent: tick\nid: e-2\ndata: 2\n\n'

t.test('R4: shared frames reach the client between its own frames', async t => {
  const writer = new TestWriter(sink => sink.write('one '))
  const client = await open(await listen(t, appWith(writer)))
  const sink = await writer.opened
  await client.until('one ')
  t.equal(sink.writeShared(shared), true)
  sink.write(' two ')
  t.equal(sink.writeShared(shared), true)
  sink.end('three')
  await client.until('0\r\n\r\n')
  t.equal(client.responses()[0]!.body, `one ${sharedText} two ${sharedText}three`)
  // The next response follows on the same connection.
  client.request({})
  await client.until('one ', client.received.length)
  client.fin()
})

t.test('R4: trailers follow shared frames', async t => {
  const writer = new TestWriter(sink => sink.write('one '))
  const client = await open(await listen(t, appWith(writer, reply => { reply.trailer('x-count', async () => '2') })))
  const sink = await writer.opened
  await client.until('one ')
  sink.writeShared(shared)
  sink.end('')
  await client.until('x-count: 2\r\n\r\n')
  const [response] = client.responses()
  t.strictSame([response!.body, response!.trailers], [`one ${sharedText}`, 'x-count: 2'])
  client.fin()
})

t.test('L4: the writer is notified when a connection that was full of shared frames has room again', async t => {
  const writer = new TestWriter(sink => sink.write('one '))
  const client = await open(await listen(t, appWith(writer)))
  const sink = await writer.opened
  await client.until('one ')
  client.pause()
  const large = new FrameBatch('e', [{ offset: 1, event: 'message', data: flood, json: false }])
  t.equal(sink.writeShared(large), false)
  const drained = writer.nextDrain()
  client.resume()
  await drained
  t.equal(writer.drains, 1)
  sink.end('end')
  await client.until('end\r\n0\r\n\r\n')
  t.equal(client.responses()[0]!.body.length, 'one '.length + large.text.length + 'end'.length)
  client.fin()
})

t.test('L9: a hook that transforms the body gets shared frames as bytes', async t => {
  const writer = new TestWriter(sink => {
    sink.write('one ')
    sink.writeShared(shared)
    sink.end(' two')
  })
  const app = appWith(writer)
  const seen: unknown[] = []
  app.addHook('onSend', async (_request, _reply, payload) => (payload as ReplyBody).pipe(new Transform({
    transform: (chunk, _encoding, done) => {
      seen.push(String(chunk))
      done(null, String(chunk).replaceAll('data', 'DATA'))
    }
  })))
  t.equal((await app.inject('/')).payload, `one ${sharedText.replaceAll('data', 'DATA')} two`)
  t.equal(seen.join(''), `one ${sharedText} two`)
  t.equal(shared.bytes.toString(), sharedText, 'the others still get them as they were')
})

t.test('L9: a middleware that replaces `write` gets shared frames', async t => {
  const seen: string[] = []
  const writer = new TestWriter(sink => sink.write('one '))
  const app = appWith(writer)
  app.addHook('onRequest', async (_request, reply) => {
    const { raw } = reply
    const { write } = raw
    raw.write = ((chunk: string | Buffer) => {
      seen.push(String(chunk))
      return Reflect.apply(write, raw, [chunk]) as boolean
    }) as typeof raw.write
  })
  const client = await open(await listen(t, app))
  const sink = await writer.opened
  await client.until('one ')
  sink.writeShared(shared)
  sink.end('')
  await client.until('0\r\n\r\n')
  t.strictSame(seen, ['one ', sharedText])
  t.equal(client.responses()[0]!.body, `one ${sharedText}`)
  client.fin()
})
