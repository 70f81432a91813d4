import fastifySse from '@fastify/sse'
import Fastify from 'fastify'
import { report } from '../report.js'
import { eventsOf } from './events.js'

const app = Fastify()
await app.register(fastifySse)

app.get('/*', { sse: 'only' }, async (request, reply) => {
  await reply.sse.send(eventsOf(request.url))
})

await app.listen({ host: '127.0.0.1', port: 0 })
report(app.server.address().port)
