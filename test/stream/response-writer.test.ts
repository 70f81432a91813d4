import { once } from 'node:events'
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server, type Http2Server } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import fc from 'fast-check'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { FrameBatch } from '../../lib/channel/frame-batch.ts'
import { ResponseWriter } from '../../lib/stream/response-writer.ts'
import { open, RawClient, type RawRequest } from '../setup/raw.ts'

/** A chunk of one event. */
function chunkOf (data: string, offset = 1): FrameBatch {
  return new FrameBatch('e', [{ offset, event: 'message', data, json: false }])
}

async function portOf (t: Test, server: Server | Http2Server): Promise<number> {
  t.teardown(() => {
    if ('closeAllConnections' in server) server.closeAllConnections()
    server.close()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

interface Opened {
  response: ServerResponse
  connection: ResponseWriter
  client: RawClient
  drains: () => number
  nextDrain: () => Promise<void>
}

/** A response whose head is out, its connection, and its client. */
async function openConnection (
  t: Test,
  request: RawRequest = {},
  prepare: (response: ServerResponse) => void = () => {},
  direct?: boolean
): Promise<Opened> {
  const server = createServer()
  const port = await portOf(t, server)
  const requested = once(server, 'request')
  const client = await open(port, request)
  t.teardown(() => client.socket.destroy())
  const [, response] = await requested as [unknown, ServerResponse]
  return { client, ...connectionOf(response, prepare, direct) }
}

function connectionOf (
  response: ServerResponse,
  prepare: (response: ServerResponse) => void = () => {},
  direct?: boolean
): Omit<Opened, 'client'> {
  let drains = 0
  let tell = (): void => {}
  prepare(response)
  const connection = new ResponseWriter(response, {
    drained: () => {
      drains++
      tell()
    }
  }, direct)
  response.writeHead(200)
  return { response, connection, drains: () => drains, nextDrain: () => new Promise(resolve => { tell = resolve }) }
}

/** Returns all bytes that are written to a socket from now on. */
function watchWrites (socket: Socket): unknown[] {
  const written: unknown[] = []
  const { write } = socket
  socket.write = ((...args: unknown[]) => {
    written.push(args[0])
    return Reflect.apply(write, socket, args) as boolean
  }) as Socket['write']
  return written
}

const body = (...chunks: Array<FrameBatch | string>): string =>
  chunks.map(chunk => typeof chunk === 'string' ? chunk : chunk.text).join('')
const coded = (...texts: string[]): string =>
  texts.map(text => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`).join('')

/** What came after the head, as text. */
const rest = (client: RawClient): string =>
  Buffer.from(client.received.slice(client.received.indexOf('\r\n\r\n') + 4), 'latin1').toString()

t.test('shared frames are one buffer to the socket, if the head is sent and nothing waits', async t => {
  const { connection, response, client } = await openConnection(t)
  t.equal(connection.write('first\n\n'), true)
  await client.until('first')
  const written = watchWrites(response.socket!)
  const chunks = [chunkOf('é€😀', 1), chunkOf('two', 2)]
  for (const chunk of chunks) t.equal(connection.writeShared(chunk), true)
  t.strictSame(written, chunks.map(({ framed }) => framed))
  t.ok(chunks.every(({ framed }, index) => framed === written[index]), 'the memory that all share')
  response.end('last')
  await client.until('0\r\n\r\n')
  t.equal(rest(client), `${coded('first\n\n', chunks[0]!.text, chunks[1]!.text, 'last')}0\r\n\r\n`)
  t.equal(client.responses()[0]!.complete, true)
})

t.test('text is one write to the socket, with its length in bytes', async t => {
  const { connection, response, client } = await openConnection(t)
  connection.write('first\n\n')
  await client.until('first')
  const written = watchWrites(response.socket!)
  const texts = ['ascii', 'é€😀', 'x'.repeat(300), '\u0080', '\ud800']
  for (const text of texts) t.equal(connection.write(text), true)
  t.strictSame(written, texts.map(text => coded(text)))
  response.end()
  await client.until('\r\n0\r\n\r\n')
  t.equal(rest(client), Buffer.from(`${coded('first\n\n', ...texts)}0\r\n\r\n`).toString())
})

t.test('the first frame is sent with the head and the last one with the end: one write each', async t => {
  const { connection, response, client } = await openConnection(t)
  const written = watchWrites(response.socket!)
  connection.write('é first\n\n')
  t.equal(written.length, 1)
  t.ok(
    String(written[0]).startsWith('HTTP/1.1 200 OK\r\n') &&
      String(written[0]).endsWith(`\r\n\r\n${coded('é first\n\n')}`)
  )
  await client.until('first')
  written.length = 0
  connection.end('last')
  await client.until('\r\n0\r\n\r\n')
  t.strictSame(written, [coded('last'), '0\r\n\r\n'])
  t.equal(client.chunks.at(-1), `${coded('last')}0\r\n\r\n`, 'in one piece')
  t.equal(rest(client), `${coded('é first\n\n', 'last')}0\r\n\r\n`)
})

t.test('a stream that ends in its first write is one write with its head and its end, and its trailers follow it', async t => {
  const { connection, response, client } = await openConnection(t, {}, response => {
    response.setHeader('Trailer', 'x-sum')
  })
  response.addTrailers({ 'x-sum': '1' })
  connection.end('all of it')
  await client.until('x-sum: 1\r\n\r\n')
  t.equal(rest(client), `${coded('all of it')}0\r\nx-sum: 1\r\n\r\n`)
  t.equal(client.chunks.length, 1)
})

t.test('with `directWrites: false` all frames go through the response', async t => {
  const { connection, response, client } = await openConnection(t, {}, () => {}, false)
  const through: unknown[] = []
  const { write } = response
  response.write = ((...args: unknown[]) => {
    through.push(String(args[0]))
    return Reflect.apply(write, response, args) as boolean
  }) as typeof write
  connection.write('first')
  await client.until('first')
  const chunk = chunkOf('é€😀')
  connection.writeShared(chunk)
  connection.write('second')
  t.strictSame(through, ['first', chunk.text, 'second'])
  response.end()
  await client.until('\r\n0\r\n\r\n')
  t.equal(client.responses()[0]!.body, body('first', chunk, 'second'))
})

/** Nothing of a chunk went to the socket as it is, and yet it is all there. */
async function around (t: Test, { connection, client, response }: Opened, before: () => void): Promise<void> {
  const written = watchWrites(response.socket!)
  const chunk = chunkOf('é€😀')
  before()
  connection.writeShared(chunk)
  t.notOk(written.includes(chunk.framed))
  while (response.writableCorked > 0) response.uncork()
  response.end('last')
  await client.until('last')
  await client.until('0\r\n\r\n', client.received.indexOf('last'))
  t.equal(client.responses()[0]!.complete, true)
  t.ok(client.responses()[0]!.body.endsWith(body(chunk, 'last')))
}

t.test('the head is sent before shared frames, whose memory is kept', async t => {
  const { connection, response, client } = await openConnection(t)
  const written = watchWrites(response.socket!)
  const chunk = chunkOf('é€😀')
  connection.writeShared(chunk)
  t.match(String(written[0]), /^HTTP\/1\.1 200 OK\r\n/)
  t.equal(written[1], chunk.framed)
  response.end()
  await client.until('\r\n0\r\n\r\n')
  t.equal(client.chunks.length, 1)
  t.equal(client.responses()[0]!.body, chunk.text)
})

t.test('bytes that wait in the response are sent first', async t => {
  const opened = await openConnection(t)
  opened.connection.write('first')
  await opened.client.until('first')
  const chunk = chunkOf('é€😀')
  opened.response.write('second')
  opened.connection.writeShared(chunk)
  opened.connection.end('last')
  await opened.client.until('\r\n0\r\n\r\n')
  t.equal(opened.client.responses()[0]!.body, body('first', 'second', chunk, 'last'))
})

t.test('a corked response keeps its frames', async t => {
  const opened = await openConnection(t)
  opened.connection.write('first')
  await opened.client.until('first')
  await around(t, opened, () => { opened.response.cork() })
})

t.test('a middleware that replaces `write` gets every byte', async t => {
  const seen: string[] = []
  const opened = await openConnection(t, {}, response => {
    const { write } = response
    response.write = ((chunk: string | Buffer) => {
      seen.push(String(chunk))
      return Reflect.apply(write, response, [chunk]) as boolean
    }) as typeof response.write
  })
  opened.connection.write('first')
  await opened.client.until('first')
  await around(t, opened, () => {})
  t.strictSame(seen, ['first', chunkOf('é€😀').text])
})

t.test('W1: an HTTP/1.0 client gets the bytes without chunks, and the end of the connection', async t => {
  const { connection, response, client } = await openConnection(t, { version: '1.0' })
  connection.write('first\n\n')
  await client.until('first')
  const chunk = chunkOf('é€😀')
  connection.writeShared(chunk)
  response.end('last')
  t.equal(await client.closed, 'end')
  t.equal(rest(client), body('first\n\n', chunk, 'last'))
})

t.test('a response behind a pipelined predecessor waits for its turn', async t => {
  const server = createServer()
  const port = await portOf(t, server)
  const responses: ServerResponse[] = []
  const both = new Promise<void>(resolve => server.on('request', (_request, response) => {
    if (responses.push(response) === 2) resolve()
  }))
  const client = await open(port)
  client.request({ path: '/second' })
  await both
  const [first, second] = responses.map(response => connectionOf(response))
  second!.connection.write('of the second ')
  const chunk = chunkOf('chunk')
  second!.connection.writeShared(chunk)
  first!.connection.write('of the first ')
  await client.until('of the first')
  first!.connection.writeShared(chunk)
  first!.response.end()
  await client.until('of the second')
  await turn()
  second!.connection.writeShared(chunk)
  second!.response.end('last')
  await client.until('last\r\n0\r\n\r\n')
  t.strictSame(client.responses().map(({ body }) => body), [body('of the first ', chunk),
    body('of the second ', chunk, chunk, 'last')])
  client.fin()
})

t.test('L4: a full connection returns false, and notifies once when it has room again', async t => {
  const { connection, response, client, drains, nextDrain } = await openConnection(t)
  connection.write('first')
  await client.until('first')
  client.pause()
  const written = watchWrites(response.socket!)
  const large = chunkOf('x'.repeat(1_000_000))
  let passed = 1
  // Up to the size of the kernel's buffers.
  while (connection.writeShared(large) || response.writableLength === 0) {
    passed++
    await turn()
  }
  t.equal(written.filter(each => each === large.framed).length, passed, 'all of it directly')
  const before = drains()
  const drained = nextDrain()
  client.resume()
  await drained
  t.equal(drains(), before + 1)
  t.equal(response.writableLength, 0)
  t.equal(connection.writeShared(chunkOf('after')), true)
  response.end('last')
  await client.until('last\r\n0\r\n\r\n')
  const [{ body: received } = { body: '' }] = client.responses()
  t.equal(received.length, 'first'.length + passed * large.text.length + chunkOf('after').text.length + 'last'.length)
  t.equal(drains(), before + 1)
})

t.test('L4: a full response notifies when it has room again', async t => {
  const { connection, client, nextDrain, response } = await openConnection(t, { pauseOnConnect: true })
  const drained = nextDrain()
  t.equal(connection.write('x'.repeat(16 * 1024 * 1024)), false)
  const chunk = chunkOf('behind it')
  t.equal(connection.writeShared(chunk), false)
  client.resume()
  await drained
  response.end()
  await client.until('\r\n0\r\n\r\n')
  // Node 26 makes one chunk of all writes of one turn.
  t.ok(client.responses()[0]!.body.endsWith(`x${chunk.text}`))
})

t.test('L3: no listener stays on the socket when the response is over', async t => {
  const { connection, client, response } = await openConnection(t)
  const { socket } = response as { socket: Socket }
  const before = socket.listeners('drain')
  connection.write('first')
  await client.until('first')
  client.pause()
  while (connection.writeShared(chunkOf('x'.repeat(1_000_000))) || response.writableLength === 0) await turn()
  const ours = socket.listeners('drain').filter(listener => !before.includes(listener))
  t.equal(ours.length, 1)
  client.reset()
  await once(response, 'close')
  t.equal(response.listenerCount('drain'), 0)
  t.notOk(socket.listeners('drain').includes(ours[0]!))
})

t.test('the next response on the same connection is intact, and so are its listeners', async t => {
  const server = createServer()
  const port = await portOf(t, server)
  const client = new RawClient(connect(port, '127.0.0.1'))
  t.teardown(() => client.socket.destroy())
  const counts: number[] = []
  for (let round = 0; round < 12; round++) {
    const requested = once(server, 'request')
    client.request({ path: `/${round}` })
    const [request, response] = await requested as Parameters<RequestListener>
    const { connection } = connectionOf(response)
    connection.write(`round ${round} `)
    await client.until(`round ${round} `)
    connection.writeShared(chunkOf(`chunk ${round}`))
    await client.until(`chunk ${round}\n\n`)
    connection.writeShared(chunkOf('x'.repeat(20_000), round))
    const closed = once(response, 'close')
    response.end(`end ${round}.`)
    await closed
    await client.until(`end ${round}.\r\n0\r\n\r\n`)
    counts.push(request.socket.listenerCount('drain'))
  }
  t.strictSame(client.responses().map(({ body }) => body),
    Array.from({ length: 12 },
      (_, round) =>
        body(`round ${round} `, chunkOf(`chunk ${round}`), chunkOf('x'.repeat(20_000), round), `end ${round}.`)))
  t.ok(client.responses().every(({ complete, status }) => complete && status === 200))
  t.strictSame(new Set(counts).size, 1, counts.join())
})

t.test('R4: a mix of direct and ordinary writes gives the bytes of ordinary writes, in their order', async t => {
  const server = createServer()
  const port = await portOf(t, server)
  const client = new RawClient(connect(port, '127.0.0.1'))
  t.teardown(() => client.socket.destroy())
  const piece = fc.oneof(fc.record({ write: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 9 }) }),
    fc.record({ pass: fc.string({ maxLength: 50 }) }), fc.constantFrom('turn', 'large', 'cork'))
  const expected: string[] = []
  await fc.assert(fc.asyncProperty(fc.array(piece, { maxLength: 20 }), fc.boolean(), async (pieces, direct) => {
    const requested = once(server, 'request')
    client.request({})
    const [, response] = await requested as Parameters<RequestListener>
    const { connection } = connectionOf(response, () => {}, direct)
    const sent: string[] = []
    for (const piece of pieces) {
      if (piece === 'turn') {
        await turn()
      } else if (piece === 'cork') {
        response.cork()
        process.nextTick(() => response.uncork())
      } else if (typeof piece === 'object' && 'write' in piece) {
        sent.push(piece.write)
        connection.write(piece.write)
      } else {
        const chunk = chunkOf(piece === 'large' ? 'x'.repeat(30_000) : piece.pass, sent.length)
        sent.push(chunk.text)
        connection.writeShared(chunk)
      }
    }
    const closed = once(response, 'close')
    // Node 24 loses corked bytes if the response ends before it is uncorked.
    await turn()
    response.end('.')
    await closed
    expected.push(body(...sent, '.'))
  }), { numRuns: 100 })
  client.request({})
  const [, last] = await once(server, 'request') as Parameters<RequestListener>
  last.end('all of it')
  await client.until('all of it')
  const bodies = client.responses().map(({ body }) => body)
  t.equal(bodies.length, expected.length + 1)
  // Line ends and surrogates aside, they are compared as bytes.
  t.ok(expected.every((text, index) => Buffer.from(text).equals(Buffer.from(bodies[index]!))))
})

t.test('an HTTPS client gets frames past Node\'s chunking', async t => {
  // A key that both know: no certificate.
  const psk = Buffer.from('0123456789abcdef')
  const tls = { ciphers: 'PSK', maxVersion: 'TLSv1.2' } as const
  const server = createHttpsServer({ ...tls, pskCallback: () => psk })
  const port = await portOf(t, server)
  const requested = once(server, 'request')
  const options: ConnectionOptions = {
    ...tls,
    port,
    host: '127.0.0.1',
    pskCallback: () => ({ psk, identity: 'test' }),
    checkServerIdentity: () => undefined
  }
  const client = new RawClient(connectTls(options))
  t.teardown(() => client.socket.destroy())
  client.request({})
  const [, response] = await requested as Parameters<RequestListener>
  const { connection } = connectionOf(response)
  connection.write('first')
  await client.until('first')
  await turn()
  const written = watchWrites(response.socket!)
  const chunk = chunkOf('é€😀')
  connection.writeShared(chunk)
  t.equal(written[0], chunk.framed)
  response.end('last')
  await client.until('last\r\n0\r\n\r\n')
  t.equal(client.responses()[0]!.body, body('first', chunk, 'last'))
})

for (const leave of ['end', 'cancel', 'session'] as const) {
  t.test(`W1: an HTTP/2 client is served on its stream, up to its ${leave}`, async t => {
    const server = createHttp2Server()
    const port = await portOf(t, server)
    const requested = once(server, 'request')
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    session.on('error', () => {})
    t.teardown(() => session.destroy())
    const request = session.request({ ':path': '/' })
    request.on('error', () => {})
    const [, http2Response] = await requested
    const response = http2Response as ServerResponse
    const { connection } = connectionOf(response)
    connection.write('first')
    const [first] = await once(request.setEncoding('utf8'), 'data')
    t.equal(first, 'first')
    const chunk = chunkOf('é€😀')
    connection.writeShared(chunk)
    const closed = once(response, 'close')
    if (leave === 'end') {
      response.end('last')
      t.equal(await text(request), body(chunk, 'last'))
    } else if (leave === 'cancel') {
      request.close()
    } else {
      session.destroy()
    }
    await closed
    t.equal(response.listenerCount('drain'), 0)
  })
}

t.test('an injected response gets all frames', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const chunk = chunkOf('é€😀')
  app.get('/', async (_request, reply) => {
    reply.hijack()
    const { connection, response } = connectionOf(reply.raw)
    connection.write('first')
    connection.writeShared(chunk)
    await turn()
    connection.writeShared(chunk)
    response.end('last')
  })
  const { payload } = await app.inject('/')
  t.equal(payload, body('first', chunk, chunk, 'last'))
})
