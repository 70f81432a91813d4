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
interface Sample {
  readonly kinds: Kinds
  readonly values: fc.Arbitrary<unknown>
  readonly others: fc.Arbitrary<unknown>
}

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

type Samples = Record<string, Sample>
const mapped = <T>(samples: Samples, make: (sample: Sample) => T): Record<string, T> =>
  Object.fromEntries(Object.entries(samples).map(([name, sample]) => [name, make(sample)]))

// Valibot takes an array for an object without required properties: each object has one.
function object (required: Samples, optional: Samples): Sample {
  const all = { ...required, ...optional }
  const more = (pick: (sample: Sample) => fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
    fc.tuple(fc.record(mapped(all, pick), { requiredKeys: Object.keys(required), noNullPrototype: true }), fc.boolean())
      .map(([value, extra]) => extra ? { ...value, 'not declared': { secret: true } } : value)
  return {
    kinds: {
      sinclair: Type0.Object({
        ...mapped(required, ({ kinds }) => kinds.sinclair),
        ...mapped(optional, ({ kinds }) => Type0.Optional(kinds.sinclair))
      }),
      typebox: Type1.Object({
        ...mapped(required, ({ kinds }) => kinds.typebox),
        ...mapped(optional, ({ kinds }) => Type1.Optional(kinds.typebox))
      }),
      json: { type: 'object', properties: mapped(all, ({ kinds }) => kinds.json), required: Object.keys(required) },
      zod: z.object({
        ...mapped(required, ({ kinds }) => kinds.zod),
        ...mapped(optional, ({ kinds }) => z.optional(kinds.zod))
      }),
      valibot: v.object({
        ...mapped(required, ({ kinds }) => kinds.valibot),
        ...mapped(optional, ({ kinds }) => v.optional(kinds.valibot))
      }),
      arktype: type(Object.fromEntries([
        ...Object.entries(required).map(([name, { kinds }]) => [name, kinds.arktype]),
        ...Object.entries(optional).map(([name, { kinds }]) => [`${name}?`, kinds.arktype])
      ]) as Record<string, ArkType>) as ArkType
    },
    values: more(({ values }) => values),
    others: fc.oneof(more(({ others }) => others), anything)
  }
}

/** Of branches that match together, Zod and Valibot send the first, and the others send all: no two tags are equal. */
const union = (samples: Sample[]): Sample => ({
  kinds: {
    sinclair: Type0.Union(samples.map(({ kinds }) => kinds.sinclair)),
    typebox: Type1.Union(samples.map(({ kinds }) => kinds.typebox)),
    json: { anyOf: samples.map(({ kinds }) => kinds.json) },
    zod: z.union(samples.map(({ kinds }) => kinds.zod)),
    valibot: v.union(samples.map(({ kinds }) => kinds.valibot)),
    arktype: samples.map(({ kinds }) => kinds.arktype).reduce((one, two) => one.or(two) as ArkType)
  },
  values: fc.oneof(...samples.map(({ values }) => values)),
  others: fc.oneof(...samples.map(({ others }) => others))
})

const tag = (name: string): Sample => ({
  kinds: {
    sinclair: Type0.Literal(name),
    typebox: Type1.Literal(name),
    json: { const: name },
    zod: z.literal(name),
    valibot: v.literal(name),
    arktype: type.unit(name) as ArkType
  },
  values: fc.constant(name),
  others: fc.constantFrom<unknown>('p', 'q', null)
})

// ArkType sorts the names, the required ones first. All others keep their order.
const named = (names: string[], samples: Sample[]): Samples =>
  Object.fromEntries(samples.map((sample, i) => [names[i], sample]))
const required = (samples: Sample[]): Samples => named(['a', 'b', 'constructor'], samples)
// ArkType cannot convert some unions whose branches have one name with two types.
const ofOther = (samples: Sample[]): Samples => named(['d', 'e', 'f'], samples)
const optional = (samples: Sample[]): Samples => named(['x', 'y', 'z'], samples)

const { sample } = fc.letrec<{ sample: Sample }>(tie => {
  const some = tie('sample')
  const few = (minLength: number): fc.Arbitrary<Sample[]> => fc.array(some, { minLength, maxLength: 3 })
  return {
    sample: fc.oneof({ maxDepth: 3, depthIdentifier: 'kinds' }, leaves, some.map(nullable), some.map(list), some.map(record),
      fc.tuple(few(1), few(0)).map(([some, others]) => object(required(some), optional(others))),
      fc.tuple(few(0), few(0), few(0)).map(([one, two, three]) =>
        union([object({ ...required(one), tag: tag('p') }, optional(three)), object({ ...ofOther(two), tag: tag('q') }, {})])))
  }
})

t.test('C1: all kinds of schemas accept and reject the same data, and write the same bytes', async t => {
  const compile = schemaCompiler({})
  const some = (values: fc.Arbitrary<unknown>): fc.Arbitrary<unknown[]> =>
    fc.array(values, { minLength: 2, maxLength: 4 })
  const seen = { accepted: 0, rejected: 0 }
  fc.assert(
    fc.property(
      sample.chain(({ kinds, values, others }) => fc.tuple(fc.constant(kinds), some(values), some(others))),
      ([{ sinclair, valibot, ...kinds }, values, others]) => {
        const { write, textual } = compile(sinclair)
        const compiled = Object.entries({ ...kinds, valibot: toStandardJsonSchema(valibot) }).map(([kind, schema]) =>
          ({ kind, ...compile(schema) }))
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
      }
    ),
    { numRuns: 40 }
  )
  t.ok(seen.accepted > 80, `${seen.accepted} accepted`)
  t.ok(seen.rejected > 30, `${seen.rejected} rejected`)
})
