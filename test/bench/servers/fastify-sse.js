import fastifySse from '@fastify/sse'
import Fastify from 'fastify'
import { countTo } from './events.js'
import { report } from './report.js'

const app = Fastify()
await app.register(fastifySse)

app.get('/:count', { sse: 'only' }, async (request, reply) => {
  await reply.sse.send(countTo(Number(request.params.count)))
})

await app.listen({ host: '127.0.0.1', port: 0 })
report(app.server.address().port)
