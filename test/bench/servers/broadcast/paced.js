import { setTimeout as delay } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import { report } from '../report.js'
import { publishing } from './publish.js'

// A large event without the mark: it fills buffers and is not counted.
const BLOCK = { text: 'x'.repeat(16_384) }

const app = Fastify()
await app.register(sse)

const events = { message: Type.Object({ text: Type.String() }) }
// A lagging client stays connected, and receives a gap.
const news = app.sse.channel('news', { events, slowConsumer: 'skip' })
app.get('/', { schema: { sse: events } }, (request, reply) => reply.sse(news))

await app.listen({ host: '127.0.0.1', port: 0 })
report(app.server.address().port, {
  ...publishing((n, data) => { news.publish({ data }) }),

  /** Waits for that many subscribers. */
  async subscribed (by) {
    while (news.subscribers !== by) await delay(1)
  },

  /** Publishes that many bytes, as fast as possible. */
  async flood (bytes) {
    for (let sent = 0; sent < bytes; sent += BLOCK.text.length) {
      news.publish({ data: BLOCK })
      await new Promise(setImmediate)
    }
  }
})
