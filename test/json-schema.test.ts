import t from 'tap'
import { isNode, mapSchema, withEveryKey, writable, type Node } from '../lib/json-schema.ts'

const write = (schema: Node, shared: Record<string, unknown> = {}): Node => writable(schema, shared).schema
const object = (...names: string[]): Node => ({ type: 'object', properties: Object.fromEntries(names.map(name => [name, { type: 'string' }])) })
const exact = (...names: string[]): Node => ({ ...object(...names), additionalProperties: false })

t.test('a node is an object, not a list', async t => {
  t.ok(isNode({}))
  for (const value of [null, undefined, true, 'a', []]) t.notOk(isNode(value))
})

t.test('a change reaches each schema inside a schema once, the innermost first', async t => {
  const seen: unknown[] = []
  const name = (n: number): Node => ({ n })
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
  t.match(copy, { seen: true, properties: { a: { n: 1, seen: true }, not: true }, items: [{ n: 6, seen: true }, true], else: { seen: true } })
  t.equal(JSON.stringify(schema), before, 'the schema itself stays as it was')
})

t.test('inside of a whole schema nothing changes', async t => {
  const change = (node: Node): Node => ({ ...node, seen: true })
  t.strictSame(mapSchema({ items: { whole: true, items: {} } }, change, node => node.whole === true), { items: { whole: true, items: {}, seen: true }, seen: true })
})

t.test('C1: a union tries each branch without room for more first, then the one that declares most', async t => {
  t.strictSame(write({ anyOf: [object('a'), { type: 'null' }, object('a', 'b')] }), { anyOf: [exact('a', 'b'), exact('a'), object('a', 'b'), object('a'), { type: 'null' }] })
  const z = object('z')
  t.strictSame(write({ oneOf: [object('a'), true, z] }), { oneOf: [exact('a'), exact('z'), object('a'), z] }, 'a branch that is no schema declares nothing')
  t.strictSame(write({ anyOf: [{ type: 'array', items: object('a') }, z] }).anyOf, [{ type: 'array', items: exact('a') }, exact('z'), { type: 'array', items: object('a') }, z], 'at any depth')
  t.strictSame(write({ anyOf: [{ ...object('a'), $id: 'A' }, z] }).anyOf, [exact('a'), exact('z'), { ...object('a'), $id: 'A' }, z], 'with no second schema of the same id')
})

t.test('a union in which one branch alone declares anything has no copies: a chain of nullable objects stays as small as it is', async t => {
  let chain: Node = { type: 'null' }
  for (let depth = 0; depth < 20; depth++) chain = { anyOf: [{ type: 'object', properties: { next: chain } }, { type: 'null' }] }
  t.equal(JSON.stringify(write(chain)).length, JSON.stringify(chain).length)
})

t.test('C1: no default is filled in', async t => {
  t.strictSame(write({ type: 'object', properties: { a: { type: 'string', default: 'x' }, default: { type: 'null' } } }), { type: 'object', properties: { a: { type: 'string' }, default: { type: 'null' } } })
})

t.test('C1: what admits any property declares most', async t => {
  const some = object('a', 'b')
  const open = [{ type: 'object', additionalProperties: true }, { type: 'object', additionalProperties: { type: 'string' } }, { type: 'object', patternProperties: { '^x': { type: 'string' } } }, {}, { not: { type: 'string' } }]
  for (const branch of open) t.strictSame((write({ anyOf: [some, branch] }).anyOf as unknown[]).slice(2), [branch, some], JSON.stringify(branch))
})

t.test('C1: an intersection is closed as a whole, or not at all', async t => {
  const both = { type: 'object', allOf: [object('a'), { ...object('b'), $id: 'B' }] }
  t.strictSame((write({ anyOf: [both, object('z')] }).anyOf as unknown[])[0], {
    allOf: [{ type: 'object', allOf: [object('a'), object('b')] }], type: 'object', properties: { a: {}, b: {} }, additionalProperties: false
  })
  for (const part of [{ $ref: 'X' }, { type: 'object', additionalProperties: true }, { anyOf: [object('a')] }, true]) {
    const [first] = write({ anyOf: [{ type: 'object', allOf: [object('a'), part] }, object('z')] }).anyOf as Node[]
    t.notOk(Object.hasOwn(first!, 'additionalProperties'), JSON.stringify(part))
  }
})

t.test('C1: a reference declares what it refers to, by any way and also in a circle', async t => {
  const shared = { Rich: object('a', 'b', 'c'), Loop: { ...object('a', 'b'), properties: { next: { $ref: 'Loop#' }, a: {} } } }
  t.strictSame((write({ anyOf: [object('a', 'b'), { $ref: 'Rich#' }] }, shared).anyOf as unknown[]).at(-2), { $ref: 'Rich#' })
  t.strictSame((write({ anyOf: [{ $ref: 'Missing' }, object('a')] }, shared).anyOf as unknown[]).at(-1), { $ref: 'Missing' })
  t.strictSame((write({ $defs: { R: { $id: 'R', ...object('a', 'b') } }, anyOf: [object('a'), { $ref: 'R' }] }).anyOf as unknown[]).at(-2), { $ref: 'R' })
  t.equal((write({ anyOf: [object('a'), { $ref: 'Loop' }] }, shared).anyOf as unknown[]).length, 4)
  t.strictSame(writable({}, { U: { anyOf: [object('a'), object('b')] } }).shared, { U: { anyOf: [exact('a'), exact('b'), object('a'), object('b')] } }, 'shared schemas are made ready too')
})

t.test('an item of a tuple has a type', async t => {
  const items = write({ type: 'array', items: [{ type: 'string' }, { anyOf: [{ type: 'null' }, {}] }, { $ref: 'A' }, {}, true] }).items as Node[]
  const all = ['null', 'boolean', 'integer', 'number', 'array', 'object', 'string']
  const anything = { type: all, anyOf: all.map(type => type === 'object' ? { type, additionalProperties: true } : { type }) }
  t.strictSame(items[0], { type: 'string' })
  t.strictSame(items[1]!.type, all)
  t.strictSame((items[1]!.anyOf as Node[]).filter(branch => Array.isArray(branch.type))[0], anything)
  t.strictSame(items[2], { type: all, anyOf: [{ $ref: 'A' }] })
  t.strictSame(items[3], anything)
  t.strictSame(items[4], true)
})

t.test('a record means any key where it says so, those with a line end too', async t => {
  const record = (pattern: string): Node => ({ type: 'object', patternProperties: { [pattern]: { type: 'string' } } })
  t.strictSame(withEveryKey({ items: record('^(.*)$') }), { items: record('^[^]*$') })
  for (const schema of [record('^x'), {}]) t.strictSame(withEveryKey(schema), schema)
  t.ok(['', 'a', 'a\nb', '\u2028'].every(key => /^[^]*$/.test(key)))
})
