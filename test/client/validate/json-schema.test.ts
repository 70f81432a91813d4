import { Type as Type034, type TSchema } from '@sinclair/typebox'
import { Ajv } from 'ajv'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { z } from 'zod'
import { validate } from '../../../lib/client/validate/json-schema.ts'
import { MAPS } from '../../setup/map-kinds.ts'

/** A row of a table: a schema, valid values, and invalid values with their faults. */
type Row = [title: string, schema: object, fitting: unknown[], others: Array<[value: unknown, fault: string]>]

const S = { type: 'string' }
const N = { type: 'number' }
const Tree034 = Type034.Recursive(This => Type034.Object({ kids: Type034.Array(This) }))
const words: Record<string, TSchema> = { Word: Type034.Number(), Words: Type034.Array(Type034.Ref('Word')) }
const { List } = Type.Module({ List: Type.Object({ next: Type.Optional(Type.Ref('List')) }) })

function check (t: Test, rows: Row[]): void {
  for (const [title, schema, fitting, others] of rows) {
    for (const value of fitting) t.equal(validate(schema, value), undefined, `${title}: ${JSON.stringify(value)}`)
    for (const [value, fault] of others) t.equal(validate(schema, value), fault, `${title}: ${JSON.stringify(value)}`)
  }
}

t.test('C1: JSON Schema: invalid data returns its first fault and the path', async t => {
  check(t, [
    ['a string', S, ['', 'x'], [[5, 'Instance type "number" is invalid. Expected "string" at \'/\'']]],
    ['an object', { type: 'object', required: ['a'], properties: { a: N, 'b/c é': S } }, [{ a: 1, d: 1 }], [
      [{}, 'Instance does not have required property "a" at \'/\''],
      [{ a: '' }, 'Instance type "string" is invalid. Expected "number" at \'/a\''],
      [{ a: 1, 'b/c é': 1 }, 'Instance type "number" is invalid. Expected "string" at \'/b~1c é\'']
    ]],
    ['a closed object', { type: 'object', additionalProperties: false, properties: { a: N } }, [{ a: 1 }], [
      [{ a: 1, b: 1 }, 'Property "b" does not match additional properties schema at \'/b\'']
    ]],
    ['a union', { type: 'object', properties: { u: { anyOf: [S, { type: 'null' }] } } }, [{ u: '' }, { u: null }], [
      [{ u: 5 }, "Instance does not match any subschemas at '/u'"]
    ]],
    ['nullable', { type: 'string', nullable: true }, [null, ''], [[5,
      'Instance type "number" is invalid. Expected "string", "null" at \'/\'']]],
    ['an enumeration', { enum: ['a', 1] }, ['a', 1], [['b', 'Instance does not match any of ["a",1] at \'/\'']]],
    ['data that looks like a schema', { const: { format: 'uuid' } }, [{ format: 'uuid' }], [[{},
      'Instance does not match {"format":"uuid"} at \'/\'']]],
    ['properties with the names of keywords', {
      type: 'object',
      properties: { format: S, pattern: S, $ref: S, $id: N, type: N, nullable: true, minLength: N }
    }, [{ format: '', $id: 1, type: 1 }], [[{ type: '' }, 'Instance type "string" is invalid. Expected "number" at \'/type\'']]],
    ['a tuple', { type: 'array', items: [S, N], additionalItems: false }, [['', 1]], [
      [['', ''], 'Instance type "string" is invalid. Expected "number" at \'/1\''],
      [['', 1, 2], "Items did not match additional items schema at '/2'"]
    ]],
    ['a definition', { type: 'array', items: { $ref: '#/definitions/word' }, definitions: { word: S } }, [['']], [
      [[1], 'Instance type "number" is invalid. Expected "string" at \'/0\'']
    ]],
    ['siblings of a reference', { $ref: '#/$defs/word', minLength: 2, $defs: { word: S } }, ['ab'], [
      ['a', "String is too short (1 < 2) at '/'"]
    ]],
    ['code points', { type: 'string', maxLength: 2 }, ['😀😀'], [['abc', "String is too long (3 > 2) at '/'"]]]
  ])
})

t.test('C1: formats, and schemas that the server has, are skipped, and the rest is checked', async t => {
  check(t, [
    ['a format', { type: 'string', format: 'date-time', maxLength: 3 }, ['now'], [['later',
      "String is too long (5 > 3) at '/'"]]],
    ['references', { type: 'object', properties: { a: { $ref: 'Elsewhere#' }, n: N } }, [{ a: 5, n: 1 }], [
      [{ a: 5, n: '' }, 'Instance type "string" is invalid. Expected "number" at \'/n\'']
    ]]
  ])
})

t.test('C1: schemas of TypeBox are checked by their JSON Schema, without the lengths of strings', async t => {
  check(t, [
    ['0.34: a recursive type', Tree034, [{ kids: [{ kids: [] }] }], [[{ kids: [{}] },
      'Instance does not have required property "kids" at \'/kids/0\'']]],
    ['0.34: a recursive type twice', Type034.Object({ a: Tree034, b: Type034.Optional(Tree034) }), [{ a: { kids: [] } }], [
      [{ a: { kids: [] }, b: {} }, 'Instance does not have required property "kids" at \'/b\'']
    ]],
    ['0.34: a module', Type034.Module(words).Import('Words'), [[1]], [[['a'],
      'Instance type "string" is invalid. Expected "number" at \'/0\'']]],
    ['0.34: a length', Type034.String({ minLength: 2 }), ['😀', 'a'], []],
    ['0.34: a pattern without Unicode mode', Type034.String({ pattern: '^[\\w-.]+$' }), ['a', '!'], []],
    ['0.34: a pattern', Type034.String({ pattern: '^a' }), ['a'], [['b', "String does not match pattern at '/'"]]],
    ['0.34: a type that JSON does not have', Type034.Object({ n: Type034.BigInt() }), [{ n: 5 }], [[{},
      'Instance does not have required property "n" at \'/\'']]],
    ['1.x: a member of a module', Type.Object({ a: List, b: List }), [{ a: { next: {} }, b: {} }], [
      [{ a: {}, b: { next: 5 } }, 'Instance type "number" is invalid. Expected "object" at \'/b/next\'']
    ]],
    ['1.x: a length', Type.String({ maxLength: 1 }), ['👨‍👩‍👧'], []]
  ])
})

t.test('C1: with two schemas of one $id any value passes', async t => {
  const [One, Two] = [Type.Number(), Type.String()].map(value =>
    Type.Module({ List: Type.Object({ value, next: Type.Optional(Type.Ref('List')) }) }).List)
  t.equal(validate(Type.Object({ one: One!, two: Two! }), { one: { value: 1 }, two: { value: '' } }), undefined)
})

t.test('C1: Standard Schemas are checked by their library', async t => {
  t.match(validate(z.string(), 5), /expected string/)
  t.equal(validate(undefined, 5), undefined)
})

t.test('C1: one entry point checks maps of all kinds', async t => {
  for (const [kind, { note, level, order }] of Object.entries(MAPS)) {
    t.strictSame([validate(note, 'a'), validate(level, 'low'), validate(order, { id: 1, lines: [''] })],
      [undefined, undefined, undefined], kind)
    t.match(validate(note, 5), / at '\/'$/, kind)
    t.match(validate(level, 'none'), / at '\/'$/, kind)
    t.match(validate(order, { id: 1, lines: ['', 5] }), / at '\/lines\/1'$/, kind)
  }
})

t.test('a schema is not modified, and is prepared once', async t => {
  const schema = Object.freeze({ type: 'object', properties: Object.freeze({ at: Object.freeze({ format: 'uuid' }) }) })
  let looks = 0
  const watched = new Proxy(schema, {
    ownKeys (target) {
      looks++
      return Reflect.ownKeys(target)
    }
  })
  validate(watched, {})
  t.ok(looks > 0)
  const before = looks
  t.equal(validate(watched, {}), undefined)
  t.equal(looks, before)
})

t.test('C1: the client accepts exactly what Ajv accepts', async t => {
  const scalar = fc.oneof(
    fc.constantFrom<object>({ type: 'integer' }, { type: 'boolean' }, { type: 'null' }, { const: 'a' }, { enum: ['a', 1] }),
    fc.record({ type: fc.constant('string'), minLength: fc.nat(2), maxLength: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ type: fc.constant('string'), pattern: fc.constantFrom('^a', 'b$', '^.$') }),
    fc.record({ type: fc.constant('number'), minimum: fc.integer({ max: 2 }), exclusiveMaximum: fc.nat(3) }),
    fc.record({ type: fc.constant('integer'), multipleOf: fc.constantFrom(1, 2) }),
    fc.record({ type: fc.constant('string'), nullable: fc.constant(true) })
  )
  const { schema } = fc.letrec<{ schema: object }>(tie => ({
    schema: fc.oneof({ depthSize: 'small', withCrossShrink: true }, scalar,
      fc.record({ $ref: fc.constant('#/definitions/part') }),
      fc.record({ type: fc.constant('array'), items: tie('schema'), maxItems: fc.nat(3), uniqueItems: fc.boolean() }),
      fc.record({
        type: fc.constant('array'),
        items: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }),
        additionalItems: fc.oneof(fc.boolean(), tie('schema'))
      }),
      fc.record({
        type: fc.constant('object'),
        properties: fc.record({ a: tie('schema'), b: tie('schema') }),
        required: fc.subarray(['a', 'b']),
        additionalProperties: fc.oneof(fc.boolean(), tie('schema'))
      }),
      fc.record({ type: fc.constant('object'), patternProperties: fc.record({ '^a': tie('schema') }) }),
      fc.record({ anyOf: fc.array(tie('schema'), { minLength: 1, maxLength: 3 }) }),
      fc.record({ oneOf: fc.array(tie('schema'), { minLength: 1, maxLength: 3 }) }),
      fc.record({ allOf: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }) }),
      fc.record({ not: tie('schema') }),
      fc.record({ if: tie('schema'), then: tie('schema'), else: tie('schema') }))
  }))
  const { value } = fc.letrec<{ value: unknown }>(tie => ({
    value: fc.oneof({ depthSize: 'small' }, fc.constantFrom(null, true, 'a', 'b', 'ab', '😀', '', 0, 1, 2, 0.5),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom('a', 'b', 'ab', '/~'), tie('value'), { maxKeys: 3, noNullPrototype: true }))
  }))
  fc.assert(fc.property(schema, scalar, fc.array(value, { minLength: 1, maxLength: 5 }), (root, part, values) => {
    const whole = { allOf: [root], definitions: { part } }
    const ajv = new Ajv({ strict: false }).compile(structuredClone(whole))
    for (const value of values) {
      const fault = validate(whole, value)
      if (ajv(value) !== (fault === undefined)) throw new Error(`Ajv: ${!ajv(value)}, fault: ${fault}, ${JSON.stringify(value)}`)
      if (fault !== undefined && !/ at '\/.*'$/.test(fault)) throw new Error(fault)
    }
  }), { numRuns: 100 })
})
