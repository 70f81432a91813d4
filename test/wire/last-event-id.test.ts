import { connect as connectHttp2 } from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { decodeLastEventId } from '../../lib/wire/last-event-id.ts'

/** Starts a server that replies with the decoded id of a request. */
function serve (t: Test, options = {}): FastifyInstance {
  const app = Fastify(options)
  t.teardown(() => app.close())
  app.get('/', async request => ({ id: decodeLastEventId(request) ?? null }))
  return app
}

async function answer (app: FastifyInstance, url: string, header?: string): Promise<unknown> {
  const response = await app.inject({ url, ...(header === undefined ? {} : { headers: { 'last-event-id': header } }) })
  return response.json<{ id: unknown }>().id
}

/** Sends the value of the header over a socket in exactly these bytes. */
async function answerToBytes (port: number, value: Buffer): Promise<unknown> {
  const socket = connect(port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nLast-Event-ID: ')
  socket.write(value)
  socket.write('\r\n\r\n')
  const response = await text(socket)
  return (JSON.parse(response.slice(response.indexOf('\r\n\r\n') + 4)) as { id: unknown }).id
}

t.test('W7: the id is the header, else the query parameter, else undefined', async t => {
  const app = serve(t)
  t.equal(await answer(app, '/'), null)
  t.equal(await answer(app, '/', 'a-1'), 'a-1')
  t.equal(await answer(app, '/?lastEventId=b-2'), 'b-2')
  t.equal(await answer(app, '/?lastEventId=b-2', 'a-1'), 'a-1')
  t.equal(await answer(app, '/?lastEventId='), '', 'an empty id is an id')
  t.equal(await answer(app, '/?lastEventId=b-2', ''), '', 'also in the header')
  t.equal(await answer(app, '/?lastEventId=b&lastEventId=c'), 'b', 'the first of several')
  t.equal(await answer(app, '/?lasteventid=b'), null)
  t.equal(await answer(app, '/?lastEventId=%C5%BC%C3%B3%C5%82w%0A'), 'żółw\n', 'the query is UTF-8 already')
})

t.test('W7: a number as query parameter is its text, any other type is undefined', async t => {
  const given: Array<[unknown, unknown]> = [[7, '7'], [0, '0'], [[0], '0'], [{ a: 1 }, null], [[], null], [[['a']],
    null], [null, null], [true, null]]
  for (const [lastEventId, id] of given) {
    t.equal(await answer(serve(t, { routerOptions: { querystringParser: () => ({ lastEventId }) } }), '/?x'), id,
      JSON.stringify(lastEventId))
  }
})

t.test('W7: the id is decoded as UTF-8 if it is UTF-8, else as latin1', async t => {
  const app = serve(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const cases: Array<[Buffer, string]> = [
    [Buffer.from('plain-1 ~!"\\'), 'plain-1 ~!"\\'],
    [Buffer.from('żółw'), 'żółw'],
    [Buffer.from('🐢 é'), '🐢 é'],
    [Buffer.from('a\tb'), 'a\tb'],
    // Not UTF-8: from a client that sends latin1.
    [Buffer.from('grün', 'latin1'), 'grün'],
    [Buffer.from([0xff, 0xfe, 0x80]), 'ÿþ\u0080']
  ]
  for (const [bytes, id] of cases) t.equal(await answerToBytes(port, bytes), id)

  for (let byte = 0x80; byte <= 0xff; byte++) {
    t.equal(await answerToBytes(port, Buffer.from([0x61, byte])), `a${String.fromCharCode(byte)}`,
      `the byte ${byte.toString(16)} alone`)
  }
})

t.test('W7: a long id is not cut', async t => {
  const app = serve(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const huge = 'ż'.repeat(7_000)
  t.equal(await answerToBytes(port, Buffer.from(huge)), huge)
})

t.test('W7: the id is decoded over HTTP/2 too', async t => {
  const app = serve(t, { http2: true })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const client = connectHttp2(`http://127.0.0.1:${port}`)
  t.teardown(() => client.destroy())
  for (const id of ['żółw', 'é']) {
    // Node writes headers as latin1, so these are the bytes of UTF-8.
    const stream = client.request({ ':path': '/', 'last-event-id': Buffer.from(id).toString('latin1') })
    t.strictSame(JSON.parse(await text(stream)), { id })
  }
})

t.test('W7: an injected header is text and is not decoded', async t => {
  const app = serve(t)
  t.equal(await answer(app, '/', 'żółw'), 'żółw', 'with characters beyond latin1')
  t.equal(await answer(app, '/', Buffer.from('żółw').toString('latin1')), 'żółw', 'else it is read as from a socket')
})
