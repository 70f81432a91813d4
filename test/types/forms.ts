import { Type as Sinclair, type FastifyPluginAsyncTypebox as SinclairPlugin } from '@fastify/type-provider-typebox'
import Fastify, {
  type FastifyReply, type FastifyRequest, type RouteHandlerMethod, type RouteShorthandOptions
} from 'fastify'
import { Type, type FastifyPluginAsyncTypebox, type TypeBoxTypeProvider } from 'type-provider-typebox-6'
import * as z from 'zod'
import sse, { EventQueue, named, typed } from '../../lib/index.ts'
import { assertType, type Equal } from './equal.ts'

// The forms of a route and of a source. Compiled, never run.

const app = Fastify()
app.register(sse)

const events = {
  message: Sinclair.String(),
  progress: Type.Object({ percent: Type.Number() }),
  done: z.object({ files: z.array(z.string()) })
}
type Events = typeof events
const schema = { sse: events }

// Sources that are written in the call need no help: the names keep their literal types.

app.get('/', { schema }, (_request, reply) => reply.sse(async function * () {
  yield { event: 'progress', data: { percent: 1 } }
}))
app.get('/', { schema }, (_request, reply) => reply.sse(function * () {
  yield { event: 'progress', data: { percent: 1 } }
}))
app.get('/', { schema }, async (_request, reply) => {
  await reply.sse(async function * ({ signal, lastEventId }) {
    assertType<Equal<typeof signal, AbortSignal>>()
    assertType<Equal<typeof lastEventId, string | undefined>>()
    for (let percent = 0; percent < 100; percent++) {
      if (signal.aborted) return
      yield { event: 'progress', data: { percent }, id: percent }
      if (percent === 50) yield { comment: 'half of it' }
      if (percent === 51) yield { data: 'unnamed' }
    }
    yield { event: 'done', data: { files: [] } }
  }, { finite: true })
})
app.get('/', { schema }, (_request, reply) => reply.sse(() => [{ event: 'progress', data: { percent: 1 } }]))
app.get('/', { schema }, (_request, reply) => reply.sse(async () => [{ event: 'done', data: { files: ['a'] } }]))
app.get('/', { schema }, (_request, reply) => reply.sse(async ({ signal }) => {
  return signal.aborted ? [] : [{ event: 'progress', data: { percent: 1 } }, { data: 'text' }]
}))
app.sse.channel('jobs', { events }).publishFrom(async function * ({ signal }) {
  while (!signal.aborted) yield { event: 'progress', data: { percent: 1 } }
})
app.get('/', { schema }, (_request, reply) => {
  // @ts-expect-error a wrong name
  reply.sse(async function * () { yield { event: 'progres', data: { percent: 1 } } })
  // @ts-expect-error a wrong field
  reply.sse(function * () { yield { event: 'progress', data: { percnt: 1 } } })
  // @ts-expect-error missing data
  return reply.sse(() => [{ event: 'progress' }])
})

// A generator that is declared elsewhere: the events of its map keep their names.

const event = typed(events)
async function * work ({ signal }: { signal: AbortSignal }) {
  if (signal.aborted) return
  yield event.progress({ percent: 1 })
  yield event.progress({ percent: 2 }, { id: 2, retry: 5 })
  yield event.message('text')
  yield { ...event.done({ files: [] }), id: 'last' }
  // @ts-expect-error a wrong name
  yield event.progres({ percent: 1 })
  // @ts-expect-error a wrong type
  yield event.progress({ percent: '1' })
  // @ts-expect-error a wrong field
  yield event.progress({ percnt: 1 })
  // @ts-expect-error missing data
  yield event.progress()
  // @ts-expect-error a position has fields
  yield event.progress({ percent: 1 }, 2)
}
async function * steps () { yield event.progress({ percent: 1 }) }
assertType<Equal<ReturnType<typeof event.progress>, { event: 'progress', data: { percent: number } } & {
  id?: string | number | undefined
  retry?: number | undefined
}>>()
app.get('/', { schema }, (_request, reply) => reply.sse(work))
app.get('/', { schema }, (_request, reply) => reply.sse(context => work(context)))
app.get('/', { schema: { sse: { other: z.string() } } }, (_request, reply) => {
  // @ts-expect-error events of another map
  return reply.sse(steps())
})
app.sse.channel('jobs', { events }).publish(event.progress({ percent: 1 }))
app.sse.channel('jobs', { events }).publishFrom(steps)
new EventQueue<Events>().push(event.message('text'))
// @ts-expect-error no map
typed(5)

// A protocol that repeats the name of an event in its data.

const protocol = {
  start: z.object({ type: z.literal('start'), id: z.string() }),
  delta: Type.Object({ type: Type.Literal('delta'), text: Type.String() })
}
type Chunk = { type: 'start', id: string } | { type: 'delta', text: string }

export function answers (chunks: AsyncIterable<Chunk>, more: AsyncIterable<Chunk | { type: 'ping' }>): void {
  const names = named(chunks)
  app.get('/', { schema: { sse: protocol } }, (_request, reply) => reply.sse(names))
  assertType<Equal<typeof names, AsyncIterable<
    { event: 'start', data: { type: 'start', id: string } } | { event: 'delta', data: { type: 'delta', text: string } }
  >>>()
  app.get('/', { schema: { sse: protocol } }, (_request, reply) => {
    reply.sse(named(chunks))
    reply.sse(({ signal }) => named(signal.aborted ? [] : chunks))
    reply.sse(named(({ signal }) => {
      assertType<Equal<typeof signal, AbortSignal>>()
      return chunks
    }))
    reply.sse(named(async function * ({ signal }) {
      if (signal.aborted) return
      yield { type: 'start', id: 'a' }
      yield { type: 'delta', text: 'b' }
    }))
    // @ts-expect-error a chunk whose name the map does not have
    return reply.sse(named(more))
  })
  app.sse.channel('answers', { events: protocol }).publishFrom(named(chunks))
  app.sse.channel('answers', { events: protocol }).publishFrom(named(() => chunks))
  // @ts-expect-error chunks without a name
  named([{ kind: 'start' }])
}

// Explicit type arguments keep the events if `Sse` is among them.

app.get<{ Params: { id: string }, Sse: Events }>('/:id', { schema }, (request, reply) => {
  assertType<Equal<typeof request.params, { id: string }>>()
  // @ts-expect-error a wrong field
  reply.sse([{ event: 'progress', data: { percnt: 1 } }])
  return reply.sse(async function * () { yield { event: 'progress', data: { percent: Number(request.params.id) } } })
})
app.route<{ Querystring: { after: string }, Sse: Events }>({
  method: 'GET',
  url: '/',
  schema,
  async handler (request, reply) {
    assertType<Equal<typeof request.query, { after: string }>>()
    // @ts-expect-error a wrong name
    await reply.sse([{ event: 'progres', data: { percent: 1 } }])
    await reply.sse(work)
  }
})
app.get<{ Params: { id: string }, Sse: Events }>('/:id', (_request, reply) => reply.sse(work))
// Without it, any event: TypeScript infers all type arguments or none.
app.get<{ Params: { id: string } }>('/:id', { schema }, (_request, reply) => reply.sse([{ event: 'any', data: 1 }]))
// @ts-expect-error a map consists of schemas
app.get<{ Sse: { progress: 'text' } }>('/', (_request, reply) => reply.sse([]))

// Handlers that are declared apart.

class Controller {
  async stream (
    request: FastifyRequest<{ Params: { id: string } }>,
    reply: FastifyReply<{ Sse: Events }>
  ): Promise<void> {
    // @ts-expect-error a wrong type
    reply.sse([{ event: 'done', data: { files: [request.params.id, 5] } }])
    await reply.sse([{ event: 'done', data: { files: [request.params.id] } }])
  }

  readonly watch = (_request: FastifyRequest, reply: FastifyReply): Promise<void> => reply.sse(work)
}
const controller = new Controller()
app.get<{ Params: { id: string }, Sse: Events }>('/:id', { schema }, controller.stream)
app.get('/', { schema }, controller.watch)
app.route({ method: 'GET', url: '/', schema, handler: controller.watch })
// @ts-expect-error the controller has another map
app.get<{ Params: { id: string }, Sse: typeof protocol }>('/:id', { schema }, controller.stream)
const handler: RouteHandlerMethod = (_request, reply) => reply.sse(work)
app.get('/', { schema }, handler)
app.get('/', { schema, handler })

// Options in a constant.

const options = { schema } satisfies RouteShorthandOptions
app.get('/', options, (_request, reply) => {
  // @ts-expect-error a wrong type
  reply.sse([{ event: 'progress', data: { percent: '1' } }])
  return reply.sse([{ event: 'progress', data: { percent: 1 } }])
})
const literal = { schema: { sse: { tick: { type: 'integer' } } } } as const
app.get('/', literal, (_request, reply) => {
  // @ts-expect-error a wrong type
  reply.sse([{ event: 'tick', data: '1' }])
  return reply.sse([{ event: 'tick', data: 1 }])
})

// Plugins that are typed by a provider: of TypeBox 0.34 and of TypeBox 1.x, each with maps of any kind.

export const sinclair: SinclairPlugin = async app => {
  app.get('/:id', { schema: { ...schema, params: Sinclair.Object({ id: Sinclair.Integer() }) } }, (request, reply) => {
    assertType<Equal<typeof request.params, { id: number }>>()
    // @ts-expect-error TypeBox 1.x
    reply.sse([{ event: 'progress', data: { percent: '1' } }])
    // @ts-expect-error Zod
    reply.sse([{ event: 'done', data: { files: [5] } }])
    // @ts-expect-error TypeBox 0.34
    reply.sse([{ event: 'message', data: 5 }])
    return reply.sse(async function * () {
      yield { event: 'progress', data: { percent: request.params.id } }
      yield { event: 'done', data: { files: [] } }
      yield { data: 'text' }
    })
  })
}
export const typebox: FastifyPluginAsyncTypebox = async app => {
  app.get('/:id', { schema: { ...schema, params: Type.Object({ id: Type.Integer() }) } }, async (request, reply) => {
    assertType<Equal<typeof request.params, { id: number }>>()
    // @ts-expect-error TypeBox 1.x
    reply.sse([{ event: 'progress', data: { percent: '1' } }])
    // @ts-expect-error Zod
    reply.sse([{ event: 'done', data: { files: [5] } }])
    // @ts-expect-error TypeBox 0.34
    reply.sse([{ event: 'message', data: 5 }])
    await reply.sse(async function * () {
      yield { event: 'progress', data: { percent: request.params.id } }
      yield { event: 'done', data: { files: [] } }
      yield { data: 'text' }
    })
  })
  const tree = Type.Cyclic({ Tree: Type.Object({ left: Type.Optional(Type.Ref('Tree')) }) }, 'Tree')
  app.get('/', { schema: { sse: { tree } } }, (_request, reply) => {
    // @ts-expect-error the provider knows types that the keywords do not tell
    reply.sse([{ event: 'tree', data: { left: 5 } }])
    return reply.sse([{ event: 'tree', data: { left: { left: {} } } }])
  })
}
app.withTypeProvider<TypeBoxTypeProvider>().route({
  method: 'GET',
  url: '/',
  schema: { sse: { tick: { type: 'object', required: ['n'], properties: { n: { type: 'integer' } } } } },
  handler (_request, reply) {
    // @ts-expect-error JSON Schema
    reply.sse([{ event: 'tick', data: { n: '1' } }])
    reply.sse([{ event: 'tick', data: { n: 1 } }])
  }
})
app.register(sinclair)
app.register(typebox)
