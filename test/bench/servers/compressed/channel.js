import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import { report } from '../report.js'
import { publishing } from './prices.js'

const events = {
  message: Type.Object({
    symbol: Type.String(),
    price: Type.Number(),
    change: Type.Number(),
    volume: Type.Integer(),
    currency: Type.String(),
    exchange: Type.String(),
    at: Type.String(),
    status: Type.String(),
    seller: Type.String()
  })
}

/** Serves a channel of prices, with or without compression. */
export async function serve (compress) {
  const app = Fastify()
  await app.register(sse)
  const prices = app.sse.channel('prices', { events, compress })
  app.get('/', { schema: { sse: events } }, (request, reply) => reply.sse(prices))
  await app.listen({ host: '127.0.0.1', port: 0 })
  report(app.server.address().port, publishing(app.server, (n, data) => { prices.publish({ data }) }))
}
