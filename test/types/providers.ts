import {
  Type, type FastifyPluginAsyncTypebox, type FastifyPluginCallbackTypebox,
  type TypeBoxTypeProvider
} from '@fastify/type-provider-typebox'
import Fastify, { type FastifyPluginAsync } from 'fastify'
import sse, { EventQueue, type EventOf } from '../../lib/index.ts'
import { assertType, type Equal } from './equal.ts'

// Routes with TypeBox's type provider, and typed plugins. Compiled, never run.

const events = { message: Type.String(), count: Type.Object({ n: Type.Integer() }) }
const schema = {
  sse: events,
  querystring: Type.Object({ upTo: Type.Integer() }),
  response: { 200: Type.Object({ answer: Type.String() }) }
}

async function * counting (): AsyncGenerator<EventOf<typeof events>> {
  yield { event: 'count', data: { n: 1 } }
}

const app = Fastify().withTypeProvider<TypeBoxTypeProvider>()
app.register(sse)

app.get('/', { schema }, (request, reply) => {
  assertType<Equal<typeof request.query.upTo, number>>()
  reply.sse([{ comment: 'hello' }, { retry: 5 }, { id: 'a' }, { data: 'unnamed' }, { event: 'message', data: 'named' }])
  reply.sse(({ lastEventId }) => [{ data: lastEventId ?? 'none' }])
  reply.sse(new EventQueue<typeof events>())
  return reply.sse(counting())
})
app.get('/', { schema }, async (_request, reply) => reply.sse(counting()))
app.get('/', { schema }, async (request, reply) => {
  if (request.query.upTo === 0) return { answer: 'nothing to count' }
  return reply.sse(counting())
})
app.get('/', { schema }, (_request, reply) => {
  // @ts-expect-error data of the wrong type
  return reply.sse([{ event: 'count', data: { n: 'one' } }])
})
app.get('/', { schema }, async (_request, reply) => {
  // @ts-expect-error a name that the map does not have
  await reply.sse([{ event: 'cuont', data: { n: 1 } }])
})
app.get('/', { schema }, async (_request, reply) => {
  // @ts-expect-error an unnamed event of the wrong type
  return reply.sse([{ data: 5 }])
})
app.route({
  method: 'GET',
  url: '/',
  schema,
  handler (request, reply) {
    assertType<Equal<typeof request.query.upTo, number>>()
    reply.sse(counting())
    // @ts-expect-error data of the wrong type
    return reply.sse([{ event: 'count', data: { n: 'one' } }])
  }
})
app.get('/', {
  schema,
  async handler (_request, reply) {
    // @ts-expect-error a name that the map does not have
    await reply.sse(() => [{ event: 'cuont', data: { n: 1 } }])
  }
})
app.get('/', { schema: { querystring: schema.querystring } },
  (_request, reply) => reply.sse([{ event: 'any', data: 1 }]))

// Plugins: typed by the provider, or not at all.
export const typed: FastifyPluginAsyncTypebox = async app => {
  app.get('/', { schema }, async (request, reply) => {
    assertType<Equal<typeof request.query.upTo, number>>()
    await reply.sse(counting())
    // @ts-expect-error data of the wrong type
    await reply.sse([{ event: 'count', data: { n: 'one' } }])
  })
}
export const typedCallback: FastifyPluginCallbackTypebox = (app, _options, done) => {
  app.route({
    method: 'GET',
    url: '/',
    schema,
    handler (_request, reply) {
      // @ts-expect-error a name that the map does not have
      return reply.sse([{ event: 'cuont', data: { n: 1 } }])
    }
  })
  done()
}
export const plain: FastifyPluginAsync = async app => {
  app.get('/', { schema }, (_request, reply) => reply.sse(counting()))
  app.get('/', { schema }, (_request, reply) => {
    // @ts-expect-error data of the wrong type
    return reply.sse([{ event: 'count', data: { n: 'one' } }])
  })
}
app.register(typed)
app.register(typedCallback)
app.register(plain)
