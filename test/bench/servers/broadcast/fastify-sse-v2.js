import Fastify from 'fastify'
import { FastifySSEPlugin } from 'fastify-sse-v2'
import { report } from '../report.js'
import { publishing } from './publish.js'

const app = Fastify()
await app.register(FastifySSEPlugin)

const clients = new Set()
app.get('/', (request, reply) => {
  clients.add(reply)
  request.socket.once('close', () => clients.delete(reply))
  reply.sse({ data: 'Connected' })
})

await app.listen({ host: '127.0.0.1', port: 0 })
report(app.server.address().port, publishing((n, data) => {
  const event = { id: String(n), data: JSON.stringify(data) }
  for (const client of clients) client.sse(event)
}))
