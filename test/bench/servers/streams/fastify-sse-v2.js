import Fastify from 'fastify'
import { FastifySSEPlugin } from 'fastify-sse-v2'
import { serveApp, transportOptions } from '../serve.js'
import { cancelable, closed, closing, textsOf } from './events.js'

const app = Fastify(transportOptions)
await app.register(FastifySSEPlugin)

async function * messages (path) {
  for await (const data of textsOf(path)) yield { data }
}

async function * texts (events) {
  for await (const { data } of events) yield { data: JSON.stringify(data) }
}

app.get('/*', (request, reply) => { reply.sse(messages(request.url)) })

app.get('/natural/:last', async (request, reply) => {
  const controller = new AbortController()
  // Its README listens to the socket, which stays open after a stream on a kept-alive connection.
  reply.raw.once('close', () => {
    controller.abort()
    closed()
  })
  reply.sse(texts(cancelable(Number(request.params.last), controller.signal)))
})

await serveApp(app, closing)
