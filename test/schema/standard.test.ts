import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { scope, type } from 'arktype'
import t from 'tap'
import * as v from 'valibot'
import { z } from 'zod'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import { withJsonSchema } from '../../lib/schema/vendor.ts'
import { schemaOutcome as outcome } from '../setup/schema-outcome.ts'

/** A schema of a library with hostile parts. */
const hostile = (parts: Record<string, unknown>): object => ({
  '~standard': {
    version: 1,
    vendor: 'hostile',
    validate: (value: unknown) => ({ value }),
    jsonSchema: { input: () => ({ type: 'object' }), output: () => ({ type: 'object' }) },
    ...parts
  }
})

type Row = [title: string, schema: object, values: Array<[value: unknown, expected: string]>]
const nothing: unknown = Object.create(null)
const fail = (): never => { throw nothing }
const WAY_OUT = 'declare the data as sent, or add a JSON Schema with withJsonSchema()'
const CHANGES = 'unusable: the schema changes its data, for example by a transform or a default: declare the data as sent'
const Tree = z.object({ v: z.int(), get kids () { return z.array(Tree) } })

t.test('C1: the vendor checks the data, and only declared properties of its result are sent', async t => {
  const rows: Row[] = [
    ['zod', z.object({ a: z.string(), b: z.int().optional() }), [[{ a: 'x', secret: 1 }, '{"a":"x"}'],
      [{ a: 1 }, '/a: Invalid input: expected string, received number'],
      [{}, '/a: Invalid input: expected string, received undefined'],
      [undefined, '/: Invalid input: expected object, received undefined']]],
    ['zod, closed', z.strictObject({ a: z.string() }), [[{ a: 'x' }, '{"a":"x"}'], [{ a: 'x', b: 1 }, '/: Unrecognized key: "b"']]],
    ['zod, open', z.looseObject({ a: z.string() }), [[{ a: 'x', b: { c: 1 } }, '{"a":"x","b":{"c":1}}']]],
    ['zod, recursive', Tree, [[{ v: 1, kids: [{ v: 2, kids: [], secret: 1 }] }, '{"v":1,"kids":[{"v":2,"kids":[]}]}'],
      [{ v: 1, kids: [{ v: 'x', kids: [] }] }, '/kids/0/v: Invalid input: expected number, received string']]],
    ['zod, a union', z.union([z.object({ a: z.string() }), z.object({ b: z.int() })]), [[{ a: 'x', b: 1 }, '{"a":"x"}'],
      [{ a: 1, b: 2, c: 3 }, '{"b":2}'], [{ c: 1 }, '/: Invalid input']]],
    ['zod, a tagged union', z.discriminatedUnion('t', [z.object({ t: z.literal('a'), x: z.int() }), z.object({ t: z.literal('b') })]),
      [[{ t: 'b', x: 1 }, '{"t":"b"}'], [{ t: 'a', x: 1 }, '{"t":"a","x":1}'], [{ t: 'a' }, '/x: Invalid input: expected number, received undefined'],
        [{ t: 'c' }, "/t: Invalid discriminator value. Expected 'a' | 'b'"]]],
    ['zod, a tuple', z.tuple([z.string(), z.object({ a: z.string() })]), [[['x', { a: 'y', b: 1 }], '["x",{"a":"y"}]']]],
    ['zod, a record', z.record(z.string(), z.object({ a: z.int() })), [[{ k: { a: 1, b: 2 }, 'l\nm': { a: 3 } }, '{"k":{"a":1},"l\\nm":{"a":3}}']]],
    ['zod, nullable', z.string().nullable(), [['x', '"x"'], [null, 'null']]],
    ['zod, changed', z.string().trim().toLowerCase().min(1), [[' X ', 'x'], [' ', '/: Too small: expected string to have >=1 characters']]],
    ['zod, changed inside', z.object({ a: z.string().trim() }), [[{ a: ' x ' }, '{"a":"x"}']]],
    ['zod, a pattern for no Unicode', z.union([z.object({ a: z.string().regex(/^[\w-.]+$/) }), z.object({ b: z.string() })]),
      [[{ a: 'a-b', b: 1, c: 2 }, '{"a":"a-b"}']]],
    ['zod, annotated', z.object({ a: z.string() }).meta({ id: 'Annotated', colour: 'red' }), [[{ a: 'x', b: 1 }, '{"a":"x"}']]],
    ['zod, empty', z.object({}), [[{ a: 1 }, '{}']]],
    ['valibot', toStandardJsonSchema(v.object({ a: v.object({ 'b/c': v.string() }) })), [[{ a: { 'b/c': 'x', d: 1 }, e: 1 }, '{"a":{"b/c":"x"}}'],
      [{ a: { 'b/c': 1 } }, '/a/b~1c: Invalid type: Expected string but received 1']]],
    ['valibot, with a JSON Schema', withJsonSchema(v.pipe(v.string(), v.trim()), { type: 'string' }), [[' x ', 'x']]],
    ['arktype, undefined', type({ 'a?': type({ b: 'string' }).or('undefined') }), [[{ a: { b: 'x', secret: 1n } }, '{"a":{"b":"x"}}'],
      [{ a: undefined }, '{}'], [{ a: null }, '/a: a must be an object or undefined (was null)']]],
    ['arktype', type({ a: 'string', 'b?': 'number.integer | undefined' }), [[{ a: 'x', secret: 1 }, '{"a":"x"}'], [{ a: 'x', b: undefined }, '{"a":"x"}'],
      [{ a: 1 }, '/a: a must be a string (was a number)']]],
    ['arktype, closed', type({ '+': 'reject', 'a?': 'string' }), [[{ a: 'x' }, '{"a":"x"}'], [{ b: 1 }, '/b: b must be removed']]],
    ['arktype, stripped', type({ '+': 'delete', 'a?': 'string' }), [[{ a: 'x', b: 1 }, '{"a":"x"}'], [{ b: 1 }, '{}']]],
    ['arktype, a union', type({ a: 'string' }).or({ b: 'number' }), [[{ a: 'x', b: 'y', c: 1 }, '{"a":"x"}'], [{ a: 'x', b: 1 }, '{"a":"x","b":1}']]],
    ['arktype, recursive', scope({ Node: { v: 'number.integer', kids: 'Node[]' } }).export().Node, [
      [{ v: 1, kids: [{ v: 2, kids: [], secret: 1 }] }, '{"kids":[{"kids":[],"v":2}],"v":1}']]],
    ['arktype, narrowed', type('string').narrow(text => text === 'x'), [['x', 'x'], ['y', '/: must be valid according to an anonymous predicate (was "y")']]]
  ]
  for (const [title, schema, values] of rows) {
    for (const [value, expected] of values) t.equal(outcome(schema, value), expected, title)
  }
})

t.test('C3: a Standard Schema that cannot be used is rejected with a way out', async t => {
  const rows: Array<[schema: object, message: string]> = [
    [z.object({ at: z.date() }), `unusable: Date cannot be represented in JSON Schema: ${WAY_OUT}`],
    [z.string().transform(Number), `unusable: Transforms cannot be represented in JSON Schema: ${WAY_OUT}`],
    [z.string().pipe(z.coerce.number()), CHANGES],
    [z.object({ a: z.string().default('x') }), CHANGES],
    [z.stringbool(), CHANGES],
    [v.object({ a: v.string() }), 'unusable: valibot gives no JSON Schema: add it with withJsonSchema(schema, jsonSchema), or with toStandardJsonSchema(schema) of @valibot/to-json-schema'],
    [toStandardJsonSchema(v.pipe(v.string(), v.trim())), `unusable: The "trim" action cannot be converted to JSON Schema: ${WAY_OUT}`],
    [toStandardJsonSchema(v.pipe(v.string(), v.regex(/a/i))), `unusable: RegExp flags are not supported by JSON Schema: ${WAY_OUT}`],
    [toStandardJsonSchema(v.date()), `unusable: The "date" schema cannot be converted to JSON Schema: ${WAY_OUT}`],
    [withJsonSchema(v.pipeAsync(v.string(), v.checkAsync(async () => true)), { type: 'string' }),
      'unusable: the schema is async: make it sync, because an event is checked before it is sent'],
    [type({ at: 'Date' }), `unusable: a type has no form in JSON: ${WAY_OUT}`],
    [type('bigint'), `unusable: a type has no form in JSON: ${WAY_OUT}`],
    [type('string.numeric.parse'), CHANGES],
    [type(['...', 'number[]', { a: 'string' }]), `unusable: JSON Schema cannot express items after a variadic one: ${WAY_OUT}`],
    [type({ a: '1n' }), `unusable: a type has no form in JSON: ${WAY_OUT}`],
    [type('number[]').and({ name: 'string' }), `unusable: a type has no form in JSON: ${WAY_OUT}`],
    [withJsonSchema(z.any(), { type: 'object', properties: { at: { type: 'Date' } } }),
      "unusable: schema is invalid: at '/at' the type 'Date' has no form in JSON: declare Type.String({ format: 'date-time' }), and send date.toISOString()"],
    [withJsonSchema(z.any(), { type: 'array', prefixItems: [{ type: 'string' }] }),
      "unusable: the keyword 'prefixItems' is not in draft 7 of JSON Schema: use the keywords of draft 7, here items: […]"],
    [withJsonSchema(z.any(), { type: 'object', dependentSchemas: {} }),
      "unusable: the keyword 'dependentSchemas' is not in draft 7 of JSON Schema: use the keywords of draft 7"],
    [{ type: 'object', properties: { a: z.string() } }, 'unusable: a schema of zod is inside another schema: make the whole schema with zod'],
    [{ type: 'array', items: v.string() }, 'unusable: a schema of valibot is inside another schema: make the whole schema with valibot'],
    [{ anyOf: [type('string')] }, 'unusable: a schema of arktype is inside another schema: make the whole schema with arktype'],
    [hostile({ jsonSchema: { input: () => null, output: () => null } }), 'unusable: hostile gives no JSON Schema'],
    [hostile({ jsonSchema: { output: () => ({}) } }), `unusable: jsonSchema[side] is not a function: ${WAY_OUT}`]
  ]
  for (const [schema, message] of rows) t.equal(outcome(schema, 'x'), message)
})

t.test('C3: an async refinement of Zod is found at start-up, because its rejection would end the process', async t => {
  const rejects = async (): Promise<never> => { throw new Error('unhandled') }
  const Loop: z.ZodType = z.lazy(() => z.object({ next: Loop.optional(), a: z.string().refine(rejects) }))
  const schemas: z.ZodType[] = [
    z.string().refine(rejects),
    z.string().refine(() => rejects()),
    z.string().superRefine(rejects),
    z.string().check(rejects),
    z.object({ list: z.array(z.union([z.int(), z.record(z.string(), z.object({ a: z.string().refine(rejects) }))])) }),
    z.object({ a: z.string() }).refine(rejects).readonly(),
    Loop
  ]
  for (const schema of schemas) {
    t.equal(outcome(schema, {}), 'unusable: the schema is async: make it sync, because an event is checked before it is sent')
  }
  const sync = z.object({ a: z.string().refine(text => text.length > 1, 'too short').superRefine(() => {}) })
  t.equal(outcome(sync, { a: 'xy' }), '{"a":"xy"}', 'a refinement may throw for a value that does not fit')
  t.equal(outcome(sync, { a: 'x' }), '/a: too short')
  t.equal(outcome(withJsonSchema(z.custom(rejects), { type: 'string' }), 'x'),
    'unusable: the schema is async: make it sync, because an event is checked before it is sent')
  await new Promise(resolve => setImmediate(resolve))
})

t.test('C1: actions of Valibot without a form in JSON Schema run in its own check', async t => {
  const Name = v.pipe(v.string(), v.check(text => text !== 'no', 'not this'), v.brand('Name'))
  const schema = toStandardJsonSchema(v.pipe(v.object({ name: Name }), v.readonly()))
  t.equal(outcome(schema, { name: 'x', secret: 1 }), '{"name":"x"}')
  t.equal(outcome(schema, { name: 'no' }), '/name: not this')
})

t.test('C1: a schema too large for Ajv is checked by its vendor, and written without undeclared properties', async t => {
  const names = Array.from({ length: 3000 }, (_, i) => `p${i}`)
  const large = z.object(Object.fromEntries(names.map(name => [name, z.object({ a: z.string().optional() })])))
  const data = Object.fromEntries(names.map(name => [name, { a: 'x', secret: 1 }]))
  t.equal(outcome(large, data), JSON.stringify(Object.fromEntries(names.map(name => [name, { a: 'x' }]))))
})

t.test('C2: a check that throws or returns no result rejects the event', async t => {
  const rows: Array<[validate: (value: unknown) => unknown, message: string]> = [
    [() => { throw new Error('mine') }, '/: the check of hostile threw: mine'],

    [fail, '/: the check of hostile threw: '],
    [() => undefined, '/: the check of hostile threw: '],
    [() => null, '/: the check of hostile threw: '],
    [() => ({}), '/: the result of hostile does not match its JSON Schema'],
    [() => ({ value: () => 1 }), '/: the result of hostile does not match its JSON Schema'],
    [() => ({ issues: [] }), '/: does not match the schema'],
    [() => ({ issues: 'no list' }), '/: does not match the schema'],
    [() => ({ issues: [null] }), '/: does not match the schema'],
    [() => ({ issues: [{ message: 'no', path: ['a~', { key: 'b' }, Symbol('c'), 0, { none: 1 }] }] }), '/a~0/b/Symbol(c)/0/undefined: no'],
    [() => ({ get issues () { throw new Error('mine') } }), '/: the check of hostile threw: mine'],
    [() => new Proxy({}, { get () { throw new Error('mine') } }), '/: the check of hostile threw: mine']
  ]
  for (const [validate, message] of rows) t.match(outcome(hostile({ validate }), {}), message, message)
})

t.test('C2: a check that returns a promise rejects the event, and the rejection of the promise is handled', async t => {
  const message = '/: the check returned a promise: make it sync, because an event is checked before it is sent'
  let asked = 0
  // The first call is at start-up.
  const late = (value: unknown): unknown => asked++ === 0 ? { value } : Promise.reject(new Error('unhandled'))
  t.equal(outcome(hostile({ validate: late }), {}), message)
  asked = 0
  const thenable = (value: unknown): unknown => asked++ === 0 ? { value } : { then () { throw new Error('unhandled') } }
  t.equal(outcome(hostile({ validate: thenable }), {}), message)
  await new Promise(resolve => setImmediate(resolve))
})

t.test('C1: a result is read once, and what its JSON Schema does not declare is not sent', async t => {
  const output = { type: 'object', properties: { a: { anyOf: [{ type: 'object', properties: { b: { type: 'string' } }, additionalProperties: false }, { type: 'object', properties: { c: { type: 'string' } }, required: ['c'] }] } } }
  const jsonSchema = { input: () => output, output: () => output }
  t.equal(outcome(hostile({ jsonSchema, validate: () => ({ value: { a: { b: 'x', secret: 1 }, secret: 1 } }) }), {}), '{"a":{"b":"x"}}')
  t.equal(outcome(hostile({ jsonSchema, validate: () => ({ value: { a: { b: 1 } } }) }), {}), '/: the result of hostile does not match its JSON Schema')
  const text = { input: () => ({ type: 'string' }), output: () => ({ type: 'string' }) }
  t.equal(outcome(hostile({ jsonSchema: text, validate: () => ({ value: 1 }) }), 'x'), '/: the result of hostile does not match its JSON Schema')

  let reads = 0
  t.equal(outcome(z.object({ a: z.string() }), { get a () { return String(++reads) } }), '{"a":"1"}')
  const unread = { a: 'x', get secret () { throw new Error('read') } }
  for (const schema of [z.object({ a: z.string() }), toStandardJsonSchema(v.object({ a: v.string() })), type({ a: 'string' })]) {
    t.equal(outcome(schema, unread), '{"a":"x"}', 'an undeclared property is not read')
  }
  const self: Record<string, unknown> = { v: 1 }
  self.kids = [self]
  t.throws(() => outcome(Tree, self), RangeError)
})

t.test('C2: a value inside without a form in JSON is rejected, where the schema admits any value', async t => {
  const { write } = schemaCompiler({})(z.object({ x: z.any() }))
  for (const x of [() => 1, Symbol('s'), new Map(), 1n, undefined]) t.throws(() => write({ x }))
  t.equal(write({ x: 'undefined' }), '{"x":"undefined"}')
  t.equal(write({ x: [() => 1, new Date(0)] }), '{"x":[null,"1970-01-01T00:00:00.000Z"]}')
})
