import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import { report } from '../report.js'
import { publishing } from './publish.js'

const app = Fastify()
await app.register(sse)

const events = { message: Type.Object({ text: Type.String() }) }
const news = app.sse.channel('news', { events })
app.get('/', { schema: { sse: events } }, (request, reply) => reply.sse(news))

await app.listen({ host: '127.0.0.1', port: 0 })
report(app.server.address().port, publishing((n, data) => { news.publish({ data }) }))
