import { Readable } from 'node:stream'
import { Type } from '@sinclair/typebox'
import Fastify, {
  type ContextConfigDefault, type FastifyReply, type FastifyRequest, type RawReplyDefaultExpression,
  type RawRequestDefaultExpression, type RawServerDefault, type RouteGenericInterface,
  type RouteShorthandOptionsWithHandler
} from 'fastify'
import sse, { EventQueue, type EventOf, type SseOptions } from '../../lib/index.ts'
import { assertType, type Equal } from './equal.ts'

// Routes without a type provider. Compiled, never run.

const app = Fastify()
app.register(sse)
app.register(sse, {
  heartbeatInterval: 5_000,
  onInvalid: 'skip',
  onClose: ({ reason, duration }) => {
    assertType<Equal<typeof duration, number>>()
  reason satisfies string
  }
})
// @ts-expect-error an option of the wrong type
app.register(sse, { heartbeatInterval: '5s' })
// @ts-expect-error an option that does not exist
app.register(sse, { heartbeat: 5 })
const registered: SseOptions = { retry: undefined, errorEvent: null }
app.register(sse, registered)

const events = { message: Type.String(), count: Type.Object({ n: Type.Integer() }) }
const schema = { sse: events }

async function * counting (): AsyncGenerator<EventOf<typeof events>> {
  yield { event: 'count', data: { n: 1 } }
}

// app.get, sync and async, returned or not.
app.get('/', { schema }, (_request, reply) => reply.sse(counting()))
app.get('/', { schema }, async (_request, reply) => reply.sse(counting()))
app.get('/', { schema }, async (_request, reply) => {
  await reply.sse(counting())
})
app.get('/', { schema }, async (_request, reply) => {
  reply.sse(counting())
})
app.get('/', { schema }, (_request, reply) => {
  reply.sse(counting())
})
app.get('/', { schema }, async (_request, reply) => {
  reply.sse(counting())
  return reply
})
app.get('/', { schema: { sse: { message: Type.String() } } }, (_request, reply) => reply.sse([{ data: 'inline' }]))

app.get('/', { schema }, (_request, reply) => {
  assertType<Equal<ReturnType<typeof reply.sse>, Promise<void>>>()
  // @ts-expect-error data of the wrong type
  return reply.sse([{ event: 'count', data: { n: 'one' } }])
})
app.get('/', { schema }, async (_request, reply) => {
  // @ts-expect-error a name that the map does not have
  return reply.sse([{ event: 'cuont', data: { n: 1 } }])
})
app.get('/', { schema }, async (_request, reply) => {
  // @ts-expect-error an unnamed event of the wrong type
  await reply.sse([{ data: 5 }])
})
app.get('/', { schema }, (_request, reply) => {
  // @ts-expect-error undefined is no data
  return reply.sse([{ event: 'count', data: undefined }])
})
app.get('/', { schema }, (_request, reply) => {
  // @ts-expect-error a function of a wrong source
  return reply.sse(({ signal }) => signal.aborted ? [] : [{ event: 'count', data: { n: null } }])
})
app.get('/', { schema }, (_request, reply) => {
  // @ts-expect-error a queue of another map
  return reply.sse(new EventQueue<{ count: typeof events.message }>())
})
app.get('/', { schema }, (_request, reply) => {
  // @ts-expect-error an option of the wrong type
  return reply.sse(counting(), { finite: 'yes' })
})
app.get('/', { schema: { sse: { message: Type.String() } } }, (_request, reply) => {
  // @ts-expect-error an inline map is checked, too
  return reply.sse([{ data: 5 }])
})

// Every kind of source.
app.get('/', { schema }, (request, reply) => {
  reply.sse([{ comment: 'hello' }, { retry: 5 }, { id: 'a' }, { data: 'unnamed' }, { event: 'message', data: 'named' }])
  reply.sse(new EventQueue<typeof events>())
  reply.sse(({ signal, lastEventId }) => {
    assertType<Equal<typeof signal, AbortSignal>>()
    assertType<Equal<typeof lastEventId, string | undefined>>()
    return counting()
  }, { finite: true, retry: 10 })
  reply.sse(async () => counting())
  // A Node stream has no type for its chunks.
  reply.sse(Readable.from([]))
  assertType<Equal<typeof request.lastEventId, string | undefined>>()
  assertType<Equal<typeof request.signal, AbortSignal>>()
})

// app.route and all other ways to declare a route.
app.route({ method: 'GET', url: '/', schema, handler: (_request, reply) => reply.sse(counting()) })
app.route({
  method: ['GET', 'POST'],
  url: '/',
  schema,
  async handler (_request, reply) {
    // @ts-expect-error data of the wrong type
    return reply.sse([{ event: 'count', data: { n: 'one' } }])
  }
})
app.post('/', { schema: { ...schema, body: Type.Object({ stream: Type.Boolean() }) } }, async (_request, reply) => {
  await reply.sse(counting())
  // @ts-expect-error a name that the map does not have
  await reply.sse([{ event: 'cuont', data: { n: 1 } }])
})
app.get('/', { schema, handler: (_request, reply) => reply.sse(counting()) })
app.get('/', {
  schema,
  handler (_request, reply) {
    // @ts-expect-error a name that the map does not have
    return reply.sse([{ event: 'cuont', data: { n: 1 } }])
  }
})
export const options: RouteShorthandOptionsWithHandler<RawServerDefault, RawRequestDefaultExpression,
  RawReplyDefaultExpression, RouteGenericInterface, ContextConfigDefault, typeof schema> = {
    schema,
    handler (_request, reply) {
      reply.sse(counting())
      // @ts-expect-error data of the wrong type
      return reply.sse([{ event: 'count', data: { n: 'one' } }])
    }
  }

// A route without schema.sse accepts any event.
app.get('/', (_request, reply) => reply.sse([{ data: { any: 'thing' } }, { event: 'any', data: 1 }]))
app.get('/', { schema: { querystring: Type.Object({}) } }, async (_request, reply) => reply.sse(counting()))
app.get('/', (_request, reply) => {
  // @ts-expect-error not an event
  return reply.sse(['text'])
})
app.get('/', (_request, reply) => {
  // @ts-expect-error not a source
  return reply.sse({ data: 1 })
})

// Beside a declared response.
const answering = { ...schema, response: { 200: Type.Object({ answer: Type.String() }) } }
app.get('/', { schema: answering }, (_request, reply) => reply.sse(counting()))
app.get('/', { schema: answering }, async (request, reply) => {
  if (request.headers.accept === 'application/json') return { answer: 'in one piece' }
  await reply.sse(counting())
})
// With explicit type arguments, the map's type must be among them: TypeScript infers all or none.
app.get<{ Reply: { answer: string } }, ContextConfigDefault, typeof answering>('/', { schema: answering },
  (request, reply) => {
    if (request.headers.accept === 'application/json') {
      reply.send({ answer: 'in one piece' })
      return
    }
    reply.sse(counting())
    // @ts-expect-error data of the wrong type
    reply.sse([{ event: 'count', data: { n: 'one' } }])
  })
app.get<{ Reply: { answer: string } }>('/', { schema: answering },
  (_request, reply) => reply.sse([{ event: 'any', data: 1 }]))

// The reply of an SSE route is still a reply.
function allow (_request: FastifyRequest, reply: FastifyReply): void {
  reply.header('x-allowed', 'yes')
}
app.get('/', {
  schema,
  preHandler: async (request, reply) => allow(request, reply),
  onSend: async (request, reply) => allow(request, reply)
}, (request, reply) => {
  allow(request, reply)
  return reply.code(200).header('a', 'b').sse(counting())
})
app.addHook('onRequest', async (request, reply) => allow(request, reply))
app.setErrorHandler((_error, _request, reply) => reply.sse([{ data: 'sorry' }]))
app.setNotFoundHandler((_request, reply) => reply.sse([{ data: 'sorry' }]))

// A map must consist of schemas.
// @ts-expect-error a name without a schema
app.get('/', { schema: { sse: { message: 'text' } } }, async () => {})
