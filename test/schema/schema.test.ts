import { deepStrictEqual } from 'node:assert'
import { FormatRegistry, Kind, Type, TypeRegistry, type TSchema } from '@sinclair/typebox'
import fc from 'fast-check'
import Fastify from 'fastify'
import t from 'tap'
import { loadTypeBoxes } from '../../lib/schema/packages.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import type { SharedSchemas } from '../../lib/schema/text-schema.ts'

await loadTypeBoxes()

/** Returns the JSON of a value, its mismatch, or the error of its schema. */
function outcome (schema: TSchema, value: unknown, shared: SharedSchemas = {}): string {
  let compiled
  try {
    compiled = schemaCompiler(shared)(schema)
  } catch (error) {
    return `unusable: ${(error as Error).message}`
  }
  const text = compiled.write(value)
  if (text !== undefined) return compiled.textual ? JSON.stringify(text) : text
  const { path, message } = compiled.explain(value)
  return `${path}: ${message}`
}

/** JSON Schema, as `app.addSchema` keeps it: without the symbols of TypeBox. */
const plain = (schema: object): TSchema => JSON.parse(JSON.stringify(schema)) as TSchema

/** A row of a table: a schema, then values with their outcomes. */
type Row = [title: string, schema: TSchema, values: Array<[value: unknown, expected: string]>]

const S = Type.String()
const I = Type.Integer()
const A = Type.Object({ a: S })
const AB = Type.Object({ a: S, b: I })

const FORMATS: Record<string, string[]> = {
  'date-time': ['2026-11-22T18:00:00Z', '2026-11-22T18:00:00.123+01:00', '2026-11-22t18:00:00z', '2026-11-22 18:00:00Z',
    '2026-11-22T18:00:00', '2026-11-22', '2026-02-30T00:00:00Z', '2026-11-22T24:00:00Z', '2016-12-31T23:59:60Z', ''],
  date: ['2026-11-22', '2024-02-29', '2026-02-29', '2026-13-01', '26-11-22', '2026-11-22T00:00:00Z', ''],
  time: ['18:00:00Z', '18:00:00+01:00', '18:00:00', '18:00', '25:00:00Z', ''],
  duration: ['P1D', 'PT1H30M', 'P1Y2M3DT4H5M6S', 'P2W', 'P', 'PT', '1D', 'P1W2D', ''],
  uuid: ['6ba7b810-9dad-11d1-80b4-00c04fd430c8', '6BA7B810-9DAD-11D1-80B4-00C04FD430C8',
    'urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8', '00000000-0000-0000-0000-000000000000',
    '6ba7b8109dad11d180b400c04fd430c8', ''],
  email: ['a@b.co', 'first.last+tag@example.com', 'a@b', 'a b@c.de', '@b.co', 'a@', 'żółw@example.com', ''],
  uri: ['https://example.com/a?b=c#d', 'urn:isbn:1', 'mailto:a@b.co', '/relative', 'example.com', 'http://a b', ''],
  hostname: ['example.com', 'localhost', 'a-b.c', '-a.b', 'a_b.c', 'a..b', 'x'.repeat(64), ''],
  ipv4: ['127.0.0.1', '255.255.255.255', '256.0.0.1', '1.2.3', '01.2.3.4', '::1', ''],
  ipv6: ['::1', '2001:db8::8a2e:370:7334', '::ffff:127.0.0.1', '127.0.0.1', ':::', '12345::', ''],
  'json-pointer': ['', '/', '/a/b~0c~1d', 'a', '/a~2', '/~'],
  regex: ['^a+$', '[', '(?<n>a)', '(', '\\p{L}', '']
}

t.test('C1: a format has the same meaning as in a Fastify request', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  for (const format of Object.keys(FORMATS)) {
    app.post(`/${format}`, { schema: { body: { type: 'string', format } } }, () => 'fits')
  }

  for (const [format, values] of Object.entries(FORMATS)) {
    const compile = schemaCompiler({ Shared: { $id: 'Shared', type: 'string', format } })
    const declarations = [Type.String({ format }), Type.Unsafe({ type: 'string', format }), Type.Ref('Shared')].map(
      compile
    )
    const verdicts = new Set<boolean>()
    for (const value of values) {
      const { statusCode } = await app.inject({
        method: 'POST',
        url: `/${format}`,
        payload: JSON.stringify(value),
        headers: { 'content-type': 'application/json' }
      })
      const fits = statusCode === 200
      verdicts.add(fits)
      t.strictSame(declarations.map(declaration => declaration.write(value) !== undefined), [fits, fits, fits],
        `${format}: ${JSON.stringify(value)} ${fits ? 'fits' : 'does not fit'}`)
    }
    t.equal(verdicts.size, 2, `${format} has values that fit and values that do not`)
  }
})

t.test('C1: no value is coerced: an event is not a query string', async t => {
  for (const schema of [I, Type.Unsafe({ type: 'integer' }), Type.Ref('Shared')]) {
    const { write } = schemaCompiler({ Shared: { $id: 'Shared', type: 'integer' } })(schema as TSchema)
    t.strictSame(['1', true, null, [1], 1.5, undefined].filter(value => write(value) !== undefined), [])
    t.equal(write(1), '1')
  }
  for (const schema of [S, Type.Unsafe({ type: 'string' })]) {
    t.strictSame([1, true, null, ['x'], undefined, new Date(0)].filter(value =>
      schemaCompiler({})(schema as TSchema).write(value) !== undefined), [])
  }
})

t.test('C3: an unknown format is rejected at start-up, at any depth', async t => {
  const unknownFormat = { type: 'string', format: 'no-such-format' }
  for (const schema of [Type.String({ format: 'no-such-format' }),
    Type.Object({ a: Type.Array(Type.String({ format: 'no-such-format' })) }), Type.Unsafe(unknownFormat),
    plain({ type: 'object', properties: { a: unknownFormat } }), Type.Ref('Shared')]) {
    t.match(outcome(schema, 'x', { Shared: { $id: 'Shared', ...unknownFormat } }), /^unusable: unknown format "no-such-format"/)
  }
})

t.test('a format that the program registered in TypeBox keeps its meaning', async t => {
  t.teardown(() => { for (const format of ['even', 'time']) FormatRegistry.Delete(format) })
  FormatRegistry.Set('even', text => text.length % 2 === 0)
  FormatRegistry.Set('time', text => text === 'now')
  const even = Type.Object({ a: Type.String({ format: 'even' }) })
  t.equal(outcome(even, { a: 'ab' }), '{"a":"ab"}')
  t.match(outcome(even, { a: 'abc' }), /^\/a: /)
  const time = Type.String({ format: 'time' })
  t.equal(outcome(time, 'now'), '"now"')
  t.match(outcome(time, '18:00:00Z'), /^\/: /)
})

t.test('a kind that the program registered in TypeBox keeps its meaning', async t => {
  t.teardown(() => TypeRegistry.Delete('Even'))
  TypeRegistry.Set('Even', (_schema, value) => typeof value === 'number' && value % 2 === 0)
  const even = Type.Object({ n: Type.Unsafe<number>({ [Kind]: 'Even', type: 'number' }) })
  t.equal(outcome(even, { n: 2 }), '{"n":2}')
  t.match(outcome(even, { n: 3 }), /^\/n: /)
})

t.test('C1: only declared properties are sent', async t => {
  const People = Type.Module({
    Person: Type.Object({ name: S, friends: Type.Array(Type.Ref('Person')) }),
    Team: Type.Object({ lead: Type.Ref('Person') })
  })
  const rows: Row[] = [
    ['a string', S, [['x', '"x"'], ['', '""'], ['"\\\n\u2028\ud800', '"\\"\\\\\\n\u2028\\ud800"'], [1,
      '/: Expected string']]],
    ['a number', Type.Number(), [[-0.5, '-0.5'], [0, '0'], [1e21, '1e+21'], [NaN, '/: Expected number'], [Infinity,
      '/: Expected number'], [1n, '/: Expected number']]],
    ['an object', AB, [[{ b: 1, a: 'x', secret: 1 }, '{"a":"x","b":1}'], [{ a: 'x' }, '/b: Expected required property'],
      [null, '/: Expected object'], [[], '/: Expected object']]],
    ['an optional property', Type.Object({ a: Type.Optional(S), b: Type.Optional(I) }), [[{}, '{}'], [{
      b: 1,
      secret: 1
    }, '{"b":1}'], [{ a: undefined }, '{}'], [{ a: null }, '/a: Expected string']]],
    ['no additional properties', Type.Object({ a: S }, { additionalProperties: false }), [[{ a: 'x' }, '{"a":"x"}'], [{
      a: 'x',
      b: 1
    }, '/b: Unexpected property']]],
    ['typed additional properties', Type.Object({ a: S }, { additionalProperties: I }), [[{ a: 'x', b: 1 },
      '{"a":"x","b":1}'], [{ a: 'x', b: 'y' }, '/b: Expected integer']]],
    ['any additional properties', Type.Object({ a: S }, { additionalProperties: true }), [[{ a: 'x', b: { c: [1] } },
      '{"a":"x","b":{"c":[1]}}']]],
    ['an object in an object', Type.Object({ 'a/b~c': Type.Array(A) }), [[{ 'a/b~c': [{ a: 'x', secret: 1 }] },
      '{"a/b~c":[{"a":"x"}]}'], [{ 'a/b~c': [{ a: 'x' }, { a: 1 }] }, '/a~1b~0c/1/a: Expected string']]],
    ['an array', Type.Array(AB), [[[], '[]'], [[{ a: 'x', b: 1, secret: 1 }], '[{"a":"x","b":1}]'], [[1],
      '/0: Expected object']]],
    ['a record', Type.Record(S, A), [[{ x: { a: 'y', secret: 1 }, __proto: { a: '' } },
      '{"x":{"a":"y"},"__proto":{"a":""}}'], [{ x: 1 }, '/x: Expected object']]],
    ['a record with any key', Type.Record(S, I), [[{ 'a\nb': 1, '\u2028': 2, '': 3, constructor: 4 },
      '{"a\\nb":1,"\u2028":2,"":3,"constructor":4}'], [{ 'a\nb': 'x' }, '/a\nb: Expected integer']]],
    ['a record by pattern', Type.Record(Type.TemplateLiteral([Type.Literal('k-'), Type.Number()]), I), [[{
      'k-1': 1,
      secret: 1
    }, '{"k-1":1}'], [{ 'k-1': 'x' }, '/k-1: Expected integer']]],
    ['null or a string', Type.Object({ a: Type.Union([S, Type.Null()]) }), [[{ a: null }, '{"a":null}'], [{ a: '' },
      '{"a":""}'], [{}, '/a: Expected required property']]],
    ['null or an object', Type.Union([Type.Null(), A]), [[null, 'null'], [{ a: 'x', secret: 1 }, '{"a":"x"}'], [1,
      '/: Expected union value']]],
    ['literals', Type.Object({ kind: Type.Literal('a'), n: Type.Literal(0), b: Type.Literal(false) }), [[{
      kind: 'a',
      n: 0,
      b: false
    }, '{"kind":"a","n":0,"b":false}'], [{ kind: 'b', n: 0, b: false }, "/kind: Expected 'a'"]]],
    ['an enum', Type.Object({ e: Type.Enum({ A: 'a', Zero: 0 }) }), [[{ e: 'a' }, '{"e":"a"}'], [{ e: 0 }, '{"e":0}'], [
      { e: 1 },
      '/e: Expected union value'
    ]]],
    ['an intersection', Type.Intersect([A, Type.Object({ b: I })]), [[{ a: 'x', b: 1, secret: 1 }, '{"a":"x","b":1}'], [
      { a: 'x' },
      '/b: Expected required property'
    ]]],
    ['a closed intersection', Type.Intersect([A, Type.Object({ b: I })], { unevaluatedProperties: false }), [[{
      a: 'x',
      b: 1
    }, '{"a":"x","b":1}'], [{ a: 'x', b: 1, c: 1 }, '/c: Unexpected property']]],
    ['a composite', Type.Composite([A, Type.Object({ b: I })]), [[{ a: 'x', b: 1, secret: 1 }, '{"a":"x","b":1}']]],
    ['a partial', Type.Partial(AB), [[{ b: 1, secret: 1 }, '{"b":1}'], [{}, '{}']]],
    ['a tuple', Type.Tuple([S, I, A]), [[['x', 1, { a: 'y', secret: 1 }], '["x",1,{"a":"y"}]'], [['x', 1],
      '/: Expected tuple to have 3 elements'], [['x', 1, { a: 'y' }, 2], '/: Expected tuple to have 3 elements'], [['x',
      'y', { a: 'z' }], '/1: Expected integer']]],
    ['a tuple of unions', Type.Tuple([Type.Union([S, Type.Null()]), Type.Union([A, AB])]), [[[null, { a: 'x', b: 1 }],
      '[null,{"a":"x","b":1}]'], [['x', { a: 'x', secret: 1 }], '["x",{"a":"x"}]']]],
    ['a tuple of anything',
      Type.Tuple([Type.Unknown(), Type.Tuple([]), Type.Literal(1), Type.Intersect([A, Type.Object({ b: I })])]), [[[{
        z: [1, null, 'x']
      }, [], 1, { a: 'x', b: 1, secret: 1 }], '[{"z":[1,null,"x"]},[],1,{"a":"x","b":1}]'], [[[1], [], 1, {
        a: 'x',
        b: 1
      }], '[[1],[],1,{"a":"x","b":1}]'], [['x', [], 1, { a: 'x', b: 1 }], '["x",[],1,{"a":"x","b":1}]']]],
    ['a recursive type', Type.Recursive(This => Type.Object({ v: I, kids: Type.Array(This) })), [[{
      v: 1,
      kids: [{ v: 2, kids: [], secret: 1 }]
    }, '{"v":1,"kids":[{"v":2,"kids":[]}]}'], [{
      v: 1,
      kids: [{ v: 'x', kids: [] }]
    }, '/kids/0/v: Expected integer']]],
    ['a recursive union', Type.Recursive(This => Type.Union([S, Type.Object({ inner: This })])), [['x', '"x"'], [{
      inner: { inner: 'x', secret: 1 }
    }, '{"inner":{"inner":"x"}}']]],
    ['a linked list',
      Type.Recursive(This => Type.Object({ v: I, next: Type.Union([This, Type.Null()]) }), { $id: 'List' }), [[{
        v: 1,
        next: { v: 2, next: null, secret: 1 }
      }, '{"v":1,"next":{"v":2,"next":null}}'], [{ v: 1 },
        '/next: Expected required property']]],
    ['a module', People.Import('Team'), [[{ lead: { name: 'x', friends: [{ name: 'y', friends: [], secret: 1 }] } },
      '{"lead":{"name":"x","friends":[{"name":"y","friends":[]}]}}'], [{ lead: { name: 1, friends: [] } },
      '/lead/name: Expected string']]],
    ['two imports of a module', Type.Object({ team: People.Import('Team'), person: People.Import('Person') }), [[{
      team: { lead: { name: 'x', friends: [] } },
      person: { name: 'y', friends: [], secret: 1 }
    }, '{"team":{"lead":{"name":"x","friends":[]}},"person":{"name":"y","friends":[]}}']]],
    ['a transformed type, in its wire form',
      Type.Object({
        at: Type.Transform(Type.String({ format: 'date-time' })).Decode(text => new Date(text)).Encode(date =>
          date.toISOString()
        )
      }), [[{ at: '2026-11-22T18:00:00Z' }, '{"at":"2026-11-22T18:00:00Z"}'], [{ at: new Date(0) },
        '/at: Expected string']]],
    ['anything', Type.Unknown(), [[{ a: [1, null] }, '{"a":[1,null]}'], [null, 'null'], ['x', '"x"']]],
    ['anything but', Type.Not(S), [[{ a: 1 }, '{"a":1}'], ['x', '/: must NOT be valid']]],
    ['nothing', Type.Array(Type.Never()), [[[], '[]'], [['x'], '/0: Never']]],
    ['an array with a search', Type.Array(I, { contains: Type.Literal(1), uniqueItems: true }), [[[1, 2], '[1,2]'], [[1,
      1], '/: Expected array elements to be unique'], [[2],
      '/: Expected array to contain at least one matching value']]],
    ['a key of', Type.KeyOf(AB), [['a', '"a"'], ['c', '/: Expected union value']]]
  ]
  for (const [title, schema, values] of rows) {
    for (const [value, expected] of values) t.equal(outcome(schema, value), expected, title)
  }
})

t.test('C1: of a union, the properties of all matching branches are sent, but no undeclared property', async t => {
  const ABorA = [AB, A] as const
  const AorAB = [A, AB] as const
  const refs: Record<string, TSchema> = {
    A,
    AB,
    Either: Type.Union([Type.Ref('A'), Type.Ref('AB')]),
    Deep: Type.Union([A, Type.Array(Type.Ref('AB')), Type.Ref('AB')])
  }
  const Refs = Type.Module(refs)
  const rows: Row[] = [
    ['the richer last', Type.Union([...AorAB]), [[{ a: 'x', b: 1 }, '{"a":"x","b":1}'], [{ a: 'x' }, '{"a":"x"}'], [{
      a: 'x',
      b: 1,
      secret: 1
    }, '{"a":"x","b":1}'], [{ a: 'x', secret: 1 }, '{"a":"x"}'], [{ a: 'x', b: 'no integer' }, '{"a":"x"}']]],
    ['the richer first', Type.Union([...ABorA]), [[{ a: 'x', b: 1 }, '{"a":"x","b":1}'], [{ a: 'x' }, '{"a":"x"}']]],
    ['nested', Type.Object({ list: Type.Array(Type.Union([...AorAB])) }), [[{
      list: [{ a: 'x', b: 1 }, { a: 'y', secret: 1 }]
    }, '{"list":[{"a":"x","b":1},{"a":"y"}]}']]],
    ['a union in a union', Type.Union([Type.Object({ o: A }), Type.Object({ o: Type.Union([...AorAB]) })]), [[{
      o: { a: 'x', b: 1 }
    }, '{"o":{"a":"x","b":1}}']]],
    ['richer further down', Type.Union([Type.Object({ o: A }), Type.Object({ o: AB })]), [[{ o: { a: 'x', b: 1 } },
      '{"o":{"a":"x","b":1}}']]],
    ['in an intersection', Type.Intersect([Type.Object({ k: S }), Type.Union([...AorAB])]), [[{
      k: 'k',
      a: 'x',
      b: 1,
      secret: 1
    }, '{"k":"k","a":"x","b":1}']]],
    ['in a record', Type.Record(S, Type.Union([...AorAB])), [[{ r: { a: 'x', b: 1 } }, '{"r":{"a":"x","b":1}}']]],
    ['with optional properties beside',
      Type.Union([Type.Object({ a: S, c: Type.Optional(S), d: Type.Optional(S) }), AB]), [[{ a: 'x', b: 1 },
        '{"a":"x","b":1}'], [{ a: 'x', d: 'y' }, '{"a":"x","d":"y"}']]],
    ['distinguished by a literal',
      Type.Union([Type.Object({ kind: Type.Literal('a'), x: Type.Optional(I) }),
        Type.Object({ kind: Type.Literal('b'), secret: I })]), [[{ kind: 'a', x: 1, secret: 1 }, '{"kind":"a","x":1}'],
        [{ kind: 'b', secret: 1, x: 1 }, '{"kind":"b","secret":1}']]],
    ['an object or a record', Type.Union([A, Type.Record(S, Type.Union([S, I]))]), [[{ a: 'x', z: 1 },
      '{"a":"x","z":1}']]],
    ['an object or anything', Type.Union([A, Type.Unknown()]), [[{ a: 'x', z: 1 }, '{"a":"x","z":1}'], [1, '1']]],
    ['of arrays', Type.Union([Type.Array(A), Type.Array(AB)]), [[[{ a: 'x', b: 1 }], '[{"a":"x","b":1}]']]],
    ['of references', Refs.Import('Either'), [[{ a: 'x', b: 1 }, '{"a":"x","b":1}'], [{ a: 'x', secret: 1 },
      '{"a":"x"}']]],
    ['of an object and references', Refs.Import('Deep'), [[{ a: 'x', b: 1 }, '{"a":"x","b":1}'], [[{
      a: 'x',
      b: 1,
      secret: 1
    }], '[{"a":"x","b":1}]']]],
    ['of a recursive type and less',
      Type.Recursive((This: TSchema): TSchema => Type.Union([A, Type.Object({ a: S, next: Type.Optional(This) })])), [[{
        a: 'x',
        next: { a: 'y', next: { a: 'z' } }
      }, '{"a":"x","next":{"a":"y","next":{"a":"z"}}}']]],
    ['of JSON Schemas', plain(Type.Union([...AorAB])), [[{ a: 'x', b: 1, secret: 1 }, '{"a":"x","b":1}']]],
    ['oneOf', Type.Unsafe({ oneOf: [A, { ...AB, required: ['b'] }] }), [[{ b: 1, secret: 1 }, '{"b":1}']]]
  ]
  for (const [title, schema, values] of rows) {
    for (const [value, expected] of values) t.equal(outcome(schema, value), expected, title)
  }
})

t.test('C1: a schema without a TypeBox kind is checked as in a Fastify request', async t => {
  const definitions = {
    type: 'object',
    definitions: { n: { type: 'integer' } },
    properties: { n: { $ref: '#/definitions/n' } }
  }
  const rows: Row[] = [
    ['an unsafe enum', Type.Unsafe<'a' | 'b'>({ type: 'string', enum: ['a', 'b'] }), [['a', '"a"'], ['c',
      '/: must be equal to one of the allowed values']]],
    ['an unsafe enum inside', Type.Object({ e: Type.Array(Type.Unsafe({ enum: ['a', 1, null] })) }), [[{
      e: ['a', 1, null]
    }, '{"e":["a",1,null]}'], [{ e: ['a', 'b'] }, '/e/1: must be equal to one of the allowed values']]],
    ['an unsafe object',
      Type.Object({
        o: Type.Unsafe({
          type: 'object',
          required: ['a'],
          properties: { a: { type: 'object', properties: { b: { type: 'integer' } } } }
        })
      }), [[{ o: { a: { b: 1, secret: 1 } } }, '{"o":{"a":{"b":1}}}'], [{ o: { a: { b: 'x' } } },
        '/o/a/b: must be integer'], [{ o: {} }, "/o: must have required property 'a'"]]],
    ['an unsafe object of TypeBox properties', Type.Unsafe({ type: 'object', properties: { o: AB } }), [[{
      o: { a: 'x', b: 1, secret: 1 }
    }, '{"o":{"a":"x","b":1}}'], [{ o: { a: 'x', b: 'y' } }, '/o/b: must be integer']]],
    ['JSON Schema', plain(AB), [[{ a: 'x', b: 1, secret: 1 }, '{"a":"x","b":1}'], [{ a: 'x', b: '1' },
      '/b: must be integer']]],
    ['JSON Schema with definitions', definitions as unknown as TSchema, [[{ n: 1, secret: 1 }, '{"n":1}'], [{ n: 'x' },
      '/n: must be integer']]],
    ['several types', plain({ type: ['string', 'null'] }), [[null, 'null'], ['x', '"x"'], [1,
      '/: must be string,null']]],
    ['nullable', Type.Object({ s: Type.Unsafe({ type: 'string', nullable: true }) }), [[{ s: null }, '{"s":null}'], [{
      s: 'x'
    }, '{"s":"x"}'], [{ s: 1 }, '/s: must be string']]],
    ['a condition',
      plain({
        type: 'object',
        required: ['k'],
        properties: { k: { type: 'string' } },
        if: { type: 'object', properties: { k: { const: 'a' } } },
        then: { type: 'object', properties: { n: { type: 'integer' } } }
      }), [[{ k: 'a', n: 1 }, '{"k":"a","n":1}'], [{
        k: 'b',
        n: 1
      }, '{"k":"b"}'], [{ k: 'a', n: 'x' }, '/n: must be integer']]]
  ]
  for (const [title, schema, values] of rows) {
    for (const [value, expected] of values) t.equal(outcome(schema, value), expected, title)
  }
})

t.test('C1: a $ref resolves to a schema of app.addSchema, and an error names the place inside it', async t => {
  const shared = {
    AB: plain({ ...AB, $id: 'AB' }),
    Tree: plain(Type.Recursive(This => Type.Object({ v: I, kids: Type.Array(This) }), { $id: 'Tree' })),
    Uses: { $id: 'Uses', type: 'object', properties: { ab: { $ref: 'AB#' } } },
    Either: { $id: 'Either', anyOf: [plain(A), plain(AB)] },
    EitherRef: { $id: 'EitherRef', anyOf: [plain(A), { $ref: 'AB#' }] }
  }
  const rows: Row[] = [
    ['Type.Ref', Type.Ref('AB'), [[{ a: 'x', b: 1, secret: 1 }, '{"a":"x","b":1}'], [{ a: 'x', b: 'y' },
      '/b: must be integer'], [{}, "/: must have required property 'a'"]]],
    ['Type.Ref inside', Type.Object({ l: Type.Array(Type.Ref('AB')) }), [[{ l: [{ a: 'x', b: 1, secret: 1 }] },
      '{"l":[{"a":"x","b":1}]}'], [{ l: [{ a: 'x', b: 'y' }] }, '/l/0/b: must be integer'], [{ l: [1] },
      '/l/0: must be object']]],
    ['Type.Ref with a hash, as in Fastify', Type.Ref('AB#'), [[{ a: 'x', b: 1, secret: 1 }, '{"a":"x","b":1}'], [{
      a: 1,
      b: 1
    }, '/a: must be string']]],
    ['$ref', Type.Unsafe({ $ref: 'AB#' }), [[{ a: 'x', b: 1, secret: 1 }, '{"a":"x","b":1}'], [{ a: 'x', b: 'y' },
      '/b: must be integer']]],
    ['$ref inside', Type.Object({ l: Type.Array(Type.Unsafe({ $ref: 'AB#' })) }), [[{
      l: [{ a: 'x', b: 1, secret: 1 }]
    }, '{"l":[{"a":"x","b":1}]}'], [{ l: [{ a: 'x', b: 'y' }] }, '/l/0/b: must be integer']]],
    ['$ref to a part', Type.Unsafe({ $ref: 'AB#/properties/b' }), [[1, '1'], ['x', '/: must be integer']]],
    ['plain $ref', plain({ $ref: 'AB#' }), [[{ a: 'x', b: 1, secret: 1 }, '{"a":"x","b":1}']]],
    ['a $ref in what is referred to', Type.Ref('Uses'), [[{ ab: { a: 'x', b: 1, secret: 1 } },
      '{"ab":{"a":"x","b":1}}'], [{ ab: { a: 'x', b: 'y' } }, '/ab/b: must be integer']]],
    ['a recursive one', Type.Ref('Tree'), [[{ v: 1, kids: [{ v: 2, kids: [], secret: 1 }] },
      '{"v":1,"kids":[{"v":2,"kids":[]}]}'], [{ v: 1, kids: [{ v: 'x', kids: [] }] }, '/kids/0/v: must be integer']]],
    ['a union', Type.Ref('Either'), [[{ a: 'x', b: 1, secret: 1 }, '{"a":"x","b":1}']]],
    ['a union of references', Type.Union([Type.Object({ a: S }), Type.Ref('AB')]), [[{ a: 'x', b: 1, secret: 1 },
      '{"a":"x","b":1}']]],
    ['a union of references in what is referred to', Type.Ref('EitherRef'), [[{ a: 'x', b: 1, secret: 1 },
      '{"a":"x","b":1}']]],
    ['a tuple of references', Type.Tuple([Type.Ref('AB'), Type.Ref('Either')]), [[[{ a: 'x', b: 1, secret: 1 }, {
      a: 'y',
      b: 2
    }], '[{"a":"x","b":1},{"a":"y","b":2}]']]],
    ['the same schema in place and by reference',
      Type.Object({ here: Type.Object({ a: S, b: I }, { $id: 'AB' }), there: Type.Ref('AB') }), [[{
        here: { a: 'x', b: 1, secret: 1 },
        there: { a: 'y', b: 2 }
      }, '{"here":{"a":"x","b":1},"there":{"a":"y","b":2}}']]],
    ['a part', plain({ type: 'array', items: { $ref: 'Uses#/properties/ab' } }), [[[{ a: 'x', b: 1, secret: 1 }],
      '[{"a":"x","b":1}]']]]
  ]
  for (const [title, schema, values] of rows) {
    for (const [value, expected] of values) t.equal(outcome(schema, value, shared), expected, title)
  }
})

t.test('C3: a reference without a target is rejected at start-up', async t => {
  const missing = [Type.Ref('Missing'), Type.Unsafe({ $ref: 'Missing#' }),
    Type.Object({ a: Type.Array(Type.Ref('Missing')) }),
    plain({ type: 'object', properties: { a: { $ref: '#/definitions/missing' } } })]
  for (const schema of missing) t.match(outcome(schema as TSchema, 1), /^unusable: .*missing/i)
})

t.test('an invalid shared schema is harmless if no event refers to it', async t => {
  const shared = {
    Keyword: { $id: 'Keyword', type: 'string', 'x-ours': true },
    Format: { $id: 'Format', type: 'string', format: 'no-such-format' },
    Missing: { $id: 'Missing', type: 'array', items: { $ref: 'NotHere#' } }
  }
  t.equal(outcome(AB, { a: 'x', b: 1 }, shared), '{"a":"x","b":1}')
  t.match(outcome(Type.Ref('Keyword'), 'x', shared), /^unusable: .*unknown keyword: "x-ours"/)
  t.match(outcome(Type.Ref('Missing'), [], shared), /^unusable: .*NotHere/)
})

t.test('C3: a type without a JSON form is rejected at start-up, at any depth', async t => {
  const never = {
    Date: Type.Date(),
    BigInt: Type.BigInt(),
    Undefined: Type.Undefined(),
    Void: Type.Void(),
    Uint8Array: Type.Uint8Array(),
    Symbol: Type.Symbol(),
    Function: Type.Function([S], S),
    Constructor: Type.Constructor([S], S),
    Promise: Type.Promise(S),
    Iterator: Type.Iterator(S),
    AsyncIterator: Type.AsyncIterator(S)
  }
  for (const [name, schema] of Object.entries(never)) {
    for (const nested of [schema, Type.Object({ a: schema }),
      Type.Object({ a: Type.Optional(Type.Union([S, schema])) }), Type.Array(schema), Type.Tuple([schema]),
      Type.Record(S, schema)]) {
      t.match(outcome(nested as TSchema, null), /^unusable: schema is invalid: /, name)
    }
  }
  t.match(outcome({ type: 'nonsense' } as unknown as TSchema, null), /^unusable: schema is invalid: /)
})

t.test('C2: a value without a JSON form does not match a schema that admits any value', async t => {
  for (const nothing of [undefined, () => 1, Symbol('s')]) {
    for (const any of [Type.Any(), Type.Unknown(), Type.Unsafe({}), Type.Not(S)]) {
      t.match(outcome(any as TSchema, nothing), /^\/: ./)
      t.match(outcome(Type.Object({ x: any as TSchema }), { x: nothing }), /^\/x: ./)
      t.match(outcome(Type.Array(any as TSchema), [1, nothing]), /^\/1: ./)
    }
    t.equal(outcome(Type.Object({ x: Type.Optional(Type.Unknown()) }), { x: undefined }), '{}')
    t.equal(outcome(Type.Object({ x: Type.Unknown() }), { x: { y: nothing, z: [nothing] } }), '{"x":{"z":[null]}}',
      'an inner value is serialized as JSON.stringify does')
  }
})

t.test('one scope compiles the same schema any number of times', async t => {
  const compile = schemaCompiler({ AB: plain({ ...AB, $id: 'AB' }) })
  const Tree = Type.Recursive(This => Type.Object({ v: I, kids: Type.Array(This) }), { $id: 'Tree' })
  for (let i = 0; i < 2; i++) {
    t.equal(compile(Tree).write({ v: 1, kids: [] }), '{"v":1,"kids":[]}')
    t.equal(compile(Type.Object({ a: S, b: I }, { $id: 'AB' })).write({ a: 'x', b: 1 }), '{"a":"x","b":1}')
    t.equal(compile(Type.Unsafe({ $ref: 'AB#' })).write({ a: 'x', b: 1 }), '{"a":"x","b":1}')
  }
})

t.test('compiling does not change a schema', async t => {
  const schema = Type.Object({
    u: Type.Union([A, AB]),
    f: Type.String({ format: 'uuid' }),
    e: Type.Unsafe({ enum: [1] }),
    t: Type.Tuple([Type.Union([S, I])]),
    r: Type.Ref('AB')
  })
  const shared = { AB: plain({ ...Type.Union([A, AB]), $id: 'AB' }) }
  const before = JSON.stringify([schema, shared])
  schemaCompiler(shared)(schema)
  t.equal(JSON.stringify([schema, shared]), before)
  t.equal(schema.properties.e[Kind], 'Unsafe')
})

t.test('explain() returns a text also for a valid value', async t => {
  t.strictSame(schemaCompiler({})(S).explain('x'), { path: '/', message: 'does not match the schema' })
})

t.test('W5: a reference is textual if its target is textual', async t => {
  const shared = { Word: plain({ ...S, $id: 'Word' }), Size: plain({ ...I, $id: 'Size' }) }
  t.ok(schemaCompiler(shared)(Type.Ref('Word')).textual)
  t.notOk(schemaCompiler(shared)(Type.Ref('Size')).textual)
})

/** A schema, and valid values with only declared properties. */
interface Sample { schema: TSchema, values: fc.Arbitrary<unknown> }

const leaf = (schema: TSchema, values: fc.Arbitrary<unknown>): fc.Arbitrary<Sample> => fc.constant({ schema, values })
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map(value => value === 0 ? 0 : value)
const NAMES = ['a', 'b', 'c', 'd', 'a/b~c', 'é', "it's", '`$', '{x}', '__a']

/** An object with properties from `names`; `rest`: the schema of its other properties. */
function objects (property: fc.Arbitrary<Sample>, names: readonly string[]): fc.Arbitrary<Sample> {
  return fc.dictionary(fc.constantFrom(...names), fc.tuple(property, fc.boolean()), {
    maxKeys: 4,
    noNullPrototype: true
  }).map(declared => {
    const properties = Object.entries(declared)
    return {
      schema: Type.Object(
        Object.fromEntries(
          properties.map(([name, [{ schema }, optional]]) => [name, optional ? Type.Optional(schema) : schema])
        )
      ),
      values: fc.record(Object.fromEntries(properties.map(([name, [{ values }]]) => [name, values])), {
        requiredKeys: properties.filter(([, [, optional]]) => !optional).map(([name]) => name),
        noNullPrototype: true
      })
    }
  })
}

/** All kinds of types. `open`: with types that admit unnamed properties. */
function samples (open: boolean): fc.Arbitrary<Sample> {
  const { sample } = fc.letrec<{ sample: Sample }>(tie => {
    const some = tie('sample')
    const list = fc.array(some, { minLength: 1, maxLength: 3 })
    return {
      sample: fc.oneof(
        { maxDepth: 3, depthIdentifier: 'sample' },
        fc.oneof(
          leaf(S, fc.string({ unit: 'binary' })),
          leaf(Type.Number(), number),
          leaf(I, fc.maxSafeInteger().map(value => value === 0 ? 0 : value)),
          leaf(Type.Boolean(), fc.boolean()),
          leaf(Type.Null(), fc.constant(null)),
          leaf(Type.Literal('a'), fc.constant('a')),
          leaf(Type.Literal(1), fc.constant(1)),
          leaf(Type.String({ format: 'ipv4' }), fc.ipV4()),
          leaf(Type.Unsafe({ enum: ['a', 1, null] }), fc.constantFrom('a', 1, null)),
          ...(open
            ? [leaf(Type.Unknown(), fc.jsonValue().map(value => JSON.parse(JSON.stringify(value)) as unknown))]
            : [])
        ),
        objects(some, NAMES),
        some.map(({ schema, values }) => ({ schema: Type.Array(schema), values: fc.array(values, { maxLength: 3 }) })),
        list.map(parts => ({
          schema: Type.Union(parts.map(part => part.schema)),
          values: fc.oneof(...parts.map(part => part.values))
        })
        ),
        list.map(parts => ({
          schema: Type.Tuple(parts.map(part => part.schema)),
          values: fc.tuple(...parts.map(part => part.values))
        })
        ),
        fc.tuple(objects(some, ['a', 'b', 'c']), objects(some, ['d', 'e', 'f'])).map(([one, two]) => ({
          schema: Type.Intersect([one.schema, two.schema]),
          values: fc.tuple(one.values, two.values).map(([first, second]) => Object.assign({}, first, second) as unknown)
        })),
        some.map(({ schema, values }) => ({
          schema: Type.Recursive(This => Type.Object({ value: schema, next: Type.Union([This, Type.Null()]) })),
          values: fc.array(values, { minLength: 1, maxLength: 3 }).map(chain =>
            chain.reduceRight((next, value) => ({ value, next }), null as unknown)
          )
        })),
        ...(open
          ? [
              some.map(({ schema, values }) => ({
                schema: Type.Record(S, schema),
                values: fc.dictionary(fc.string({ unit: 'grapheme' }), values, { maxKeys: 3, noNullPrototype: true })
              })
              )
            ]
          : [])
      )
    }
  })
  return sample
}

const fitting = (open: boolean): fc.Arbitrary<[TSchema, unknown]> =>
  samples(open).chain(({ schema, values }) => fc.tuple(fc.constant(schema), values))

t.test('C1: any valid value with only declared properties is sent unchanged', async t => {
  let compiled = 0
  fc.assert(fc.property(fitting(true), ([schema, value]) => {
    const { write, textual } = schemaCompiler({})(schema)
    compiled++
    const text = write(value)!
    deepStrictEqual(textual ? text : JSON.parse(text), value)
  }), { numRuns: 150 })
  t.equal(compiled, 150)
})

/** The value with an undeclared property in each of its objects. */
function withSecrets (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withSecrets)
  if (typeof value !== 'object' || value === null) return value
  return {
    ...Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, withSecrets(inner)])),
    'not declared': 'secret'
  }
}

t.test('C1: an undeclared property is never sent', async t => {
  let compiled = 0
  fc.assert(fc.property(fitting(false), ([schema, value]) => {
    const { write } = schemaCompiler({})(schema)
    compiled++
    deepStrictEqual(write(withSecrets(value))!.includes('not declared'), false)
  }), { numRuns: 150 })
  t.equal(compiled, 150)
})
