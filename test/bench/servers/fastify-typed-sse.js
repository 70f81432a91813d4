import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import { countTo } from './events.js'
import { report } from './report.js'

const app = Fastify()
await app.register(sse)

app.get('/:count', {
  schema: { sse: { message: Type.Object({ status: Type.Integer(), resMsg: Type.String() }) } }
}, (request, reply) => reply.sse(countTo(Number(request.params.count))))

await app.listen({ host: '127.0.0.1', port: 0 })
report(app.server.address().port)
