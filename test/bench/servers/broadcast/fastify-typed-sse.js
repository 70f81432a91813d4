import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import { serveApp, transportOptions } from '../serve.js'
import { publishing } from './publish.js'

const app = Fastify(transportOptions)
await app.register(sse)

const events = { message: Type.Object({ text: Type.String() }) }
const news = app.sse.channel('news', { events })
app.get('/', { schema: { sse: events } }, (request, reply) => reply.sse(news))

await serveApp(app, publishing((n, data) => { news.publish({ data }) }))
