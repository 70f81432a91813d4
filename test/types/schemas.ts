import { Type as Sinclair } from '@sinclair/typebox'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import Fastify from 'fastify'
import Type from 'typebox'
import * as v from 'valibot'
import * as z from 'zod'
import { connect, type ClientEventOf, type EncodingsOf } from '../../lib/client.ts'
import sse, {
  EventQueue, typed, type DataOf, type EventMap, type EventOf, type PublishEventOf, type ReceivedEventOf
} from '../../lib/index.ts'
import { injectStream } from '../../lib/testing.ts'
import { assertType, type Equal } from './equal.ts'

// Maps of every kind of schema, in every place that takes one. Compiled, never run.

interface Item { percent: number, note?: string, tags: string[], at: { x: number }, kind: 'a' | 'b', left: number | null }
type Same<A> = Equal<A, { [K in keyof Item]: Item[K] }>

const events = {
  sinclair: Sinclair.Object({
    percent: Sinclair.Number(),
    note: Sinclair.Optional(Sinclair.String()),
    tags: Sinclair.Array(Sinclair.String()),
    at: Sinclair.Object({ x: Sinclair.Integer() }),
    kind: Sinclair.Union([Sinclair.Literal('a'), Sinclair.Literal('b')]),
    left: Sinclair.Union([Sinclair.Number(), Sinclair.Null()])
  }),
  typebox: Type.Object({
    percent: Type.Number(),
    note: Type.Optional(Type.String()),
    tags: Type.Array(Type.String()),
    at: Type.Object({ x: Type.Integer() }),
    kind: Type.Union([Type.Literal('a'), Type.Literal('b')]),
    left: Type.Union([Type.Number(), Type.Null()])
  }),
  zod: z.object({
    percent: z.number(),
    note: z.string().exactOptional(),
    tags: z.array(z.string()),
    at: z.object({ x: z.int() }),
    kind: z.enum(['a', 'b']),
    left: z.number().nullable()
  }),
  valibot: toStandardJsonSchema(v.object({
    percent: v.number(),
    note: v.exactOptional(v.string()),
    tags: v.array(v.string()),
    at: v.object({ x: v.number() }),
    kind: v.picklist(['a', 'b']),
    left: v.nullable(v.number())
  })),
  arktype: type({
    percent: 'number',
    'note?': 'string',
    tags: 'string[]',
    at: { x: 'number.integer' },
    kind: "'a' | 'b'",
    left: 'number | null'
  }),
  json: {
    type: 'object',
    required: ['percent', 'tags', 'at', 'kind', 'left'],
    properties: {
      percent: { type: 'number' },
      note: { type: 'string' },
      tags: { type: 'array', items: { type: 'string' } },
      at: { type: 'object', required: ['x'], properties: { x: { type: 'integer' } } },
      kind: { enum: ['a', 'b'] },
      left: { type: ['number', 'null'] }
    }
  } as const,
  plain: { type: 'object', properties: { percent: { type: 'number' } } }
}
type Events = typeof events

assertType<Same<DataOf<Events['sinclair']>>>()
assertType<Same<DataOf<Events['typebox']>>>()
assertType<Same<DataOf<Events['zod']>>>()
assertType<Same<DataOf<Events['valibot']>>>()
assertType<Same<DataOf<Events['arktype']>>>()
assertType<Same<DataOf<Events['json']>>>()
assertType<Equal<DataOf<Events['plain']>, unknown>>()

const data: Item = { percent: 1, note: 'one', tags: ['a'], at: { x: 1 }, kind: 'a', left: null }
const accept = <E>(..._events: E[]): void => {}

// The types of events.

accept<EventOf<Events>>({ event: 'sinclair', data }, { event: 'typebox', data, id: 1 }, { event: 'zod', data },
  { event: 'valibot', data, retry: 1 }, { event: 'arktype', data }, { event: 'json', data }, { event: 'plain', data: 1 })
accept<PublishEventOf<Events>>({ event: 'sinclair', data }, { event: 'typebox', data }, { event: 'zod', data },
  { event: 'valibot', data }, { event: 'arktype', data }, { event: 'json', data }, { event: 'plain', data: 1 })
type Received<K extends keyof Events> = Extract<ReceivedEventOf<Events>, { event: K }>['data']
assertType<Same<Received<'sinclair'>>>()
assertType<Same<Received<'typebox'>>>()
assertType<Same<Received<'zod'>>>()
assertType<Same<Received<'valibot'>>>()
assertType<Same<Received<'arktype'>>>()
assertType<Same<Received<'json'>>>()
assertType<Equal<Received<'plain'>, unknown>>()

// A wrong field is one error, at the field.

accept<EventOf<Omit<Events, 'plain'>>>({
  event: 'sinclair',
  data: {
    tags: [],
    at: { x: 1 },
    kind: 'a',
    left: null,
    // @ts-expect-error a wrong type
    percent: '1'
  }
})
accept<EventOf<Omit<Events, 'plain'>>>({
  event: 'typebox',
  data: {
    tags: [],
    at: { x: 1 },
    kind: 'a',
    left: null,
    // @ts-expect-error a wrong type
    percent: '1'
  }
})
accept<EventOf<Omit<Events, 'plain'>>>({
  event: 'zod',
  data: {
    tags: [],
    at: { x: 1 },
    kind: 'a',
    left: null,
    // @ts-expect-error a wrong type
    percent: '1'
  }
})
accept<EventOf<Omit<Events, 'plain'>>>({
  event: 'valibot',
  data: {
    tags: [],
    at: { x: 1 },
    kind: 'a',
    left: null,
    // @ts-expect-error a wrong type
    percent: '1'
  }
})
accept<EventOf<Omit<Events, 'plain'>>>({
  event: 'arktype',
  data: {
    tags: [],
    at: { x: 1 },
    kind: 'a',
    left: null,
    // @ts-expect-error a wrong type
    percent: '1'
  }
})
accept<EventOf<Omit<Events, 'plain'>>>({
  event: 'json',
  data: {
    tags: [],
    at: { x: 1 },
    kind: 'a',
    left: null,
    // @ts-expect-error a wrong type
    percent: '1'
  }
})

// Routes, without a type provider.

const app = Fastify()
app.register(sse)

app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(async function * () {
  yield { event: 'sinclair', data }
  yield { event: 'typebox', data: { percent: 1, tags: [], at: { x: 1 }, kind: 'b', left: 1 }, id: 1 }
  yield { event: 'zod', data: { percent: 1, tags: [], at: { x: 1 }, kind: 'b', left: 1 } }
  yield { event: 'valibot', data: { percent: 1, tags: [], at: { x: 1 }, kind: 'b', left: 1 } }
  yield { event: 'arktype', data: { percent: 1, tags: [], at: { x: 1 }, kind: 'b', left: 1 } }
  yield { event: 'json', data: { percent: 1, tags: [], at: { x: 1 }, kind: 'b', left: 1 } }
  yield { event: 'plain', data: { any: 'thing' } }
}))
app.get('/', { schema: { sse: events } }, (_request, reply) => {
  // @ts-expect-error TypeBox 0.34
  reply.sse([{ event: 'sinclair', data: { ...data, percent: '1' } }])
  // @ts-expect-error TypeBox 1.x
  reply.sse([{ event: 'typebox', data: { ...data, percent: '1' } }])
  // @ts-expect-error Zod
  reply.sse([{ event: 'zod', data: { ...data, percent: '1' } }])
  // @ts-expect-error Valibot
  reply.sse([{ event: 'valibot', data: { ...data, percent: '1' } }])
  // @ts-expect-error ArkType
  reply.sse([{ event: 'arktype', data: { ...data, percent: '1' } }])
  // @ts-expect-error JSON Schema
  reply.sse([{ event: 'json', data: { ...data, percent: '1' } }])
  // @ts-expect-error no such event
  reply.sse([{ event: 'plane', data }])
  return reply.sse([{ event: 'plain', data: { ...data, percent: '1' } }])
})
// A JSON Schema that is written in the route has its literal types.
app.get('/', { schema: { sse: { tick: { type: 'object', properties: { n: { type: 'integer' } } } } } },
  (_request, reply) => {
    // @ts-expect-error a wrong field
    reply.sse([{ event: 'tick', data: { m: 1 } }])
    return reply.sse([{ event: 'tick', data: { n: 1 } }])
  })

// Channels, subscriptions and queues.

const channel = app.sse.channel('all', { events })
channel.publish({ event: 'sinclair', data })
channel.publish({ event: 'typebox', data })
channel.publish({ event: 'zod', data })
channel.publish({ event: 'valibot', data })
channel.publish({ event: 'arktype', data })
channel.publish({ event: 'json', data })
channel.publish({ event: 'plain', data: 1 })
// @ts-expect-error TypeBox 0.34
channel.publish({ event: 'sinclair', data: { ...data, percent: '1' } })
// @ts-expect-error TypeBox 1.x
channel.publish({ event: 'typebox', data: { ...data, percent: '1' } })
// @ts-expect-error Zod
channel.publish({ event: 'zod', data: { ...data, percent: '1' } })
// @ts-expect-error Valibot
channel.publish({ event: 'valibot', data: { ...data, percent: '1' } })
// @ts-expect-error ArkType
channel.publish({ event: 'arktype', data: { ...data, percent: '1' } })
// @ts-expect-error JSON Schema
channel.publish({ event: 'json', data: { ...data, percent: '1' } })
app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(channel))

const queue = new EventQueue<Events>()
queue.push({ event: 'sinclair', data })
queue.push({ event: 'typebox', data })
queue.push({ event: 'zod', data })
queue.push({ event: 'valibot', data })
queue.push({ event: 'arktype', data })
queue.push({ event: 'json', data })
// @ts-expect-error TypeBox 0.34
queue.push({ event: 'sinclair', data: { ...data, percent: '1' } })
// @ts-expect-error TypeBox 1.x
queue.push({ event: 'typebox', data: { ...data, percent: '1' } })
// @ts-expect-error Zod
queue.push({ event: 'zod', data: { ...data, percent: '1' } })
// @ts-expect-error Valibot
queue.push({ event: 'valibot', data: { ...data, percent: '1' } })
// @ts-expect-error ArkType
queue.push({ event: 'arktype', data: { ...data, percent: '1' } })
// @ts-expect-error JSON Schema
queue.push({ event: 'json', data: { ...data, percent: '1' } })

// Received events: a loop, the client, and a test.

export async function receive (): Promise<void> {
  for await (const event of channel.subscribe()) received(event)
  for await (const event of connect('/', { events })) received(event)
  const stream = await injectStream(app, { url: '/', events })
  for (const event of await stream.takeAll()) received(event)
}

function received (event: ClientEventOf<Events> | { event: 'error', data: unknown }): void {
  if (event.event === 'plain' || event.event === 'error') assertType<Equal<typeof event.data, unknown>>()
  else if (event.event !== 'sse.gap' && event.event !== 'sse.reset') {
    accept<Item>(event.data)
    // @ts-expect-error no such field
    accept(event.data.percnt)
  }
}

// Encodings.

const texts = {
  sinclair: Sinclair.Literal('a'),
  typebox: Type.Union([Type.Literal('a'), Type.Literal('b')]),
  zod: z.enum(['a', 'b']),
  valibot: toStandardJsonSchema(v.string()),
  arktype: type('string'),
  json: { type: 'string' } as const,
  plain: { type: 'string' },
  number: z.number(),
  nullable: { type: 'string', nullable: true } as const
}
assertType<Equal<EncodingsOf<typeof texts>, {
  readonly sinclair: 'text'
  readonly typebox: 'text'
  readonly zod: 'text'
  readonly valibot: 'text'
  readonly arktype: 'text'
  readonly json: 'text'
  readonly plain: 'text' | 'json'
  readonly number: 'json'
  readonly nullable: 'json'
}>>()

// Typed events.

const event = typed(events)
accept<EventOf<Events>>(event.sinclair(data), event.typebox(data), event.zod(data), event.valibot(data),
  event.arktype(data), event.json(data), event.plain(data))
// @ts-expect-error TypeBox 0.34
event.sinclair({ ...data, percent: '1' })
// @ts-expect-error TypeBox 1.x
event.typebox({ ...data, percent: '1' })
// @ts-expect-error Zod
event.zod({ ...data, percent: '1' })
// @ts-expect-error Valibot
event.valibot({ ...data, percent: '1' })
// @ts-expect-error ArkType
event.arktype({ ...data, percent: '1' })
// @ts-expect-error JSON Schema
event.json({ ...data, percent: '1' })

// The keywords of JSON Schema, which TypeBox 1.x has too.

type Json<S> = DataOf<S>
assertType<Equal<Json<{ const: 5 }>, 5>>()
assertType<Equal<Json<{ enum: readonly ['a', 1, null] }>, 'a' | 1 | null>>()
assertType<Equal<Json<{ type: 'boolean' }>, boolean>>()
assertType<Equal<Json<{ type: 'null' }>, null>>()
assertType<Equal<Json<{ type: readonly ['string', 'integer'], nullable: true }>, string | number | null>>()
assertType<Equal<Json<{ type: 'string', nullable: false }>, string>>()
assertType<Equal<Json<{ oneOf: readonly [{ type: 'string' }, { type: 'number' }] }>, string | number>>()
assertType<Equal<Json<{ anyOf: readonly [{ const: 1 }, { type: 'array', items: { const: 2 } }] }>, 1 | Array<2>>>()
assertType<Equal<Json<{
  allOf: readonly [
    { type: 'object', properties: { a: { type: 'string' } }, required: readonly ['a'] },
    { type: 'object', properties: { b: { type: 'string' } }, required: readonly ['b'] }
  ]
}>, { a: string } & { b: string }>>()
assertType<Equal<Json<{ type: 'array' }>, unknown[]>>()
assertType<Equal<Json<{ type: 'array', items: readonly [{ type: 'string' }, { type: 'null' }] }>, [string, null]>>()
assertType<Equal<Json<{ type: 'array', prefixItems: readonly [{ type: 'string' }], items: false }>, [string]>>()
assertType<Equal<Json<{ type: 'array', prefixItems: readonly [{ type: 'string' }], items: { type: 'null' } }>,
  [string, ...null[]]>>()
assertType<Equal<Json<{ type: 'array', prefixItems: readonly [{ type: 'string' }] }>, [string, ...unknown[]]>>()
assertType<Equal<Json<{ type: 'object' }>, object>>()
assertType<Equal<Json<{ properties: { a: { type: 'string' } } }>, { a?: string }>>()
assertType<Equal<Json<{ type: 'object', additionalProperties: { type: 'string' } }>, Record<string, string>>>()
assertType<Equal<Json<{ type: 'object', additionalProperties: true }>, Record<string, unknown>>>()
assertType<Equal<Json<{ type: 'object', properties: {}, additionalProperties: false }>, object>>()
assertType<Equal<Json<{ type: 'object', patternProperties: { '^a': { type: 'null' } } }>, Record<string, null>>>()
assertType<Equal<Json<{ type: 'object', properties: { a: { type: 'null' } }, additionalProperties: true }>,
  { a?: null } & Record<string, unknown>>>()
assertType<Equal<Json<{}>, unknown>>()
assertType<Equal<Json<{ $ref: 'shared' }>, unknown>>()
assertType<Equal<Json<{ type: 'object', properties: { a: true, b: { $ref: 'shared' } }, required: readonly ['a', 'b'] }>,
  { a: unknown, b: unknown }>>()
assertType<Equal<Json<{ type: string }>, unknown>>()
assertType<Equal<Json<Record<string, unknown>>, unknown>>()

export const shapes = {
  record: Type.Record(Type.String(), Type.Number()),
  tuple: Type.Tuple([Type.String(), Type.Number()]),
  both: Type.Intersect([Type.Object({ a: Type.String() }), Type.Object({ b: Type.Optional(Type.Null()) })]),
  own: Type.Unsafe<Date | 'never'>({ type: 'string' }),
  names: Type.Enum(['a', 'b']),
  nested: Type.Array(Type.Object({ a: Type.Optional(Type.Array(Type.Boolean())) }))
}
assertType<Equal<DataOf<typeof shapes.record>, Record<string, number>>>()
assertType<Equal<DataOf<typeof shapes.tuple>, [string, number]>>()
assertType<Equal<DataOf<typeof shapes.both>, { a: string } & { b?: null }>>()
assertType<Equal<DataOf<typeof shapes.own>, Date | 'never'>>()
assertType<Equal<DataOf<typeof shapes.names>, 'a' | 'b'>>()
assertType<Equal<DataOf<typeof shapes.nested>, Array<{ a?: boolean[] }>>>()

// A map consists of schemas.

const map = (given: EventMap): EventMap => given
map(events)
map(texts)
map({ any: Sinclair.Any(), other: Type.Any(), length: z.string().length(5), free: {} })
map({ length: { type: 'object', properties: { length: { type: 'string' } } } })
map({
  valid: z.string(),
  // @ts-expect-error a text
  text: 'text'
})
map({
  valid: Type.String(),
  // @ts-expect-error a number
  number: 5
})
map({
  valid: { type: 'string' },
  // @ts-expect-error a function that is no schema
  made: () => z.string()
})
map({
  // @ts-expect-error a function that makes a schema
  zod: z.string,
  // @ts-expect-error a list
  list: [Sinclair.String()],
  // @ts-expect-error null
  none: null
})
// @ts-expect-error no map
map([z.string()])
