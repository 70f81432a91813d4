import { deepStrictEqual } from 'node:assert'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { Type as Type0, type TSchema as TSchema0 } from '@sinclair/typebox'
import { type, type Type as ArkType } from 'arktype'
import fc from 'fast-check'
import t from 'tap'
import Type1, { type TSchema as TSchema1 } from 'typebox'
import * as v from 'valibot'
import { z, type ZodType } from 'zod'
import { loadTypeBoxes } from '../../lib/schema/packages.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'

await loadTypeBoxes()

/** One schema in all kinds. */
interface Kinds {
  readonly sinclair: TSchema0
  readonly typebox: TSchema1
  readonly json: Record<string, unknown>
  readonly zod: ZodType
  readonly valibot: v.GenericSchema
  readonly arktype: ArkType
}

/** A schema, values that match it, and values that may not. */
interface Sample { readonly kinds: Kinds, readonly values: fc.Arbitrary<unknown>, readonly others: fc.Arbitrary<unknown> }

const word = fc.constantFrom('', 'x', '0', 'é', '\u2028"\\')
// ArkType and JSON Schema know larger integers than Zod, whose integers are safe ones. JSON has no NaN.
const integer = fc.integer().map(value => value === 0 ? 0 : value)
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).filter(value => Math.abs(value) < 2 ** 53)
// Valibot takes an array for an object or a record.
const anything = fc.constantFrom<unknown>('x', 1, 1.5, true, null, undefined, {}, { a: 'x', b: 1 }, new Date(0))

const leaf = (kinds: Kinds, values: fc.Arbitrary<unknown>): fc.Arbitrary<Sample> =>
  fc.constant({ kinds, values, others: fc.oneof(values, anything) })

const leaves = fc.oneof(
  leaf({ sinclair: Type0.String(), typebox: Type1.String(), json: { type: 'string' }, zod: z.string(), valibot: v.string(), arktype: type.string as ArkType }, word),
  leaf({ sinclair: Type0.Number(), typebox: Type1.Number(), json: { type: 'number' }, zod: z.number(), valibot: v.number(), arktype: type.number as ArkType }, number),
  leaf({ sinclair: Type0.Integer(), typebox: Type1.Integer(), json: { type: 'integer' }, zod: z.int(), valibot: v.pipe(v.number(), v.integer()), arktype: type('number.integer') as ArkType }, integer),
  leaf({ sinclair: Type0.Boolean(), typebox: Type1.Boolean(), json: { type: 'boolean' }, zod: z.boolean(), valibot: v.boolean(), arktype: type.boolean as ArkType }, fc.boolean()),
  leaf({ sinclair: Type0.Null(), typebox: Type1.Null(), json: { type: 'null' }, zod: z.null(), valibot: v.null(), arktype: type.null as ArkType }, fc.constant(null)),
  leaf({
    sinclair: Type0.Union([Type0.Literal('x'), Type0.Literal('y')]),
    typebox: Type1.Enum(['x', 'y']),
    json: { enum: ['x', 'y'] },
    zod: z.enum(['x', 'y']),
    valibot: v.picklist(['x', 'y']),
    arktype: type.enumerated('x', 'y') as ArkType
  }, fc.constantFrom('x', 'y')),
  leaf({
    sinclair: Type0.String({ minLength: 1, maxLength: 2 }),
    typebox: Type1.String({ minLength: 1, maxLength: 2 }),
    json: { type: 'string', minLength: 1, maxLength: 2 },
    zod: z.string().min(1).max(2),
    valibot: v.pipe(v.string(), v.minLength(1), v.maxLength(2)),
    arktype: type('1 <= string <= 2') as ArkType
  }, fc.constantFrom('x', 'yy'))
)

const nullable = ({ kinds, values, others }: Sample): Sample => ({
  kinds: {
    sinclair: Type0.Union([kinds.sinclair, Type0.Null()]),
    typebox: Type1.Union([kinds.typebox, Type1.Null()]),
    json: { anyOf: [kinds.json, { type: 'null' }] },
    zod: z.union([kinds.zod, z.null()]),
    valibot: v.nullable(kinds.valibot),
    arktype: kinds.arktype.or(type.null) as ArkType
  },
  values: fc.oneof(values, fc.constant(null)),
  others
})

const list = ({ kinds, values, others }: Sample): Sample => ({
  kinds: {
    sinclair: Type0.Array(kinds.sinclair),
    typebox: Type1.Array(kinds.typebox),
    json: { type: 'array', items: kinds.json },
    zod: z.array(kinds.zod),
    valibot: v.array(kinds.valibot),
    arktype: kinds.arktype.array() as ArkType
  },
  values: fc.array(values, { maxLength: 3 }),
  others: fc.oneof(fc.array(others, { maxLength: 3 }), anything)
})

// Zod and Valibot do not take `__proto__` for the key of a record.
const KEYS = fc.constantFrom('a', 'k', 'l\nm', 'toString', 'é')
const record = ({ kinds, values, others }: Sample): Sample => ({
  kinds: {
    sinclair: Type0.Record(Type0.String(), kinds.sinclair),
    typebox: Type1.Record(Type1.String(), kinds.typebox),
    json: { type: 'object', additionalProperties: kinds.json },
    zod: z.record(z.string(), kinds.zod),
    valibot: v.record(v.string(), kinds.valibot),
    arktype: type({ '[string]': kinds.arktype }) as ArkType
  },
  values: fc.dictionary(KEYS, values, { maxKeys: 3, noNullPrototype: true }),
  others: fc.oneof(fc.dictionary(KEYS, others, { maxKeys: 3, noNullPrototype: true }), anything)
})

// ArkType sorts the names, the required ones first. All others keep their order.
const REQUIRED = ['a', 'b', 'constructor']
const OPTIONAL = ['x', 'y', 'z']

/** An object with one required property at least: Valibot takes an array for an object without. */
function object (properties: Sample[], options: Sample[], tag?: string): Sample {
  const named = <T>(make: (kinds: Kinds) => T, optional: (inner: T) => T): Record<string, T> => ({
    ...Object.fromEntries(properties.map(({ kinds }, i) => [REQUIRED[i], make(kinds)])),
    ...Object.fromEntries(options.map(({ kinds }, i) => [OPTIONAL[i], optional(make(kinds))]))
  })
  const arks = Object.fromEntries([
    ...properties.map(({ kinds }, i) => [REQUIRED[i], kinds.arktype]),
    ...options.map(({ kinds }, i) => [`${OPTIONAL[i]!}?`, kinds.arktype])
  ]) as Record<string, ArkType>
  const valuesOf = (pick: (sample: Sample) => fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
    fc.record({
      ...Object.fromEntries(properties.map((sample, i) => [REQUIRED[i], pick(sample)])),
      ...Object.fromEntries(options.map((sample, i) => [OPTIONAL[i], pick(sample)])),
      ...tag === undefined ? {} : { tag: fc.constant(tag) }
    }, { requiredKeys: [...REQUIRED.slice(0, properties.length), ...tag === undefined ? [] : ['tag']], noNullPrototype: true })
  const more = (values: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
    fc.tuple(values, fc.boolean()).map(([value, extra]) =>
      extra ? { ...value as object, 'not declared': { secret: true } } : value)
  return {
    kinds: {
      sinclair: Type0.Object({ ...named(({ sinclair }) => sinclair, inner => Type0.Optional(inner)), ...tag === undefined ? {} : { tag: Type0.Literal(tag) } }),
      typebox: Type1.Object({ ...named(({ typebox }) => typebox, inner => Type1.Optional(inner)), ...tag === undefined ? {} : { tag: Type1.Literal(tag) } }),
      json: {
        type: 'object',
        properties: { ...named(({ json }) => json, inner => inner), ...tag === undefined ? {} : { tag: { const: tag } } },
        required: [...REQUIRED.slice(0, properties.length), ...tag === undefined ? [] : ['tag']]
      },
      zod: z.object({ ...named(({ zod }) => zod, inner => z.optional(inner)), ...tag === undefined ? {} : { tag: z.literal(tag) } }),
      valibot: v.object({ ...named(({ valibot }) => valibot, inner => v.optional(inner)), ...tag === undefined ? {} : { tag: v.literal(tag) } }),
      arktype: type({ ...arks, ...tag === undefined ? {} : { tag: type.unit(tag) } }) as ArkType
    },
    values: more(valuesOf(({ values }) => values)),
    others: fc.oneof(more(valuesOf(({ others }) => others)), anything)
  }
}

const { sample } = fc.letrec<{ sample: Sample }>(tie => {
  const some = tie('sample')
  const few = (minLength: number): fc.Arbitrary<Sample[]> => fc.array(some, { minLength, maxLength: 3 })
  return {
    sample: fc.oneof({ maxDepth: 3, depthIdentifier: 'kinds' }, leaves, some.map(nullable), some.map(list), some.map(record),
      fc.tuple(few(1), few(0)).map(([properties, options]) => object(properties, options)))
  }
})

t.test('C1: all kinds of schemas accept and reject the same data, and write the same bytes', async t => {
  const compile = schemaCompiler({})
  const seen = { accepted: 0, rejected: 0 }
  fc.assert(
    fc.property(sample.chain(({ kinds, values, others }) => fc.tuple(fc.constant(kinds), fc.array(values, { minLength: 2, maxLength: 4 }), fc.array(others, { minLength: 2, maxLength: 4 }))),
      ([{ sinclair, valibot, ...kinds }, values, others]) => {
        const { write, textual } = compile(sinclair)
        const compiled = Object.entries({ ...kinds, valibot: toStandardJsonSchema(valibot) }).map(([kind, schema]) => ({ kind, ...compile(schema) }))
        for (const [index, value] of [...values, ...others].entries()) {
          const text = write(value)
          seen[text === undefined ? 'rejected' : 'accepted']++
          if (index < values.length) deepStrictEqual(text === undefined, false)
          for (const other of compiled) {
            deepStrictEqual([other.kind, other.textual, other.write(value)], [other.kind, textual, text])
            deepStrictEqual(text?.includes('secret') ?? false, false)
            if (text === undefined) deepStrictEqual(other.explain(value).path.startsWith('/'), true)
          }
        }
      }),
    { numRuns: 100 }
  )
  t.ok(seen.accepted > 200, `${seen.accepted} accepted`)
  t.ok(seen.rejected > 50, `${seen.rejected} rejected`)
})
