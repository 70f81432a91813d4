import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import { serveApp, transportOptions } from '../serve.js'
import { cancelable, closed, closing, eventsOf } from './events.js'

const app = Fastify(transportOptions)
await app.register(sse)

const schema = { sse: { message: Type.Object({ status: Type.Integer(), resMsg: Type.String() }) } }

app.get('/*', { schema }, (request, reply) => reply.sse(eventsOf(request.url)))

app.get('/natural/:last', { schema }, async (request, reply) => {
  return reply.sse(({ signal }) => cancelable(Number(request.params.last), signal), { onClose: closed })
})

await serveApp(app, closing)
