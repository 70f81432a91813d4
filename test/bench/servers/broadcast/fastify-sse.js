import fastifySse from '@fastify/sse'
import Fastify from 'fastify'
import { report } from '../report.js'
import { publishing } from './publish.js'

const app = Fastify()
await app.register(fastifySse)

// Connection management as in its README.
const clients = new Set()
app.get('/', { sse: 'only' }, async (request, reply) => {
  reply.sse.keepAlive()
  clients.add(reply.sse)
  reply.sse.onClose(() => clients.delete(reply.sse))
  await reply.sse.send({ data: 'Connected' })
})

await app.listen({ host: '127.0.0.1', port: 0 })
report(app.server.address().port, publishing((n, data) => {
  for (const client of clients) client.send({ id: n, data }).catch(error => app.log.info(error))
}))
