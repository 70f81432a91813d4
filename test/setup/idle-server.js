import { createServer } from 'node:http'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'

// A server of idle streams and idle channels, and a plain one of idle responses. Answers the messages of its parent.

const CHANNELS = 10_000

const app = Fastify()
await app.register(sse, { heartbeatInterval: 1_000 })
const options = { events: { message: Type.Object({ text: Type.String() }) } }
const news = app.sse.channel('news', options)
app.get('/', { schema: { sse: options.events } }, (request, reply) => reply.sse(news))
await app.listen({ host: '127.0.0.1', port: 0 })

const plain = createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  response.write(':\n\n')
})
await new Promise(resolve => plain.listen(0, '127.0.0.1', resolve))

/** The bytes in use, after a full collection. */
function heap () {
  globalThis.gc()
  return process.memoryUsage().heapUsed
}

/** The bytes of each idle channel. */
function channels () {
  const make = (prefix, count) => { for (let n = 0; n < count; n++) app.sse.channel(`${prefix}:${n}`, options) }
  // The first ones pay for compiled and cached code.
  make('first', 100)
  const before = heap()
  make('user', CHANNELS)
  return (heap() - before) / CHANNELS
}

const answers = { heap, channels }
process.on('message', question => process.send(answers[question]()))
process.once('disconnect', () => process.exit())
process.send({ streams: app.server.address().port, plain: plain.address().port })
