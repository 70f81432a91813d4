import Fastify from 'fastify'
import { FastifySSEPlugin } from 'fastify-sse-v2'
import { serveApp, transportOptions } from '../serve.js'
import { publishing } from './publish.js'

const app = Fastify(transportOptions)
await app.register(FastifySSEPlugin)

const clients = new Set()
app.get('/', (request, reply) => {
  clients.add(reply)
  reply.raw.once('close', () => clients.delete(reply))
  reply.sse({ data: 'Connected' })
})

await serveApp(app, publishing((n, data) => {
  const event = { id: String(n), data: JSON.stringify(data) }
  for (const client of clients) client.sse(event)
}))
