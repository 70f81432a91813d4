import swagger from '@fastify/swagger'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import Fastify from 'fastify'
import t from 'tap'
import { Type } from 'typebox'
import * as v from 'valibot'
import { z } from 'zod'
import type { EventMap } from '../../lib/contract/event-types.ts'
import { sseTransform } from '../../lib/openapi.ts'
import { withJsonSchema } from '../../lib/schema/vendor.ts'
import { faultsOf, readerOf, type Json } from '../setup/document.ts'
import { MAPS } from '../setup/map-kinds.ts'

/** Returns the OpenAPI document of routes with these maps, by their URL. The transform reads the maps alone. */
async function documentOf (maps: Record<string, EventMap>, version = '3.2.0'): Promise<Json> {
  const app = Fastify()
  const info = { title: 'Test', version: '1' }
  await app.register(swagger, {
    ...(version === '2.0' ? { swagger: { info } } : { openapi: { openapi: version, info } }),
    transform: sseTransform
  })
  for (const [url, sse] of Object.entries(maps)) app.get(url, { schema: { sse } }, async () => '')
  await app.ready()
  const document = JSON.parse(JSON.stringify(app.swagger())) as Json
  await app.close()
  return document
}

const schemasOf = (document: Json): Json => document.components!.schemas as Json
/** The names of the components that hold the application's schemas. */
const namesOf = (document: Json): string[] => Object.keys(schemasOf(document)).filter(name => !/^sse|event/.test(name))

const CASES: Array<[event: { event: string, data: string }, fits: boolean]> = [
  [{ event: 'note', data: 'any text' }, true],
  [{ event: 'level', data: 'low' }, true],
  [{ event: 'level', data: 'none' }, false],
  [{ event: 'order', data: '{"id":1,"lines":["a"]}' }, true],
  [{ event: 'order', data: '{"id":1.5,"lines":["a"]}' }, false],
  [{ event: 'order', data: '{"id":1}' }, false],
  [{ event: 'order', data: 'text' }, false]
]

t.test('maps of all kinds describe the same events', async t => {
  for (const version of ['3.2.0', '3.1.0', '3.0.3', '2.0']) {
    const maps = Object.fromEntries(Object.values(MAPS).map((map, i) => [`/kind${i}`, map]))
    t.same(await faultsOf(await documentOf(maps, version)), [], `the document is valid: ${version}`)
  }
  for (const [kind, map] of Object.entries(MAPS)) {
    const document = await documentOf({ '/kind': map })
    const fits = readerOf(document, schemasOf(document)['kind-event'] as Json)
    for (const [event, expected] of CASES) t.equal(fits(event), expected, `${kind}: ${JSON.stringify(event)}`)
    t.match(JSON.stringify((await documentOf({ '/kind': map }, '2.0')).paths),
      '- `note` (text)\\n- `level` (text)\\n- `order` (JSON)', kind)
  }
})

t.test('a map may mix all kinds', async t => {
  const mixed = Object.fromEntries(Object.values(MAPS).map(({ order }, i) => [`order${i}`, order]))
  const document = await documentOf({ '/mixed': mixed })
  t.same(await faultsOf(document), [])
  const fits = readerOf(document, schemasOf(document)['mixed-event'] as Json)
  for (const event of Object.keys(mixed)) {
    t.ok(fits({ event, data: '{"id":1,"lines":[]}' }), event)
    t.notOk(fits({ event, data: '{"id":1,"lines":[1]}' }), event)
  }
})

const Line = z.object({ sku: z.string() }).meta({ id: 'Line', title: 'A line', description: 'A line of an order' })
const Person = z.object({ name: z.string(), get friends () { return z.array(Person) } })
interface Valibot { name: string, friends: Valibot[] }
const ValibotPerson: v.GenericSchema<Valibot> = v.object({
  name: v.string(),
  friends: v.array(v.lazy(() => ValibotPerson))
})
const { person: ArkPerson } = type.module({ person: { name: 'string', friends: 'person[]' } })
const { Person: BoxPerson } = Type.Module({
  Person: Type.Object({ name: Type.String(), friends: Type.Array(Type.Ref('Person')) }, { description: 'A person' })
})
const PERSONS: Record<string, EventMap> = {
  Zod: { person: Person },
  'Zod with a name': { person: z.object({ name: z.string(), get friends () { return z.array(Person) } }).meta({ id: 'Person' }) },
  Valibot: { person: toStandardJsonSchema(ValibotPerson) },
  ArkType: { person: ArkPerson },
  'TypeBox 1.x': { person: BoxPerson },
  'JSON Schema': {
    person: {
      $ref: '#/definitions/person',
      definitions: {
        person: {
          type: 'object',
          required: ['name', 'friends'],
          properties: { name: { type: 'string' }, friends: { type: 'array', items: { $ref: '#/definitions/person' } } }
        }
      }
    }
  }
}

t.test('recursive types of all kinds become components with a telling name', async t => {
  const good = { name: 'a', friends: [{ name: 'b', friends: [] }] }
  const bad = { name: 'a', friends: [{ name: 'b', friends: [{ name: 5, friends: [] }] }] }
  for (const [kind, map] of Object.entries(PERSONS)) {
    const document = await documentOf({ '/persons': map, '/again': map })
    const fits = readerOf(document, schemasOf(document)['persons-event'] as Json)
    t.ok(fits({ event: 'person', data: JSON.stringify(good) }), kind)
    t.notOk(fits({ event: 'person', data: JSON.stringify(bad) }), kind)
    t.notMatch(namesOf(document).join(), /[2-9]|\d\d/, `${kind}: ${namesOf(document).join()}`)
    t.match(namesOf(document)[0], /^person$/i, kind)
  }
  const all = Object.fromEntries(Object.values(PERSONS).map((map, i) => [`/persons${i}`, map]))
  t.same(await faultsOf(await documentOf(all)), [])
})

t.test('Zod: named schemas are components, with title and description', async t => {
  const document = await documentOf({
    '/orders': {
      created: z.object({ first: Line, rest: z.array(Line) }).describe('A new order'),
      line: Line,
      named: z.string().meta({ id: 'Name', description: 'A name' }),
      counts: z.record(z.enum(['a', 'b']).meta({ id: 'Letter' }), z.number()),
      pair: z.tuple([Line, z.number()]).nullable()
    }
  })
  t.same(await faultsOf(document), [])
  t.strictSame(namesOf(document).sort(), ['Letter', 'Line', 'Name'])
  t.match(schemasOf(document).Line, { title: 'A line', description: 'A line of an order', required: ['sku'] })
  const { oneOf } = schemasOf(document)['orders-event'] as unknown as { oneOf: Array<Record<string, unknown>> }
  t.match(oneOf.slice(0, 3), [{ title: 'created', description: 'A new order' }, {
    title: 'line',
    description: 'A line of an order'
  }, { title: 'named', description: 'A name' }])
  const fits = readerOf(document, schemasOf(document)['orders-event'] as Json)
  const data = (value: unknown): string => JSON.stringify(value)
  t.ok(fits({ event: 'created', data: data({ first: { sku: 'a' }, rest: [{ sku: 'b' }] }) }))
  t.notOk(fits({ event: 'created', data: data({ first: { sku: 'a' }, rest: [{ sku: 5 }] }) }))
  t.ok(fits({ event: 'named', data: 'plain text' }))
  t.ok(fits({ event: 'counts', data: data({ a: 1, b: 2 }) }))
  t.notOk(fits({ event: 'counts', data: data({ c: 1 }) }))
  t.ok(fits({ event: 'pair', data: data([{ sku: 'a' }, 1]) }))
  t.ok(fits({ event: 'pair', data: 'null' }))
  t.notOk(fits({ event: 'pair', data: data([{ sku: 'a' }, 'b']) }))
})

t.test('titles and descriptions of the other kinds', async t => {
  const maps: Record<string, EventMap> = {
    Valibot: {
      note: toStandardJsonSchema(v.pipe(v.string(), v.description('A note'))),
      order: toStandardJsonSchema(v.pipe(v.object({ id: v.number() }), v.title('Order'), v.description('An order')))
    },
    ArkType: {
      note: type('string').describe('A note'),
      order: type({ id: 'number' }).configure({ title: 'Order', description: 'An order' })
    },
    'TypeBox 1.x': {
      note: Type.String({ description: 'A note' }),
      order: Type.Object({ id: Type.Number() }, { title: 'Order', description: 'An order' })
    },
    'JSON Schema': {
      note: { type: 'string', description: 'A note' },
      order: { type: 'object', title: 'Order', description: 'An order', required: ['id'], properties: { id: { type: 'number' } } }
    },
    'Standard Schema with a JSON Schema': {
      note: withJsonSchema(v.string(), { type: 'string', description: 'A note' }),
      order: withJsonSchema(v.object({ id: v.number() }), { type: 'object', title: 'Order', description: 'An order' })
    }
  }
  for (const [kind, map] of Object.entries(maps)) {
    const document = await documentOf({ '/orders': map })
    t.match(schemasOf(document)['orders-event'], {
      oneOf: [
        { title: 'note', description: 'A note', properties: { data: { type: 'string', description: 'A note' } } },
        { title: 'order', description: 'An order', properties: { data: { contentSchema: { title: 'Order' } } } }
      ]
    }, kind)
    t.match(JSON.stringify(await documentOf({ '/orders': map }, '3.0.3')), '- `note` (text): A note\\n- `order` (JSON): An order')
  }
})

t.test('TypeBox 1.x: a member of a module, a reference, a record and a tuple', async t => {
  const Types = Type.Module({
    A: Type.Object({ b: Type.Optional(Type.Ref('B')) }),
    B: Type.Object({ a: Type.Optional(Type.Ref('A')) })
  })
  const document = await documentOf({
    '/types': {
      member: Types.A,
      inside: Type.Object({ a: Types.A }),
      cyclic: Type.Cyclic({ Tree: Type.Object({ kids: Type.Array(Type.Ref('Tree')) }) }, 'Tree'),
      record: Type.Record(Type.String(), Type.Tuple([Type.String(), Type.Number()])),
      missing: Type.Ref('Elsewhere'),
      person: BoxPerson
    }
  })
  t.same(await faultsOf(document), [])
  const { oneOf } = schemasOf(document)['types-event'] as unknown as { oneOf: Json[] }
  t.match(oneOf.find(({ title }) => String(title) === 'person'), { description: 'A person' })
  t.strictSame(namesOf(document).sort(), ['A', 'B', 'Person', 'Tree'])
  const fits = readerOf(document, schemasOf(document)['types-event'] as Json)
  const cases: Array<[event: string, data: unknown, fits: boolean]> = [
    ['member', { b: { a: { b: {} } } }, true],
    ['member', { b: { a: { b: 5 } } }, false],
    ['inside', { a: { b: {} } }, true],
    ['inside', { a: { b: { a: 5 } } }, false],
    ['cyclic', { kids: [{ kids: [] }] }, true],
    ['cyclic', { kids: [{}] }, false],
    ['record', { 'a key\nof two lines': ['a', 1] }, true],
    ['record', { 'a key\nof two lines': ['a', 'b'] }, false],
    ['record', { a: ['a', 1, 2] }, false]
  ]
  for (const [event, data, expected] of cases) {
    t.equal(fits({ event, data: JSON.stringify(data) }), expected, `${event}: ${JSON.stringify(data)}`)
  }
})

t.test('events share the components of types that refer to each other', async t => {
  const Parent: z.ZodType = z.object({ get child () { return Child.optional() } }).meta({ id: 'Parent' })
  const Child: z.ZodType = z.object({ get parent () { return Parent.optional() } }).meta({ id: 'Child' })
  const Types = Type.Module({
    Parent: Type.Object({ child: Type.Optional(Type.Ref('Child')) }),
    Child: Type.Object({ parent: Type.Optional(Type.Ref('Parent')) })
  })
  for (const map of [
    { parent: Parent, child: Child, both: z.object({ parent: Parent, child: Child }) },
    { parent: Types.Parent, child: Types.Child, both: Type.Object({ parent: Types.Parent, child: Types.Child }) }
  ]) t.strictSame(namesOf(await documentOf({ '/family': map, '/again': map })), ['Parent', 'Child'])
})

t.test('definitions of two events with one name and different contents get different components', async t => {
  const document = await documentOf({
    '/names': {
      a: { $ref: '#/definitions/Part', definitions: { Part: { type: 'object', required: ['a'] } } },
      b: { $ref: '#/definitions/Part', definitions: { Part: { type: 'object', required: ['b'] } } },
      c: { $ref: '#/definitions/Part', definitions: { Part: { type: 'object', required: ['a'] } } }
    }
  })
  t.strictSame(namesOf(document), ['Part', 'Part-1'])
  const fits = readerOf(document, schemasOf(document)['names-event'] as Json)
  t.ok(fits({ event: 'c', data: '{"a":1}' }))
  t.notOk(fits({ event: 'b', data: '{"a":1}' }))
})
