import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import { report } from '../report.js'
import { eventsOf } from './events.js'

const app = Fastify()
await app.register(sse)

app.get('/*', {
  schema: { sse: { message: Type.Object({ status: Type.Integer(), resMsg: Type.String() }) } }
}, (request, reply) => reply.sse(eventsOf(request.url)))

await app.listen({ host: '127.0.0.1', port: 0 })
report(app.server.address().port)
