import t from 'tap'
import {
  definedNames, hasChoice, isSchemaNode, mapSchema, withEveryKey, toWriterSchema, type SchemaNode
} from '../../lib/schema/json-schema.ts'

const write = (schema: SchemaNode, shared: Record<string, unknown> = {}): SchemaNode =>
  toWriterSchema(schema, shared).schema
const object = (...names: string[]): SchemaNode => ({
  type: 'object',
  properties: Object.fromEntries(names.map(name => [name, { type: 'string' }]))
})

t.test('a node is an object, not a list', async t => {
  t.ok(isSchemaNode({}))
  for (const value of [null, undefined, true, 'a', []]) t.notOk(isSchemaNode(value))
})

t.test('a schema has a choice if it has a union or a condition at any depth', async t => {
  for (const choice of [{ anyOf: [] }, { oneOf: [] }, { if: {} }]) {
    t.ok(hasChoice(choice))
    t.ok(hasChoice({ $defs: { a: { type: 'array', items: { allOf: [choice, {}] } } } }))
  }
  t.notOk(hasChoice({ properties: { anyOf: object('oneOf') } }))
})

t.test('mapSchema() changes each subschema once, the innermost first', async t => {
  const seen: unknown[] = []
  const name = (n: number): SchemaNode => ({ n })
  const schema = {
    n: 0,
    properties: { a: name(1), not: true },
    patternProperties: { a: name(2) },
    $defs: { a: name(3) },
    definitions: { a: { n: 4, items: name(5) } },
    items: [name(6), true],
    anyOf: [name(7)],
    oneOf: [name(8)],
    allOf: [name(9)],
    additionalProperties: name(10),
    not: name(11),
    contains: name(12),
    additionalItems: name(13),
    unevaluatedProperties: name(14),
    if: name(15),
    then: name(16),
    else: name(17),
    default: { items: name(99) },
    const: { items: name(99) },
    enum: [name(99)]
  }
  const before = JSON.stringify(schema)
  const copy = mapSchema(schema, node => {
    seen.push(node.n)
    return { ...node, seen: true }
  })
  t.strictSame([...seen].sort((a, b) => Number(a) - Number(b)), [...Array(18).keys()])
  t.equal(seen.at(-1), 0)
  t.ok(seen.indexOf(5) < seen.indexOf(4))
  t.match(copy, {
    seen: true,
    properties: { a: { n: 1, seen: true }, not: true },
    items: [{ n: 6, seen: true }, true],
    else: { seen: true }
  })
  t.equal(JSON.stringify(schema), before, 'the schema itself is not changed')
})

t.test('mapSchema() changes no subschema of a whole schema', async t => {
  const change = (node: SchemaNode): SchemaNode => ({ ...node, seen: true })
  t.strictSame(mapSchema({ items: { whole: true, items: {} } }, change, node => node.whole === true), {
    items: { whole: true, items: {}, seen: true },
    seen: true
  })
})

t.test('C1: no default is filled in', async t => {
  t.strictSame(
    write({ type: 'object', properties: { a: { type: 'string', default: 'x' }, default: { type: 'null' } } }),
    { type: 'object', properties: { a: { type: 'string' }, default: { type: 'null' } } }
  )
})

t.test('a union is written unchanged: the extractor has selected its branches', async t => {
  const choices: SchemaNode[] = [{ anyOf: [object('a'), object('b')] }, { oneOf: [object('a')] }, {
    if: {},
    then: object('a')
  }, { type: ['object', 'null'] }, { type: ['array', 'string'] }]
  for (const choice of choices) {
    t.strictSame(write(choice), {})
    t.strictSame(write({ ...choice, $id: 'A', $defs: { B: object('b') } }), { $id: 'A', $defs: { B: object('b') } })
    t.strictSame(write({ type: 'object', properties: { c: choice, s: { type: 'string' } } }), {
      type: 'object',
      properties: { c: {}, s: { type: 'string' } }
    })
    t.strictSame(toWriterSchema({}, { C: choice }).shared, { C: {} }, 'shared schemas are converted too')
  }
  t.strictSame(write({ type: ['string', 'null'] }), { type: ['string', 'null'] })
  t.strictSame(write({ type: 'RegExp', source: 'x', flags: '' }), { type: 'string' })
})

t.test('only an intersection of plain objects is joined', async t => {
  const joined = { allOf: [object('a'), object('b')] }
  t.strictSame(write(joined), joined)
  const others: unknown[] = [{ $ref: 'X' }, joined, { type: 'object', anyOf: [object('a')] }, { type: 'string' }, true,
    object('constructor')]
  for (const part of others) t.strictSame(write({ allOf: [object('a'), part] }), {}, JSON.stringify(part))
  t.strictSame(write({ allOf: [object('a'), { type: 'object' }] }), { allOf: [object('a'), { type: 'object' }] })
})

t.test('a tuple is written item by item if each item has one type and none is an object', async t => {
  const tuple = { type: 'array', items: [{ type: 'string' }, { type: 'array', items: {} }] }
  t.strictSame(write(tuple), tuple)
  for (const item of [object('a'), {}, { $ref: 'A' }, true, { anyOf: [] }]) {
    t.strictSame(write({ type: 'array', items: [{ type: 'string' }, item] }), {})
  }
})

t.test('a record admits any key, also a key with a line end', async t => {
  const record = (pattern: string): SchemaNode => ({
    type: 'object',
    patternProperties: { [pattern]: { type: 'string' } }
  })
  t.strictSame(withEveryKey({ items: record('^(.*)$') }), { items: record('^[^]*$') })
  for (const schema of [record('^x'), {}]) t.strictSame(withEveryKey(schema), schema)
  t.ok(['', 'a', 'a\nb', '\u2028'].every(key => /^[^]*$/.test(key)))
})

t.test('a copy keeps the marks of TypeBox 1.x, and hides them from Ajv', async t => {
  const marked = Object.defineProperty({ type: 'string', '~refine': [] }, '~kind', { value: 'String' })
  const copy = mapSchema({ type: 'array', items: marked }, node => node)
  const { items } = copy as { items: SchemaNode }
  t.strictSame(Object.keys(items), ['type'])
  t.equal(items['~kind'], 'String')
  t.strictSame(items['~refine'], [])
})

t.test('both patterns of Type.Record match any key', async t => {
  for (const pattern of ['^(.*)$', '^.*$']) {
    const { patternProperties } = withEveryKey({ patternProperties: { '^x': {}, [pattern]: { type: 'string' } } })
    const [, every] = Object.keys(patternProperties as object)
    t.match('a\nb', new RegExp(every!))
  }
})

t.test('the names of the definitions, at any depth', async t => {
  t.strictSame([...definedNames({ $defs: { a: { $defs: { b: {} } } }, items: { $defs: { c: {} } } })].sort(), ['a', 'b', 'c'])
})
