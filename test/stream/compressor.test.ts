import { gunzipSync } from 'node:zlib'
import Fastify, { type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import { Compressor } from '../../lib/stream/compressor.ts'
import { clearHead, setHead } from '../../lib/stream/response-headers.ts'
import { ResponseWriter } from '../../lib/stream/response-writer.ts'

/** The response to a request that accepts gzip. */
async function answer (t: Test, handler: (reply: FastifyReply) => unknown, accept = 'gzip') {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/', async (_request, reply) => {
    await handler(reply)
    return reply
  })
  return app.inject({ url: '/', headers: { 'accept-encoding': accept } })
}

/** Sends a body as a stream does. */
function send (reply: FastifyReply, compressor: Compressor): void {
  setHead(reply)
  compressor.prepare()
  reply.hijack().raw.writeHead(200, reply.getHeaders() as Record<string, string>)
  compressor.wrap(new ResponseWriter(reply.raw, { drained: () => {} })).end('data: 1\n\n')
}

t.test('W1: the head decides whether the sink compresses', async t => {
  for (const accept of ['gzip', 'br']) {
    const { headers, rawPayload } = await answer(t, reply => send(reply, new Compressor(reply, true)), accept)
    t.equal(headers.vary, 'Accept-Encoding')
    t.equal(headers['content-encoding'], accept === 'gzip' ? 'gzip' : undefined)
    t.equal(headers['cache-control'], accept === 'gzip' ? 'no-cache' : 'no-cache, no-transform')
    t.equal((accept === 'gzip' ? gunzipSync(rawPayload) : rawPayload).toString(), 'data: 1\n\n')
  }
})

t.test('W1: the same header of the handler stays, and another coding wins', async t => {
  const same = await answer(t, reply => {
    reply.header('cache-control', 'no-cache, no-transform')
    send(reply, new Compressor(reply, true))
  })
  t.match(same.headers, { 'content-encoding': 'gzip', 'cache-control': 'no-cache, no-transform' })
  const other = await answer(t, reply => {
    reply.raw.setHeader('content-encoding', 'x-own')
    send(reply, new Compressor(reply, true))
  })
  t.match(other.headers, { 'content-encoding': 'x-own' })
  t.equal(other.headers.vary, undefined)
  t.equal(other.payload, 'data: 1\n\n')
})

t.test('L10: a head that is sent already has no coding', async t => {
  const { headers, payload } = await answer(t, reply => {
    const compressor = new Compressor(reply, true)
    reply.hijack().raw.writeHead(200)
    compressor.prepare()
    compressor.wrap(new ResponseWriter(reply.raw, { drained: () => {} })).end('data: 1\n\n')
  })
  t.strictSame([headers['content-encoding'], payload], [undefined, 'data: 1\n\n'])
})

t.test('an error in place of a head with a coding has none', async t => {
  const { headers, payload } = await answer(t, reply => {
    setHead(reply)
    new Compressor(reply, true).prepare()
    clearHead(reply)
    reply.code(500).send({ failed: true })
  })
  t.equal(headers['content-encoding'], undefined)
  t.equal(payload, '{"failed":true}')
})
