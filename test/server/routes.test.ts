import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { Type } from '@sinclair/typebox'
import { type } from 'arktype'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import Type1 from 'typebox'
import * as v from 'valibot'
import { z } from 'zod'
import sse, { type EventMap } from '../../lib/index.ts'

t.test('a route is counted by its declared method and path, for any URL', async t => {
  const app = Fastify()
  await app.register(sse)
  app.get('/jobs/:id', { schema: { sse: { done: Type.Integer() } } },
    (_request, reply) => reply.sse([{ event: 'done', data: 1 }]))
  app.post('/jobs', (_request, reply) => reply.sse([]))
  app.setNotFoundHandler((_request, reply) => reply.sse([{ data: 'nothing here' }]))
  for (const url of ['/jobs/1', '/jobs/2?verbose']) await app.inject(url)
  await app.inject({ method: 'HEAD', url: '/jobs/3' })
  await app.inject({ method: 'POST', url: '/jobs' })
  for (const url of ['/a', '/b']) await app.inject(url)
  const { routes } = app.sse.stats()
  t.strictSame(Object.entries(routes).map(([name, { opened, events }]) => [name, opened, events]), [['GET /jobs/:id', 2,
    2], ['POST /jobs', 1, 0], ['GET *', 2, 2]])
})

t.test('each registration counts its own routes', async t => {
  const app = Fastify()
  for (const prefix of ['/one', '/two']) {
    await app.register(async scope => {
      await scope.register(sse)
      scope.get('/', (_request, reply) => reply.sse([{ data: prefix }]))
      scope.get('/stats', async () => Object.keys(scope.sse.stats().routes))
    }, { prefix })
  }
  await app.inject('/one')
  t.same((await app.inject('/one/stats')).json(), ['GET /one'])
  t.same((await app.inject('/two/stats')).json(), [])
})

t.test('C3: a map that was declared before the plugin is compiled at its first use, and fails there', async t => {
  const app = Fastify()
  app.get('/good', { schema: { sse: { tick: Type.Integer() } } as object },
    (_request, reply) => reply.sse([{ event: 'tick', data: 'no' }] as never))
  app.get('/bad', { schema: { sse: { tick: 5 } } as object }, (_request, reply) => reply.sse([]))
  await app.register(sse)
  for (let n = 0; n < 2; n++) {
    t.match((await app.inject('/good')).json(), { code: 'FST_SSE_DATA' })
    t.match((await app.inject('/bad')).json(), { statusCode: 500, code: /FST_SSE_(SCHEMA|MAP)/ })
  }
})

/** One event of each kind of schema: an object with an integer `n` and an optional text. */
const kinds = {
  sinclair: Type.Object({ n: Type.Integer(), text: Type.Optional(Type.String()) }),
  typebox: Type1.Object({ n: Type1.Integer(), text: Type1.Optional(Type1.String()) }),
  json: { type: 'object', properties: { n: { type: 'integer' }, text: { type: 'string' } }, required: ['n'] },
  zod: z.object({ n: z.int(), text: z.string().optional() }),
  valibot: toStandardJsonSchema(v.object({ n: v.pipe(v.number(), v.integer()), text: v.optional(v.string()) })),
  arktype: type({ n: 'number.integer', 'text?': 'string' })
} as unknown as EventMap

t.test('C1: one map holds schemas of all kinds, in a route and in a channel that is made right after the plugin', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  const channel = app.sse.channel('kinds', { events: kinds })
  const events = Object.keys(kinds).map(event => ({ event, data: { n: 1, text: 'x', secret: true } }))
  app.get('/', { schema: { sse: kinds } }, (_request, reply) => reply.sse(events as never))
  app.get('/channel', { schema: { sse: kinds } }, (_request, reply) => reply.sse(channel as never))
  for (const event of events) await channel.publish(event as never)
  const { epoch } = await channel.position()
  await channel.end()

  const frames = events.map(({ event }) => `event: ${event}\ndata: {"n":1,"text":"x"}\n\n`).join('')
  t.equal((await app.inject('/')).body, frames)
  const { body } = await app.inject({ url: '/channel', headers: { 'last-event-id': `${epoch}-0` } })
  t.equal(body.match(/^data: .+$/gm)?.filter(line => line === 'data: {"n":1,"text":"x"}').length, 6)
  t.equal((await app.inject({ method: 'HEAD', url: '/' })).statusCode, 200)

  for (const event of Object.keys(kinds)) {
    for (const data of [{ n: 1.5 }, { text: 'x' }, { n: 1, text: 2 }, null, 'x', undefined]) {
      await t.rejects(async () => channel.publish({ event, data } as never), { code: /^FST_SSE_(DATA|CHANNEL_ENDED)$/ })
    }
  }
})

const unusable: Array<[what: string, schema: unknown, message: string]> = [
  ['a type without a form in JSON, of TypeBox 1.x', Type1.Object({ at: Type1.BigInt() }),
    "(typebox) cannot be compiled: schema is invalid: at '/at' the type 'bigint' has no form in JSON: declare Type.String(), and send String(value)"],
  ['a codec', Type1.Codec(Type1.String()).Decode(Number).Encode(String),
    '(typebox) cannot be compiled: Type.Codec changes the data: declare the data as sent'],
  ['a reference without a target', Type1.Object({ by: Type1.Ref('Missing') }), '(typebox) cannot be compiled: Cannot find reference "Missing"'],
  ['an unknown format', Type1.String({ format: 'no-such-format' }),
    '(typebox) cannot be compiled: unknown format "no-such-format" ignored in schema at path "#": remove it, or add it to Ajv\'s formats in Fastify({ ajv })'],
  ['an unknown keyword', { type: 'string', colour: 'red' },
    '(JSON Schema) cannot be compiled: strict mode: unknown keyword: "colour": remove it, or add it to Ajv\'s keywords in Fastify({ ajv })'],
  ['a schema of Zod inside', { type: 'object', properties: { a: z.string() } },
    '(JSON Schema) cannot be compiled: a schema of zod is inside another schema: make the whole schema with zod'],
  ['a date of Zod', z.object({ at: z.date() }),
    '(zod) cannot be compiled: Date cannot be represented in JSON Schema: declare the data as sent, or add a JSON Schema with withJsonSchema()'],
  ['a default of Zod', z.object({ a: z.string().default('x') }),
    '(zod) cannot be compiled: the schema changes its data, for example by a transform or a default: declare the data as sent'],
  ['Valibot without JSON Schema', v.object({ a: v.string() }),
    '(valibot) cannot be compiled: valibot gives no JSON Schema: add it with withJsonSchema(schema, jsonSchema), or with toStandardJsonSchema(schema) of @valibot/to-json-schema'],
  ['an async schema of Valibot', toStandardJsonSchema(v.objectAsync({ a: v.string() }) as never),
    '(valibot) cannot be compiled: the schema is async: make it sync, because an event is checked before it is sent'],
  ['a morph of ArkType', type('string.numeric.parse'),
    '(arktype) cannot be compiled: the schema changes its data, for example by a transform or a default: declare the data as sent'],
  ['a hostile schema', new Proxy({}, { has () { throw new Error('mine') } }), '(unknown) cannot be compiled: mine']
]
for (const [what, schema, message] of unusable) {
  t.test(`C3: ${what} fails the start with the route, the event, the vendor, the reason and a way out`, async t => {
    const app = Fastify()
    await app.register(sse)
    app.get('/orders', { schema: { sse: { fine: Type.Null(), paid: schema } as EventMap } }, (_request, reply) => reply.sse([]))
    await t.rejects(async () => app.ready(), { code: 'FST_SSE_SCHEMA', message: `GET /orders: the schema of event 'paid' ${message}` })
  })
}

/** Returns the answer of a route with one event. */
async function answer (app: FastifyInstance, schema: unknown, data: unknown): Promise<string> {
  const url = `/${Math.random()}`
  app.get(url, { schema: { sse: { message: schema } as EventMap } },
    (_request, reply) => reply.sse([{ data }] as never))
  const { body, statusCode } = await app.inject(url)
  return statusCode === 200 ? body : JSON.parse(body).code as string
}

t.test('C1: each scope has its own shared schemas, for TypeBox 1.x and JSON Schema', async t => {
  for (const schema of [{ $ref: 'Item#' }, { type: 'object', properties: { item: { $ref: 'Item' } } }, Type1.Object({ item: Type1.Ref('Item') })]) {
    for (const [own, expected] of [['integer', 'data: 1'], ['string', 'FST_SSE_DATA']] as const) {
      const app = Fastify()
      await app.register(sse)
      const data = '$ref' in schema ? { id: 1, secret: 2 } : { item: { id: 1, secret: 2 } }
      await app.register(async scope => {
        scope.addSchema({ $id: 'Item', type: 'object', properties: { id: { type: own } }, required: ['id'] })
        scope.get('/', { schema: { sse: { message: schema } as unknown as EventMap } }, (_request, reply) => reply.sse([{ data }] as never))
      })
      const { body } = await app.inject('/')
      if (own === 'integer') t.equal(body, `data: ${'$ref' in schema ? '{"id":1}' : '{"item":{"id":1}}'}\n\n`)
      else t.match(body, expected)
    }
  }
})

t.test('C1: two apps of one process may define a format differently, for all kinds that Ajv knows', async t => {
  const schemas = [Type.String({ format: 'parity' }), Type1.String({ format: 'parity' }), { type: 'string', format: 'parity' }]
  for (const rest of [0, 1]) {
    for (const schema of schemas) {
      const make = async (): Promise<FastifyInstance> => {
        const parity = (text: string): boolean => text.length % 2 === rest
        const app = Fastify({ ajv: { customOptions: { formats: { parity } } } })
        await app.register(sse)
        return app
      }
      t.equal(await answer(await make(), schema, 'x'), rest === 1 ? 'data: x\n\n' : 'FST_SSE_DATA')
      t.equal(await answer(await make(), schema, 'xx'), rest === 0 ? 'data: xx\n\n' : 'FST_SSE_DATA')
    }
  }
})

t.test('C1: hostile data is checked as a snapshot, by all kinds', async t => {
  for (const schema of Object.values(kinds)) {
    const app = Fastify()
    await app.register(sse)
    let reads = 0
    t.equal(await answer(app, schema, undefined), 'FST_SSE_DATA')
    const fickle = Object.defineProperty({ text: 'x' }, 'n', { get: () => reads++ === 0 ? 1 : 'secret' })
    const other = Fastify()
    await other.register(sse)
    t.equal(await answer(other, schema, fickle), 'data: {"n":1,"text":"x"}\n\n')
    for (const [data, expected] of [
      [JSON.parse('{"n":1,"__proto__":{"text":"secret"}}'), 'data: {"n":1}\n\n'],
      [Object.create({ n: 1 }), 'data: {"n":1}\n\n'],
      [{ n: 1n }, 'FST_SSE_DATA'],
      [{ n: 1, toJSON: () => ({ n: 2, secret: 1 }) }, 'data: {"n":2}\n\n'],
      [new Proxy({ n: 1 }, {}), 'data: {"n":1}\n\n'],
      [new Proxy({}, { get () { throw new Error('mine') } }), 'FST_SSE_SERIALIZE']
    ] as Array<[unknown, string]>) {
      const app = Fastify()
      await app.register(sse)
      t.equal(await answer(app, schema, data), expected)
    }
  }
})
