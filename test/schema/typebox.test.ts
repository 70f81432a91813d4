import { Type as Type0 } from '@sinclair/typebox'
import t from 'tap'
import Type, { type TSchema } from 'typebox'
import Format from 'typebox/format'
import { Settings } from 'typebox/system'
import type { AjvOptions } from '../../lib/schema/ajv.ts'
import { loadTypeBoxes } from '../../lib/schema/packages.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import { schemaOutcome } from '../setup/schema-outcome.ts'

await loadTypeBoxes()

const shared = { Shared: { $id: 'Shared', type: 'object', properties: { s: { type: 'string' } }, required: ['s'] } }

const outcome = (schema: object, value: unknown, options: AjvOptions = {}): string =>
  schemaOutcome(schema, value, { shared, options })

type Row = [title: string, schema: object, values: Array<[value: unknown, expected: string]>]
const S = Type.String()
const I = Type.Integer()
/** A schema without a kind inside one of TypeBox. */
const plain = (schema: object): TSchema => schema

const { Tree } = Type.Module({
  Tree: Type.Object({
    v: I,
    kids: Type.Array(Type.Ref('Tree')),
    more: Type.Optional(Type.Union([Type.Ref('Tree'), Type.Object({ x: S })]))
  })
})

t.test('C1: TypeBox 1.x checks its schemas, and only declared properties are sent', async t => {
  const rows: Row[] = [
    ['a string', S, [['x', 'x'], ['', ''], [1, '/: must be string']]],
    ['an object', Type.Object({ a: S, b: Type.Optional(I) }), [[{ a: 'x', secret: 1 }, '{"a":"x"}'],
      [{ a: 'x', b: undefined }, '{"a":"x"}'], [{ a: 1 }, '/a: must be string'],
      [{}, '/: must have required properties a'], [{ a: 'x', b: 'y' }, '/b: must be integer'],
      [null, '/: must be object']]],
    ['a closed object', Type.Object({ a: S }, { additionalProperties: false }), [[{ a: 'x' }, '{"a":"x"}'],
      [{ a: 'x', b: 1 }, '/: must not have additional properties']]],
    ['a refinement', Type.Object({ n: Type.Refine(I, n => n % 2 === 0, () => 'must be even') }), [[{ n: 2 }, '{"n":2}'],
      [{ n: 3 }, '/n: must be even'], [{ n: 'x' }, '/n: must be integer']]],
    ['a refinement of a format', Type.Refine(Type.String({ format: 'email' }), text => text.startsWith('a')), [
      ['a@b.co', 'a@b.co'], ['b@b.co', '/: Refine Error'], ['a', '/: must match format "email"']]],
    ['anything', Type.Object({ a: Type.Unknown(), b: Type.Optional(Type.Any()) }), [[{ a: { b: 1 } }, '{"a":{"b":1}}'],
      [{ a: () => 1 }, '/a: JSON has no form for a function'], [{}, '/: must have required properties a']]],
    ['plain JSON Schema', Type.Object({ a: plain({ type: 'object', properties: { b: S }, required: ['b'] }) }), [
      [{ a: { b: 'x', c: 1 } }, '{"a":{"b":"x"}}'], [{ a: { b: 1 } }, '/a/b: must be string'],
      [{ a: {} }, "/a: must have required property 'b'"]]],
    ['a plain union', Type.Object({ a: plain({ anyOf: [Type.Object({ b: S }), Type.Object({ c: I })] }) }), [
      [{ a: { b: 'x', c: 'y', d: 1 } }, '{"a":{"b":"x"}}'], [{ a: { b: 1, c: 2 } }, '{"a":{"c":2}}']]],
    ['a schema of 0.34', Type.Object({ a: Type0.String({ minLength: 2 }) }), [[{ a: 'xx' }, '{"a":"xx"}'],
      [{ a: 'x' }, '/a: must NOT have fewer than 2 characters']]],
    ['a schema without a kind', Type.Unsafe<string>({ type: 'string', minLength: 2 }), [['xx', 'xx'],
      ['x', '/: must NOT have fewer than 2 characters']]],
    ['a refinement of it', Type.Refine(Type.Unsafe<string>({ type: 'string', minLength: 2 }), s => s !== 'xy'), [
      ['xx', 'xx'], ['xy', '/: Refine Error'], ['x', '/: must NOT have fewer than 2 characters']]],
    ['a union', Type.Union([Type.Object({ a: S }), Type.Object({ b: I })]), [[{ a: 'x', b: 'y' }, '{"a":"x"}'],
      [{ a: 'x', b: 1 }, '{"a":"x","b":1}'], [{ a: 1, b: 2 }, '{"b":2}'], [{ c: 1 }, '/: must have required properties a']]],
    ['a union by a refinement', Type.Union([Type.Refine(Type.Object({ a: S }), ({ a }) => a === 'x'), Type.Object({ b: I })]),
      [[{ a: 'x', b: 1 }, '{"a":"x","b":1}'], [{ a: 'y', b: 1 }, '{"b":1}']]],
    ['a tuple', Type.Tuple([S, Type.Object({ a: S })]), [[['x', { a: 'y', b: 1 }], '["x",{"a":"y"}]'],
      [['x'], '/: must not have fewer than 2 items']]],
    ['an intersection', Type.Intersect([Type.Object({ a: S }), Type.Object({ b: I })]), [
      [{ a: 'x', b: 1, c: 1 }, '{"a":"x","b":1}'], [{ a: 'x' }, '/: must have required properties b']]],
    ['a record', Type.Record(S, I), [[{ a: 1, 'x\ny': 2 }, '{"a":1,"x\\ny":2}'], [{ 'x\ny': 'z' }, '/x\ny: must be integer'],
      [JSON.parse('{"__proto__":1}'), '{"__proto__":1}']]],
    ['an enum', Type.Enum(['a', 'b']), [['a', 'a'], ['c', '/: must be equal to one of the allowed values']]],
    ['a template', Type.TemplateLiteral([Type.Literal('a'), Type.Union([Type.Literal(0), Type.Literal(1)])]), [['a0', 'a0'], ['a2', '/: must match pattern "^a(0|1)$"']]],
    ['never', Type.Array(Type.Never()), [[[], '[]'], [[1], '/0: must not be valid']]],
    ['a module', Tree, [[{ v: 1, kids: [{ v: 2, kids: [], secret: 1 }] }, '{"v":1,"kids":[{"v":2,"kids":[]}]}'],
      [{ v: 1, kids: [{ v: 'x', kids: [] }] }, '/kids/0/v: must be integer'],
      [{ v: 1, kids: [], more: { x: 'y', v: 1 } }, '{"v":1,"kids":[],"more":{"x":"y"}}'],
      [{ v: 1, kids: [], more: { v: 1, kids: [{ v: 2, kids: [], x: 1 }], x: 1 } },
        '{"v":1,"kids":[],"more":{"v":1,"kids":[{"v":2,"kids":[]}]}}']]],
    ['this', Type.Object({ v: I, next: Type.Union([Type.This(), Type.Object({ end: S })]) }), [
      [{ v: 1, next: { v: 2, next: { end: 'x', v: 3 }, secret: 1 } }, '{"v":1,"next":{"v":2,"next":{"end":"x"}}}'],
      [{ v: 1, next: { v: 'x', next: { end: 'x' } } }, '/next/v: must be integer']]],
    ['a shared schema', Type.Object({ a: Type.Ref('Shared') }), [[{ a: { s: 'x', t: 1 } }, '{"a":{"s":"x"}}'],
      [{ a: { s: 1 } }, '/a/s: must be string']]]
  ]
  for (const [title, schema, values] of rows) {
    for (const [value, expected] of values) t.equal(outcome(schema, value), expected, title)
  }
})

t.test('C3: a schema of TypeBox 1.x that cannot be checked or sent is rejected with a way out', async t => {
  const rows: Array<[schema: object, message: string | RegExp]> = [
    [Type.Object({ at: Type.BigInt() }),
      "schema is invalid: at '/at' the type 'bigint' has no form in JSON: declare Type.String(), and send String(value)"],
    [Type.Undefined(),
      "schema is invalid: at '/' the type 'undefined' has no form in JSON: declare Type.Optional(…) or Type.Null()"],
    [Type.Function([], Type.Null()), /'function' has no form in JSON/],
    [Type.Symbol(), /'symbol' has no form in JSON/],
    [Type.Parameter('T'), /^unusable: strict mode: unknown keyword: "name"/],
    [Type.Object({ n: Type.Codec(S).Decode(Number).Encode(String) }), 'Type.Codec changes the data: declare the data as sent'],
    [Type.String({ format: 'no-such-format' }), /^unusable: unknown format "no-such-format" .* in Fastify\(\{ ajv \}\)$/],
    [Type.Object({ a: plain({ type: 'string', colour: 1 }) }), /^unusable: strict mode: unknown keyword: "colour"/],
    [Type.Object({ a: plain({ allOf: [Type.Refine(S, () => true)] }) }), /^unusable: Ajv cannot check Type.Refine/],
    [Type.Ref('Missing'), 'Cannot find reference "Missing"']
  ]
  for (const [schema, message] of rows) t.match(outcome(schema, 'x'), typeof message === 'string' ? `unusable: ${message}` : message)
})

t.test('C1: a format of TypeBox 1.x has the meaning of Fastify, and of the Ajv options of the app', async t => {
  // TypeBox itself accepts other values.
  t.equal(outcome(Type.String({ format: 'date-time' }), '2026-11-22 18:00:00Z'), '2026-11-22 18:00:00Z')
  t.equal(outcome(Type.String({ format: 'idn-email' }), 'a@b.co'), 'a@b.co', 'a format that only TypeBox knows')
  t.equal(outcome(Type.String({ format: 'idn-email' }), 'x'), '/: must match format "idn-email"')
  Format.Set('even', text => text.length % 2 === 0)
  t.equal(outcome(Type.String({ format: 'even' }), 'xx'), 'xx', 'a format that the program registered in TypeBox')
  t.equal(outcome(Type.String({ format: 'even' }), 'x'), '/: must match format "even"')
  const odd = { customOptions: { formats: { even: (text: string) => text.length % 2 === 1 } } }
  t.equal(outcome(Type.String({ format: 'even' }), 'x', odd), 'x', 'the option of the app wins')
  t.equal(outcome(Type.Object({ a: Type.String({ format: 'even' }) }), { a: 'xx' }, odd), '/a: must match format "even"')
})

t.test('C3: an async refinement is rejected: TypeBox would take its promise for a match', async t => {
  const rejects = async (): Promise<boolean> => { throw new Error('unhandled') }
  const refine = (check: () => unknown): object => Type.Object({ a: Type.Refine(S, check as () => boolean) })
  t.equal(outcome(refine(rejects), { a: 'x' }),
    'unusable: the schema is async: make it sync, because an event is checked before it is sent')
  const { write } = schemaCompiler({})(refine(() => rejects()))
  t.throws(() => write({ a: 'x' }), {
    message: 'the check returned a promise: make it sync, because an event is checked before it is sent'
  })
  await new Promise(resolve => setImmediate(resolve))
})

t.test('explain() returns a text also for a valid value', async t => {
  t.strictSame(schemaCompiler({})(S).explain('x'), { path: '/', message: 'does not match the schema' })
})

t.test('TypeBox 1.x with enumerable kinds is the same', async t => {
  const make = (): object => Type.Object({ a: S, b: Type.Optional(Type.Refine(I, n => n > 1)), c: Type.Ref('Shared'), d: Type.Unknown() })
  const hidden = make()
  Settings.Set({ enumerableKind: true })
  t.teardown(() => Settings.Reset())
  const visible = make()
  t.ok(Object.keys(visible).includes('~kind'))
  for (const value of [{ a: 'x', c: { s: 'y' }, d: 1, e: 1 }, { a: 'x', b: 1, c: { s: 'y' }, d: 1 }]) {
    t.equal(outcome(visible, value), outcome(hidden, value))
  }
  const [one, two] = [hidden, visible].map(schema => schemaCompiler(shared)(schema).fingerprint)
  t.equal(one, two)
})
