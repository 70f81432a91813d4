import fastifySse from '@fastify/sse'
import Fastify from 'fastify'
import { serveApp, transportOptions } from '../serve.js'
import { cancelable, closed, closing, eventsOf } from './events.js'

const app = Fastify(transportOptions)
await app.register(fastifySse)

app.get('/*', { sse: 'only' }, async (request, reply) => {
  await reply.sse.send(eventsOf(request.url))
})

app.get('/natural/:last', { sse: 'only' }, async (request, reply) => {
  const controller = new AbortController()
  reply.sse.onClose(() => {
    controller.abort()
    closed()
  })
  await reply.sse.send(cancelable(Number(request.params.last), controller.signal))
})

await serveApp(app, closing)
