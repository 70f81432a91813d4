import { Type, type TSchema } from '@sinclair/typebox'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import t from 'tap'
import { Type as Type1 } from 'typebox'
import * as v from 'valibot'
import { z } from 'zod'
import { jsonSchemaOf } from '../../lib/schema/vendor.ts'
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

t.test('W5: a schema of another library is textual if it admits only strings', async t => {
  const Words = Type1.Module({
    Word: Type1.String(),
    Again: Type1.Ref('Word'),
    Loop: Type1.Union([Type1.String(), Type1.Ref('Loop')])
  })
  const S = (schema: v.GenericSchema): object => toStandardJsonSchema(schema)
  const cases: Array<[title: string, schema: object, textual: boolean]> = [
    ['Zod: a string', z.string(), true],
    ['Zod: a format', z.uuid(), true],
    ['Zod: patterns', z.string().startsWith('a').endsWith('b').min(2), true],
    ['Zod: a template', z.templateLiteral(['a-', z.number()]), true],
    ['Zod: a literal', z.literal('a'), true],
    ['Zod: literals', z.literal(['a', 'b']), true],
    ['Zod: an enum', z.enum(['a', 'b']), true],
    ['Zod: a union', z.union([z.literal('a'), z.uuid()]), true],
    ['Zod: an intersection', z.intersection(z.string(), z.string().min(2)), true],
    ['Zod: a brand', z.string().brand('Word'), true],
    ['Zod: a named string', z.string().meta({ id: 'Word' }), true],
    ['Zod: a union of named strings', z.union([z.string().meta({ id: 'First' }), z.enum(['a'])]), true],
    ['Zod: a codec from text', z.codec(z.string(), z.number(), { decode: Number, encode: String }), false],
    ['Zod: null or a string', z.string().nullable(), false],
    ['Zod: literals of two types', z.literal(['a', 1]), false],
    ['Zod: a named object', z.object({ a: z.string() }).meta({ id: 'Thing' }), false],
    ['Zod: anything', z.any(), false],

    ['Valibot: a string', S(v.string()), true],
    ['Valibot: a format', S(v.pipe(v.string(), v.uuid())), true],
    ['Valibot: a literal', S(v.literal('a')), true],
    ['Valibot: a picklist', S(v.picklist(['a', 'b'])), true],
    ['Valibot: an enum', S(v.enum({ A: 'a', B: 'b' })), true],
    ['Valibot: a union', S(v.union([v.literal('a'), v.pipe(v.string(), v.email())])), true],
    ['Valibot: null or a string', S(v.nullable(v.string())), false],
    ['Valibot: a picklist of two types', S(v.picklist(['a', 1])), false],

    ['ArkType: a string', type('string'), true],
    ['ArkType: a format', type('string.uuid'), true],
    ['ArkType: a pattern', type('/^a/'), true],
    ['ArkType: a literal', type("'a'"), true],
    ['ArkType: an enumeration', type("'a' | 'b'"), true],
    ['ArkType: a union', type("'a' | string.email"), true],
    ['ArkType: null or a string', type('string | null'), false],
    ['ArkType: literals of two types', type("'a' | 1"), false],

    ['TypeBox 1.x: a string', Type1.String({ format: 'uuid' }), true],
    ['TypeBox 1.x: a literal', Type1.Literal('a'), true],
    ['TypeBox 1.x: an enum', Type1.Enum(['a', 'b']), true],
    ['TypeBox 1.x: a template', Type1.TemplateLiteral([Type1.Literal('a-'), Type1.Number()]), true],
    ['TypeBox 1.x: a key of', Type1.KeyOf(Type1.Object({ a: Type1.String(), b: Type1.String() })), true],
    ['TypeBox 1.x: a script', Type1.Script("'a' | 'b'"), true],
    ['TypeBox 1.x: a member of a module', Words.Again, true],
    ['TypeBox 1.x: a union that is its own branch', Words.Loop, false],
    ['TypeBox 1.x: an enum of two types', Type1.Enum({ A: 'a', B: 1 }), false],

    ['JSON Schema: a list with one type', { type: ['string'] }, true],
    ['JSON Schema: an empty list of types', { type: [] }, false],
    ['JSON Schema: a definition', { $ref: '#/definitions/Word', definitions: { Word: { type: 'string' } } }, true],
    ['JSON Schema: a definition whose name is escaped', {
      $ref: '#/definitions/a~1b~0%20c',
      definitions: { 'a/b~ c': { type: 'string' } }
    }, true],
    ['JSON Schema: a missing definition', { $ref: '#/definitions/Word' }, false],
    ['JSON Schema: itself', { $ref: '#' }, false]
  ]
  for (const [title, schema, textual] of cases) t.equal(isTextSchema(jsonSchemaOf(schema)), textual, title)
  const shared = { words: { $id: 'words', definitions: { Word: { $ref: '#/definitions/Text' }, Text: { type: 'string' } } } }
  t.ok(isTextSchema({ $ref: 'words#/definitions/Word' }, shared), 'a definition of a shared schema')
  t.notOk(isTextSchema({ $ref: 'words' }, shared))
})
