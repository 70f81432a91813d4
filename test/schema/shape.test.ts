import t from 'tap'
import type { SchemaNode } from '../../lib/schema/json-schema.ts'
import {
  admits, assertJsonTypes, flatten, declaresNothing, toShape, findTag,
  type Shape
} from '../../lib/schema/shape.ts'
import { Subschema } from '../../lib/schema/subschema.ts'

const of = (schema: unknown): Subschema =>
  Subschema.fromRoot(schema as SchemaNode, {
    shared: { Loop: { allOf: [{ $ref: 'Loop' }, { type: 'object' }] } },
    isAjvSchema: () => true
  })
const parts = (schema: unknown): Subschema[] => flatten([of(schema)])
const shape = (schema: unknown): Shape => toShape(parts(schema))

t.test('a shape includes the targets of references and the members of intersections', async t => {
  t.equal(parts({ allOf: [{ allOf: [{}] }, true], $ref: '#/allOf/0' }).length, 4)
  t.equal(parts({ $ref: 'Loop' }).length, 4, 'also of a circular reference')
  const { names, required, others, closed, items } = shape({
    allOf: [{ properties: { a: {} }, required: ['a'] }, {
      properties: { a: {}, b: {} },
      patternProperties: { '^x': {} },
      additionalProperties: false,
      items: {}
    }]
  })
  t.strictSame([...names].map(([name, schemas]) => [name, schemas.length]), [['a', 2], ['b', 1]])
  t.strictSame([...required], ['a'])
  t.strictSame(others.map(({ pattern }) => pattern), ['^x'])
  t.ok(closed)
  t.strictSame([{ if: {} }, { if: {}, then: {} }, { if: {}, else: {} }].map(schema => shape(schema).conditions.length),
    [0, 1, 1])
  t.equal(items.length, 1)
})

t.test('declaresNothing() detects a schema that declares no contents', async t => {
  for (const bare of [{}, true, { not: {} }, { required: ['a'] }, { minItems: 1 }, { type: 'array' }, { enum: [{}] }]) {
    t.ok(declaresNothing(shape(bare)), JSON.stringify(bare))
  }
  for (const not of [{ type: 'object' }, { type: 'string' }, { properties: {} }, { additionalProperties: true }, {
    items: {}
  }, { items: true }, { anyOf: [] }, { if: {}, then: {} }, { type: 'array', enum: [[]] }]) {
    t.notOk(declaresNothing(shape(not)), JSON.stringify(not))
  }
})

t.test('admits() detects whether an object or an array can match', async t => {
  const rows: Array<[schema: unknown, object: boolean, array: boolean]> = [
    [{}, true, true],
    [true, true, true],
    [{ type: 'object' }, true, false],
    [{ type: ['array', 'null'] }, false, true],
    [{ type: 'string' }, false, false],
    [{ const: 1 }, false, false],
    [{ enum: [1, {}] }, true, false],
    [{ const: [] }, false, true],
    [{ anyOf: [{ type: 'string' }, { type: 'object' }] }, true, false],
    [{ allOf: [{ type: 'object' }, { type: 'string' }] }, false, false],
    [{ oneOf: [{ type: 'null' }, { $ref: '#' }] }, true, true]
  ]
  for (const [schema, object, array] of rows) {
    t.strictSame([admits(parts(schema), 'object'), admits(parts(schema), 'array')], [object, array],
      JSON.stringify(schema))
  }
})

t.test('a type without a JSON form is rejected, with an alternative', async t => {
  for (const fits of [{ type: ['string', 'null', 'object', 'array'] }, {}, true, { type: 'RegExp' }]) {
    t.doesNotThrow(() => assertJsonTypes(of(fits)))
  }
  t.throws(() => assertJsonTypes(of({ type: 'void' })), {
    message: "schema is invalid: at '/' the type 'void' has no form in JSON: declare Type.Optional(…) or Type.Null()"
  })
  t.throws(() => assertJsonTypes(of({ type: 'constructor' })), { message: /leave it out/ })
})

t.test('findTag() finds a property that each branch requires with another constant', async t => {
  const branch = (value: unknown, required = ['kind']): object => ({
    type: 'object',
    properties: { a: {}, kind: { const: value } },
    required
  })
  const tags = (...branches: object[]): unknown => findTag(branches.map(of))
  t.strictSame(tags(branch('a'), branch(null), branch(1), branch(true)), { name: 'kind', values: ['a', null, 1, true] })
  t.strictSame(tags({ allOf: [branch('a'), {}] }, branch('b')), { name: 'kind', values: ['a', 'b'] })
  const untagged = [[branch('a'), branch('a')], [branch('a'), branch('b', [])], [branch('a'), branch({})], [branch('a'),
    branch(NaN)], [branch('a'), {}], [{}, branch('a')], []]
  for (const branches of untagged) t.equal(tags(...branches), undefined, JSON.stringify(branches))
  const inherited = (value: string): object => ({
    properties: { constructor: { const: value } },
    required: ['constructor']
  })
  t.equal(tags(inherited('a'), inherited('b')), undefined)
})
