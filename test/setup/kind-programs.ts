import type { Package } from './project.ts'

/** How a program writes an event map with one kind of schema. */
export interface Kind {
  packages: readonly Package[]
  imports: string
  /** The schema of `{ n: integer }`. */
  tick: string
  /** The schema of a text. */
  note: string
  /** What the program registers its routes at, if not a plain app. */
  provider?: string
}

const TYPEBOX = { tick: 'Type.Object({ n: Type.Integer() })', note: 'Type.String()' }

export const KINDS: Readonly<Record<string, Kind>> = {
  '@sinclair/typebox 0.34': {
    ...TYPEBOX,
    packages: ['@sinclair/typebox'],
    imports: "import { Type } from '@sinclair/typebox'"
  },
  'type provider 5': {
    ...TYPEBOX,
    packages: ['@sinclair/typebox', ['type-provider', '@fastify/type-provider-typebox']],
    imports: "import { Type, type TypeBoxTypeProvider } from 'type-provider'",
    provider: '.withTypeProvider<TypeBoxTypeProvider>()'
  },
  'typebox 1.x': { ...TYPEBOX, packages: ['typebox'], imports: "import { Type } from 'typebox'" },
  'type provider 6': {
    ...TYPEBOX,
    packages: ['typebox', 'type-provider-typebox-6'],
    imports: "import { Type, type TypeBoxTypeProvider } from 'type-provider-typebox-6'",
    provider: '.withTypeProvider<TypeBoxTypeProvider>()'
  },
  'JSON Schema': {
    packages: [],
    imports: '',
    tick: "{ type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] } as const",
    note: "{ type: 'string' } as const"
  },
  Zod: {
    packages: ['zod'],
    imports: "import { z } from 'zod'",
    tick: 'z.object({ n: z.int() })',
    note: 'z.string()'
  },
  Valibot: {
    packages: ['valibot', '@valibot/to-json-schema'],
    imports: "import { toStandardJsonSchema } from '@valibot/to-json-schema'\nimport * as v from 'valibot'",
    tick: 'toStandardJsonSchema(v.object({ n: v.pipe(v.number(), v.integer()) }))',
    note: 'toStandardJsonSchema(v.string())'
  },
  ArkType: {
    packages: ['arktype'],
    imports: "import { type } from 'arktype'",
    tick: "type({ n: 'number.integer' })",
    note: "type('string')"
  }
}

/** Returns the packages of all these kinds, each once. */
export const packagesOf = (kinds: readonly Kind[]): Package[] =>
  [...new Map(kinds.flatMap(kind => kind.packages).map(name => [String(name), name])).values()]

/**
 * Returns a program with a route, a queue, a channel, a client and a test stream. Its events have one kind of schema.
 * It prints what the clients receive. The program is an ES module or CommonJS.
 */
export const kindProgram = ({ imports, tick, note, provider = '' }: Kind): string => `
${imports}
import Fastify from 'fastify'
import sse, { EventQueue, type EventOf, type PublishEventOf } from 'fastify-typed-sse'
import { connect } from 'fastify-typed-sse/client'
import { injectStream } from 'fastify-typed-sse/testing'

const events = { tick: ${tick}, note: ${note} }
const app = Fastify()${provider}

async function * ticks (): AsyncGenerator<EventOf<typeof events>> {
  const row = { n: 1, secret: 'undeclared' }
  yield { event: 'tick', data: row }
  yield { event: 'note', data: 'text' }
}

async function main () {
  await app.register(sse)
  const channel = app.sse.channel('ticks', { events })
  app.get('/generator', { schema: { sse: events } }, (_request, reply) => reply.sse(ticks(), { finite: true }))
  app.get('/inline', { schema: { sse: events } }, (_request, reply) => reply.sse(async function * () {
    yield { event: 'tick', data: { n: 2 } }
  }))
  app.get('/queue', { schema: { sse: events } }, (_request, reply) => {
    const queue = new EventQueue<typeof events>()
    queue.push({ event: 'tick', data: { n: 3 } })
    queue.end()
    return reply.sse(queue)
  })
  app.get('/channel', { schema: { sse: events } }, async (_request, reply) => reply.sse(channel))

  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  for await (const event of connect(url + '/generator', { events })) {
    console.log(event.event === 'tick' ? event.data.n.toFixed(1) : event.event === 'note' ? event.data.toUpperCase() : event)
  }
  for (const path of ['/generator', '/inline', '/queue']) {
    console.log((await (await fetch(url + path)).text()).trim())
  }
  const stream = await injectStream(app, { url: '/channel', events })
  const published: PublishEventOf<typeof events> = { event: 'tick', data: { n: 4 } }
  await channel.publish(published)
  const [first] = await stream.take(1)
  console.log(first?.event === 'tick' && first.data.n.toFixed(1))
  await stream.close()
  await app.close()
}

// Never called: each call has one fault.
export async function faults () {
  const channel = app.sse.channel('ticks', { events })
  // @ts-expect-error data of the wrong type
  await channel.publish({ event: 'tick', data: { n: 'one' } })
  // @ts-expect-error a name that the map does not have
  await channel.publish({ event: 'tock', data: { n: 1 } })
  // @ts-expect-error data of the wrong type
  new EventQueue<typeof events>().push({ event: 'note', data: 5 })
  for await (const event of connect('/', { events })) {
    // @ts-expect-error a field that the schema does not have
    if (event.event === 'tick') console.log(event.data.m)
  }
  app.get('/', { schema: { sse: events } }, (_request, reply) => {
    // @ts-expect-error data of the wrong type
    return reply.sse([{ event: 'tick', data: { n: 'one' } }])
  })
}

main().catch(error => {
  console.log(error)
  process.exit(1)
})
`

/** The output of each program. */
export const KIND_OUTPUT = `1.0
TEXT
event: tick
data: {"n":1}

event: note
data: text

event: sse.position
id: sse.end
data:
event: tick
data: {"n":2}
event: tick
data: {"n":3}
4.0
`
