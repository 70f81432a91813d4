import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import * as index from '../lib/index.ts'

t.test('the package exports exactly the documented names', t => {
  t.same(Object.keys(index).sort(), ['EventQueue', 'FST_SSE_CHANNEL_ENDED', 'FST_SSE_CLOSING', 'KEY_DURATION',
    'StreamClosedError', 'asData', 'default', 'memoryLog', 'named', 'presenceEvents', 'typed', 'withJsonSchema', 'withTexts'])
  t.end()
})

t.test('the default export is the plugin, with its name in Fastify', async t => {
  const app = Fastify()
  await app.register(index.default)
  t.equal(app.hasPlugin('fastify-typed-sse'), true)
  t.equal(app.hasReplyDecorator('sse'), true)
  t.equal(app.hasRequestDecorator('lastEventId'), true)
})

t.test('an exported EventQueue feeds a stream, and StreamClosedError is the reason of a signal', async t => {
  const app = Fastify()
  await app.register(index.default)
  const events = { message: Type.Integer() }
  let signal: AbortSignal | undefined
  const queue = new index.EventQueue<typeof events>()
  const produced = queue.push({ data: 1 }).then(taken => {
    queue.end()
    return taken
  })
  app.get('/', { schema: { sse: events } }, (request, reply) => {
    signal = request.signal
    return reply.sse(queue)
  })
  t.equal((await app.inject('/')).payload, 'data: 1\n\n')
  t.equal(await produced, true)
  t.ok(signal!.reason instanceof index.StreamClosedError)
  t.match(signal!.reason, { name: 'AbortError', code: 'FST_SSE_CLOSED', reason: 'complete' })
})
