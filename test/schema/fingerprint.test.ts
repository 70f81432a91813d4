import { Type } from '@sinclair/typebox'
import t from 'tap'
import { FAILURE, FREE, fingerprintSchema } from '../../lib/schema/fingerprint.ts'

const of = (schema: unknown, shared = {}): string => fingerprintSchema(schema, shared)

t.test('C5: a fingerprint is short and does not depend on the process', async t => {
  t.match(of(Type.String()), /^[\w-]{12}$/)
  t.equal(of({ type: 'object', properties: { name: { type: 'string' } } }), 'K3GW2FO6x86o')
  t.strictSame([FREE, FAILURE], ['free', 'failure'])
})

t.test('C5: the order of keys does not count, nor does a key with the value undefined', async t => {
  t.equal(of({ type: 'object', properties: { a: { type: 'string' }, b: {} } }),
    of({ properties: { b: {}, a: { type: 'string', title: undefined } }, type: 'object' }))
  t.not(of({ type: ['string', 'null'] }), of({ type: ['null', 'string'] }), 'the order of a list counts')
})

t.test('C5: schemas that check or serialize differently have different fingerprints', async t => {
  const all = [
    Type.String(),
    Type.Number(),
    Type.Unsafe({ type: 'string' }),
    Type.String({ format: 'date' }),
    Type.String({ format: 'date-time' }),
    Type.String({ maxLength: 1 }),
    Type.Literal('1'),
    Type.Literal(1),
    Type.Null(),
    Type.Object({ a: Type.String() }),
    Type.Object({ a: Type.Optional(Type.String()) }),
    Type.Object({ a: Type.String(), b: Type.String() }),
    Type.Array(Type.Object({ a: Type.String() })),
    Type.RegExp(/a/),
    Type.RegExp(/b/),
    { const: /a/ },
    { const: /b/ },
    { const: { a: [1] } },
    { const: { a: ['1'] } },
    { const: true },
    { const: 'true' }
  ].map(schema => of(schema))
  t.equal(new Set(all).size, all.length)
})

t.test('C5: shared schemas count if they are referred to, at any depth', async t => {
  const car = (name: object): object => ({ $id: 'car', properties: { name, owner: { $ref: 'owner#' } } })
  const shared = (name: object, owner: object, other: object = {}): object => ({
    car: car(name),
    owner: { $id: 'owner', properties: { owner, car: { $ref: 'car#/properties/name' } } },
    other
  })
  const [schema, text, number] = [{ $ref: 'car' }, { type: 'string' }, { type: 'number' }]
  const one = of(schema, shared(text, text))
  t.equal(of(schema, shared(text, text, number)), one)
  t.not(of(schema, shared(number, text)), one)
  t.not(of(schema, shared(text, number)), one)
  t.not(of(schema), one)
  t.equal(of(text, shared(text, text)), of(text))
})

t.test('C5: the numbers that TypeBox gives to recursive types do not count', async t => {
  const tree = (leaf = Type.String()): unknown => Type.Recursive(This => Type.Object({ leaf, nodes: Type.Array(This) }))
  t.equal(of(tree()), of(tree()))
  t.not(of(tree()), of(tree(Type.String({ maxLength: 1 }))))
  t.equal(of({ a: tree(), b: tree() }), of({ a: tree(), b: tree() }))
  t.not(of({ $ref: 'A' }), of({ $ref: 'B' }))
  t.not(of({ $ref: 'T1' }, { T1: { type: 'string' } }), of({ $ref: 'T1' }, { T1: { type: 'number' } }),
    'a shared schema may have the name of such a number')
})
