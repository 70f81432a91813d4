import fastifySse from '@fastify/sse'
import Fastify from 'fastify'
import { serveApp, transportOptions } from '../serve.js'
import { publishing } from './publish.js'

const app = Fastify(transportOptions)
await app.register(fastifySse)

// Connection management as in its README.
const clients = new Set()
app.get('/', { sse: 'only' }, async (request, reply) => {
  reply.sse.keepAlive()
  clients.add(reply.sse)
  reply.sse.onClose(() => clients.delete(reply.sse))
  await reply.sse.send({ data: 'Connected' })
})

await serveApp(app, publishing((n, data) => {
  for (const client of clients) client.send({ id: n, data }).catch(error => app.log.info(error))
}))
