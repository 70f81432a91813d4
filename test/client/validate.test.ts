import { FormatRegistry, Kind, Type, TypeRegistry, type TSchema } from '@sinclair/typebox'
import t from 'tap'
import { Type as Type1 } from 'typebox'
import { z } from 'zod'
import { validate } from '../../lib/client/validate.ts'

/** A row of a table: a schema, valid values, and invalid values with their faults. */
type Row = [title: string, schema: TSchema, fitting: unknown[], others: Array<[value: unknown, fault: string]>]

const S = Type.String()
const N = Type.Number()

// Its type is infinite, and not needed here.
const words: Record<string, TSchema> = {
  At: Type.String({ format: 'date-time' }),
  Note: Type.Object({ at: Type.Ref('At'), text: Type.String({ maxLength: 2 }) }),
  Light: Type.Unsafe({ type: 'string', enum: ['on', 'off'] }),
  Lamp: Type.Object({ light: Type.Ref('Light'), watts: N }),
  List: Type.Object({ next: Type.Optional(Type.Ref('List')) })
}
const Words = Type.Module(words)
const Tree: TSchema = Type.Recursive((This: TSchema): TSchema =>
  Type.Object({ name: Type.String({ format: 'hostname' }), children: Type.Array(This) })
)

t.test('C1: valid data has no fault, and invalid data returns its first fault and the path', async t => {
  const rows: Row[] = [
    ['a string', S, ['', 'x'], [[5, "Expected string at '/'"]]],
    ['an object', Type.Object({ a: N, b: Type.Optional(S) }), [{ a: 1 }, { a: 1, b: '', c: [] }], [[{},
      "Expected required property at '/a'"], [{ a: 1, b: null }, "Expected string at '/b'"]]],
    ['a union', Type.Union([Type.Literal('a'), N]), ['a', 2], [['b', "Expected union value at '/'"]]],
    ['a tuple', Type.Tuple([N, S]), [[1, 'x']], [[[1], "Expected tuple to have 2 elements at '/'"]]],
    ['an intersection', Type.Intersect([Type.Object({ a: S }), Type.Object({ b: S })]), [{ a: '', b: '' }], [[{ a: '' },
      "Expected required property at '/b'"]]],
    ['a recursive type', Tree, [{ name: 'a', children: [{ name: 'b', children: [] }] }], [[{
      name: 'a',
      children: [{ name: 5, children: [] }]
    }, "Expected string at '/children/0/name'"]]],
    ['a module', Words.Import('List'), [{}, { next: { next: {} } }], [[{ next: { next: 5 } },
      "Expected object at '/next/next'"]]],
    ['a schema of a module within an object', Type.Object({ list: Words.Import('List') }), [{ list: {} }], [[{
      list: 5
    }, "Expected object at '/list'"]]]
  ]
  for (const [title, schema, fitting, others] of rows) {
    for (const value of fitting) t.equal(validate(schema, value), undefined, `${title}: ${JSON.stringify(value)}`)
    for (const [value, fault] of others) t.equal(validate(schema, value), fault, `${title}: ${JSON.stringify(value)}`)
  }
})

t.test('C1: only the formats that TypeBox knows are checked', async t => {
  const Even = Type.Object({ digits: Type.String({ format: 'even' }) })
  t.equal(validate(Even, { digits: '123' }), undefined, 'the format is unknown')
  t.equal(validate(Words.Import('Note'), { at: 'any time', text: 'hi' }), undefined, 'nor in a module')

  FormatRegistry.Set('odd', text => text.length % 2 === 1)
  t.teardown(() => FormatRegistry.Delete('odd'))
  const Odd = Type.Object({ digits: Type.String({ format: 'odd' }) })
  t.equal(validate(Odd, { digits: '123' }), undefined)
  t.equal(validate(Odd, { digits: '12' }), "Expected string to match 'odd' format at '/digits'")
})

t.test('C1: beside an unknown format the rest of a schema is checked', async t => {
  t.equal(validate(Type.String({ format: 'unheard-of', maxLength: 2 }), 'abc'),
    "Expected string length less or equal to 2 at '/'")
  t.equal(validate(Words.Import('Note'), { at: 'any time', text: 'long' }),
    "Expected string length less or equal to 2 at '/text'")
})

t.test('C1: types without a check in TypeBox are skipped, and the types around them are checked', async t => {
  const Foreign = Type.Unsafe<string>({ [Kind]: 'Foreign', type: 'string' })
  const parts: Array<[string, TSchema]> = [
    ['an unsafe type', Type.Unsafe({ type: 'string', enum: ['a'] })],
    ['plain JSON Schema', { type: 'string' } as unknown as TSchema],
    ['a schema that the server has', Type.Ref('Elsewhere')],
    ['a type of the user, without its check', Foreign]
  ]
  for (const [title, part] of parts) {
    const schema = Type.Object({ part, n: N })
    t.equal(validate(schema, { part: 5, n: 1 }), undefined, title)
    t.equal(validate(schema, { part: 5, n: '1' }), "Expected number at '/n'", title)
  }
  t.equal(validate(Words.Import('Lamp'), { light: 'dim', watts: 5 }), undefined, 'an unsafe type in a module')
  t.equal(validate(Words.Import('Lamp'), { light: 'on' }), "Expected required property at '/watts'",
    'beside an unsafe type in a module')
})

t.test('C1: a type of the user is checked if its check is registered', async t => {
  TypeRegistry.Set('Shout', (_schema, value) => typeof value === 'string' && value === value.toUpperCase())
  t.teardown(() => TypeRegistry.Delete('Shout'))
  const Shout = Type.Object({ text: Type.Unsafe<string>({ [Kind]: 'Shout' }) })
  t.equal(validate(Shout, { text: 'HEY' }), undefined)
  t.match(validate(Shout, { text: 'hey' }), /at '\/text'$/)
})

t.test('a schema is not modified, and is prepared once', async t => {
  const schema = Type.Object({ at: Type.String({ format: 'unheard-of' }) })
  Object.freeze(schema)
  Object.freeze(schema.properties.at)
  validate(schema, {})
  t.equal(schema.properties.at.format, 'unheard-of')
  let looks = 0
  const watched = new Proxy(schema, {
    ownKeys (target) {
      looks++
      return Reflect.ownKeys(target)
    }
  })
  validate(watched, { at: '' })
  t.ok(looks > 0)
  const before = looks
  validate(watched, { at: '' })
  t.equal(looks, before)
})

t.test('C1: Standard Schemas are checked by their library; schemas of other kinds are left to the server', async t => {
  t.match(validate(z.object({ n: z.number() }), { n: '' }), / at '\/n'$/)
  t.equal(validate(z.object({ n: z.number() }), { n: 1 }), undefined)
  for (const schema of [Type1.String(), { type: 'string' }]) t.equal(validate(schema, 5), undefined)
})
