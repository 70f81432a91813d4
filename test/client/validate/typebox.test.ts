import { Type as Type034 } from '@sinclair/typebox'
import t from 'tap'
import { Type, type TSchema } from 'typebox'
import { z } from 'zod'
import { validate } from '../../../lib/client/validate/typebox.ts'

/** A row of a table: a schema, valid values, and invalid values with their faults. */
type Row = [title: string, schema: TSchema, fitting: unknown[], others: Array<[value: unknown, fault: string]>]

const { List } = Type.Module({ List: Type.Object({ value: Type.Integer(), next: Type.Optional(Type.Ref('List')) }) })

t.test('C1: valid data has no fault, and invalid data returns its first fault and the path', async t => {
  const rows: Row[] = [
    ['a string', Type.String(), ['', 'x'], [[5, "must be string at '/'"]]],
    ['an object', Type.Object({ a: Type.Number(), b: Type.Optional(Type.String()) }), [{ a: 1 }, { a: 1, c: 1 }], [
      [{}, "must have required properties a at '/'"], [{ a: 1, b: null }, "must be string at '/b'"]
    ]],
    ['a closed object', Type.Object({ a: Type.Number() }, { additionalProperties: false }), [{ a: 1 }], [
      [{ a: 1, 'b/c': 1 }, "must not have additional properties at '/b~1c'"]
    ]],
    ['a union', Type.Object({ u: Type.Union([Type.Literal('a'), Type.Object({ n: Type.Number() })]) }), [{ u: 'a' }], [
      [{ u: { n: '' } }, "must match a schema in anyOf at '/u'"]
    ]],
    ['a union within a union', Type.Union([Type.Null(), Type.Union([Type.String(), Type.Number()])]), [null, '', 1], [
      [true, "must match a schema in anyOf at '/'"]
    ]],
    ['an intersection', Type.Intersect([Type.Object({ a: Type.String() }), Type.Object({ b: Type.String() })]), [
      { a: '', b: '' }
    ], [[{ a: '' }, "must have required properties b at '/'"]]],
    ['a tuple', Type.Tuple([Type.Number(), Type.String()]), [[1, '']], [[[1, 2], "must be string at '/1'"]]],
    ['a member of a module', List, [{ value: 1, next: { value: 2 } }], [
      [{ value: 1, next: { value: 'x' } }, "must be integer at '/next/value'"]
    ]],
    ['a member of a module in an object', Type.Object({ list: List }), [{ list: { value: 1 } }], [
      [{ list: { value: 1, next: {} } }, "must have required properties value at '/list/next'"]
    ]],
    ['a refinement', Type.Object({ n: Type.Refine(Type.Number(), n => n % 2 === 0, () => 'must be even') }), [{ n: 2 }], [
      [{ n: 1 }, "must be even at '/n'"]
    ]],
    ['a refined unsafe type', Type.Refine(Type.Unsafe<string>({ minLength: 9 }), text => text !== 'b', () => 'is b'), [
      'a'
    ], [['b', "is b at '/'"]]]
  ]
  for (const [title, schema, fitting, others] of rows) {
    for (const value of fitting) t.equal(validate(schema, value), undefined, `${title}: ${JSON.stringify(value)}`)
    for (const [value, fault] of others) t.equal(validate(schema, value), fault, `${title}: ${JSON.stringify(value)}`)
  }
})

t.test('C1: formats, unsafe types and schemas that the server has are skipped, and the rest is checked', async t => {
  for (const format of ['date-time', 'unheard-of']) {
    t.equal(validate(Type.String({ format, maxLength: 2 }), 'ab'), undefined)
    t.equal(validate(Type.String({ format, maxLength: 2 }), 'abc'), "must not have more than 2 characters at '/'")
  }
  const Unsafe = Type.Object({ u: Type.Unsafe<string | null>({ type: 'string', nullable: true }), n: Type.Number() })
  t.equal(validate(Unsafe, { u: null, n: 1 }), undefined)
  t.equal(validate(Unsafe, { u: null, n: '' }), "must be number at '/n'")
  const Elsewhere = Type.Object({ part: Type.Ref('Elsewhere'), n: Type.Number() })
  t.equal(validate(Elsewhere, { part: 5, n: 1 }), undefined)
  t.equal(validate(Elsewhere, { part: 5, n: '' }), "must be number at '/n'")
})

t.test('C1: Standard Schemas are checked, too; others are left to the server', async t => {
  t.match(validate(z.string(), 5), /expected string/)
  for (const schema of [Type034.String(), { type: 'string' }, undefined]) t.equal(validate(schema, 5), undefined)
})

t.test('a schema is not modified', async t => {
  const schema = Type.Object({ at: Object.freeze(Type.String({ format: 'date' })) })
  Object.freeze(schema)
  t.equal(validate(schema, { at: '' }), undefined)
  t.match(schema.properties.at, { format: 'date' })
  t.equal(validate(schema, {}), "must have required properties at at '/'")
})
