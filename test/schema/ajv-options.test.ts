import { FormatRegistry, Type, type TSchema } from '@sinclair/typebox'
import { AjvCompiler } from '@fastify/ajv-compiler'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t from 'tap'
import { readAjvOptions } from '../../lib/schema/ajv-options.ts'
import sse from '../../lib/server/plugin.ts'

const plate = /^[A-Z]{3}$/
const car = {
  $id: 'car',
  type: 'object',
  required: ['plate'],
  properties: { plate: { type: 'string', format: 'plate' } }
}

/** An app whose event refers to a shared schema; returns a function that sends a value. */
async function appOf (
  options: FastifyServerOptions,
  schema: TSchema = Type.Unsafe(Type.Ref('car')),
  prepare: (app: FastifyInstance) => void = () => {}
): Promise<(data: unknown) => Promise<string>> {
  const app = Fastify(options)
  t.teardown(() => app.close())
  prepare(app)
  await app.register(sse)
  await app.register(async inner => {
    inner.addSchema(car)
    inner.post<{ Body: unknown }>('/sse', { schema: { sse: { e: schema } } },
      (request, reply) => reply.sse([{ event: 'e', data: request.body as never }]))
  })
  await app.ready()
  return async data => {
    const { statusCode, body, json } = await app.inject({
      method: 'POST',
      url: '/sse',
      payload: JSON.stringify(data),
      headers: { 'content-type': 'application/json' }
    })
    return statusCode === 200 ? body : (json() as { code: string }).code
  }
}

t.test('C1: formats, keywords and plugins of the app have the same meaning in events and in requests', async t => {
  const ways: Array<[way: string, options: FastifyServerOptions]> = [
    ['formats', { ajv: { customOptions: { formats: { plate } } } }],
    ['a plugin', {
      ajv: {
        plugins: [(ajv: { addFormat: (name: string, format: RegExp) => void }) => {
          ajv.addFormat('plate', plate)
        }] as never
      }
    }],
    ['onCreate', {
      ajv: {
        onCreate: ajv => {
          ajv.addFormat('plate', plate)
        }
      }
    }]
  ]
  for (const [way, options] of ways) {
    for (const schema of [undefined, Type.Object({ plate: Type.String({ format: 'plate' }) }),
      Type.Union([Type.Unsafe(Type.Ref('car')), Type.Object({ n: Type.Integer() })])]) {
      const send = await appOf(options, schema)
      t.equal(await send({ plate: 'ABC', secret: 1 }), 'event: e\ndata: {"plate":"ABC"}\n\n', way)
      t.equal(await send({ plate: 'abc' }), 'FST_SSE_DATA', way)
    }
  }
  const keyword = await appOf({
    ajv: {
      customOptions: {
        formats: { plate },
        keywords: [{ keyword: 'even', type: 'number', validate: (_: unknown, n: number) => n % 2 === 0 }] as never
      }
    }
  }, Type.Object({ n: Type.Unsafe({ type: 'number', even: true }) }))
  t.equal(await keyword({ n: 2 }), 'event: e\ndata: {"n":2}\n\n')
  t.equal(await keyword({ n: 3 }), 'FST_SSE_DATA')
})

t.test('C1: two apps of one process may define the same name differently', async t => {
  const schema = Type.Object({ plate: Type.String({ format: 'plate' }) })
  const one = await appOf({ ajv: { customOptions: { formats: { plate } } } }, schema)
  const two = await appOf({ ajv: { customOptions: { formats: { plate: /^\d+$/ } } } }, schema)
  t.equal(await one({ plate: 'ABC' }), 'event: e\ndata: {"plate":"ABC"}\n\n')
  t.equal(await two({ plate: 'ABC' }), 'FST_SSE_DATA')
  t.equal(await two({ plate: '12' }), 'event: e\ndata: {"plate":"12"}\n\n')
})

t.test('C1: a format that the program registered in TypeBox keeps its meaning in an app with Ajv options', async t => {
  FormatRegistry.Set('ticket', value => value === 'T1')
  t.teardown(() => FormatRegistry.Delete('ticket'))
  const send = await appOf({ ajv: { customOptions: { formats: { plate } } } },
    Type.Object({ ticket: Type.String({ format: 'ticket' }) }))
  t.equal(await send({ ticket: 'T1' }), 'event: e\ndata: {"ticket":"T1"}\n\n')
  t.equal(await send({ ticket: 'T2' }), 'FST_SSE_DATA')
})

t.test('C1: an event is checked strictly, even if the options allow Ajv to change values', async t => {
  const send = await appOf({
    ajv: { customOptions: { formats: { plate }, coerceTypes: 'array', useDefaults: true, removeAdditional: 'all' } }
  },
  Type.Unsafe({
    type: 'object',
    required: ['n'],
    additionalProperties: false,
    properties: { n: { type: 'integer', default: 1 } }
  }))
  for (const data of [{ n: '1' }, {}, { n: 1, m: 2 }]) t.equal(await send(data), 'FST_SSE_DATA')
  t.equal(await send({ n: 1 }), 'event: e\ndata: {"n":1}\n\n')
})

t.test('an app with its own validator compiler starts, with any options', async t => {
  const build = (): ReturnType<ReturnType<typeof AjvCompiler>> => AjvCompiler()({}, { customOptions: {} })
  const own = await appOf({ ajv: { customOptions: { formats: { plate } } } }, undefined, app => {
    app.setValidatorCompiler(build())
  })
  t.equal(await own({ plate: 'ABC' }), 'event: e\ndata: {"plate":"ABC"}\n\n')
  const controller = await appOf({
    ajv: { customOptions: { formats: { plate } } },
    schemaController: { compilersFactory: { buildValidator: build as never } }
  })
  t.equal(await controller({ plate: 'abc' }), 'FST_SSE_DATA')
  const jtd = await appOf({ ajv: { mode: 'JTD' } as never }, Type.Object({ n: Type.Integer() }))
  t.equal(await jtd({ n: 1 }), 'event: e\ndata: {"n":1}\n\n')
})

t.test('a Fastify without its options symbol has no Ajv options', async t => {
  t.strictSame(readAjvOptions({} as FastifyInstance), {})
})
