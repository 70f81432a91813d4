import Fastify from 'fastify'
import { FastifySSEPlugin } from 'fastify-sse-v2'
import { report } from '../report.js'
import { textsOf } from './events.js'

const app = Fastify()
await app.register(FastifySSEPlugin)

async function * messages (path) {
  for await (const data of textsOf(path)) yield { data }
}

app.get('/*', (request, reply) => { reply.sse(messages(request.url)) })

await app.listen({ host: '127.0.0.1', port: 0 })
report(app.server.address().port)
