import { Type, type TSchema } from '@sinclair/typebox'
import t from 'tap'
import { isTextSchema } from '../../lib/schema/text-schema.ts'

/** JSON Schema, as `app.addSchema` keeps it: without the symbols of TypeBox. */
const plain = (schema: object): TSchema => JSON.parse(JSON.stringify(schema)) as TSchema

const S = Type.String()
const I = Type.Integer()
const A = Type.Object({ a: S })
const AB = Type.Object({ a: S, b: I })

t.test('W5: a schema is textual if it admits only strings', async t => {
  const words: Record<string, TSchema> = {
    Word: S,
    Again: Type.Ref('Word'),
    Pair: Type.Object({ a: Type.Ref('Word') }),
    Loop: Type.Union([S, Type.Ref('Loop')])
  }
  const Words = Type.Module(words)
  const shared = {
    Word: plain({ ...S, $id: 'Word' }),
    Size: plain({ ...I, $id: 'Size' }),
    Alias: { $id: 'Alias', $ref: 'Word#' }
  }
  const cases: Array<[string, object, boolean]> = [
    ['a string', S, true],
    ['a string with a format', Type.String({ format: 'uuid' }), true],
    ['a string literal', Type.Literal('[DONE]'), true],
    ['a union of string literals', Type.Union([Type.Literal('a'), Type.Literal('b')]), true],
    ['a union of unions of strings', Type.Union([Type.Union([S, Type.Literal('a')]), Type.Literal('b')]), true],
    ['a template literal', Type.TemplateLiteral([Type.Literal('a-'), Type.Number()]), true],
    ['an enum of strings', Type.Enum({ A: 'a', B: 'b' }), true],
    ['a key of', Type.KeyOf(AB), true],
    ['a transform of a string', Type.Transform(S).Decode(Number).Encode(String), true],
    ['an intersection with a string', Type.Intersect([S, Type.Unknown()]), true],
    ['an unsafe enum of strings', Type.Unsafe({ enum: ['a', 'b'] }), true],
    ['a string const', Type.Unsafe({ const: 'a' }), true],
    ['oneOf of strings', Type.Unsafe({ oneOf: [S, { const: 'a' }] }), true],
    ['a reference to a string', Type.Ref('Word'), true],
    ['a $ref to a string', Type.Unsafe({ $ref: 'Word#' }), true],
    ['a reference to a reference', Type.Ref('Alias'), true],
    ['an imported string', Words.Import('Word'), true],
    ['an imported reference', Words.Import('Again'), true],

    ['a number', Type.Number(), false],
    ['null or a string', Type.Union([S, Type.Null()]), false],
    ['a nullable string', Type.Unsafe({ type: 'string', nullable: true }), false],
    ['a nullable enum', Type.Unsafe({ type: 'string', enum: ['a', null], nullable: true }), false],
    ['a union of literals of two types', Type.Union([Type.Literal('a'), Type.Literal(1)]), false],
    ['an enum of two types', Type.Enum({ A: 'a', B: 1 }), false],
    ['an unsafe enum of two types', Type.Unsafe({ enum: ['a', null] }), false],
    ['an empty enum', Type.Unsafe({ enum: [] }), false],
    ['an object', A, false],
    ['an array of strings', Type.Array(S), false],
    ['a record of strings', Type.Record(S, S), false],
    ['anything', Type.Unknown(), false],
    ['anything but a string', Type.Not(S), false],
    ['nothing', Type.Never(), false],
    ['an empty union', Type.Unsafe({ anyOf: [] }), false],
    ['an intersection of objects', Type.Intersect([A, AB]), false],
    ['a list of types', plain({ type: ['string', 'null'] }), false],
    ['a reference to a number', Type.Ref('Size'), false],
    ['a reference to what is not there', Type.Ref('Missing'), false],
    ['an imported object', Words.Import('Pair'), false],
    ['a union that is its own branch', Words.Import('Loop'), false],
    ['a recursive type', Type.Recursive((This: TSchema): TSchema => Type.Union([S, Type.Array(This)])), false]
  ]
  for (const [title, schema, textual] of cases) {
    t.equal(isTextSchema(schema, shared), textual, title)
    t.equal(isTextSchema(plain(schema), shared), textual, `${title}, as JSON Schema`)
  }
  for (const nothing of [undefined, null, true, 'string', [S]]) t.notOk(isTextSchema(nothing))
})
