import { deepStrictEqual } from 'node:assert'
import { Kind, Type, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { loadTypeBoxes } from '../../lib/schema/packages.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import type { SharedSchemas } from '../../lib/schema/text-schema.ts'

await loadTypeBoxes()

const plain = (schema: object): TSchema => JSON.parse(JSON.stringify(schema)) as TSchema
const S = Type.String()
const I = Type.Integer()
const Any = Type.Any()
const O = Type.Object

/** Returns the JSON, or the mismatch. */
function sent (schema: TSchema, value: unknown, shared: SharedSchemas = {}): string {
  const { write, explain } = schemaCompiler(shared)(schema)
  const text = write(value)
  if (text !== undefined) return text
  const { path, message } = explain(value)
  return `${path}: ${message}`
}

type Row = [title: string, schema: TSchema, value: unknown, expected: string]
const check = (t: Test, rows: Row[], shared?: SharedSchemas): void => {
  for (const [title, schema, value, expected] of rows) t.equal(sent(schema, value, shared), expected, title)
}

t.test('C5: an undeclared property does not change the declared properties of a union', async t => {
  const Named = O({ type: S, user: O({ name: S }) })
  const Loose = O({ type: S, meta: Type.Optional(Any) })
  const shared = {
    Named: { ...plain(Named), $id: 'Named' },
    Either: { $id: 'Either', anyOf: [{ $ref: 'Named#' }, plain(Loose)] }
  }
  const value = { type: 'a', user: { name: 'Ann', hash: 'x' }, hash: 'y' }
  const expected = '{"type":"a","user":{"name":"Ann"}}'
  check(t, [
    ['in this order', Type.Union([Named, Loose]), value, expected],
    ['in the other', Type.Union([Loose, Named]), value, expected],
    ['in a list', Type.Array(Type.Union([Named, Loose])), [value], `[${expected}]`],
    ['in an object', O({ o: Type.Union([Named, Loose]) }), { o: value }, `{"o":${expected}}`],
    ['in an intersection', Type.Intersect([O({ k: I }), Type.Union([Named, Loose])]), { ...value, k: 1 },
      '{"k":1,"type":"a","user":{"name":"Ann"}}'],
    ['in a union', Type.Union([Type.Union([Named, Loose]), Type.Null()]), value, expected],
    ['of JSON Schema', plain(Type.Union([Named, Loose])), value, expected],
    ['of references', Type.Union([Type.Ref('Named'), Loose]), value, expected],
    ['by a reference', Type.Ref('Either'), value, expected],
    ['by a reference inside', plain(O({ o: Type.Unsafe({ $ref: 'Either#' }) })), { o: value }, `{"o":${expected}}`],
    ['what both declare', Type.Union([Named, Loose]), { ...value, meta: { any: [1] } },
      '{"type":"a","user":{"name":"Ann"},"meta":{"any":[1]}}'],
    ['of lists', Type.Union([Type.Array(O({ a: S })), Type.Array(O({ b: Type.Optional(S) }))]), [{
      a: 'x',
      b: 'y',
      c: 'z'
    }], '[{"a":"x","b":"y"}]'],
    ['of a list and more', Type.Union([Type.Tuple([O({ a: S })]), Type.Array(O({ b: Type.Optional(S) }))]), [{
      a: 'x',
      b: 'y'
    }], '[{"a":"x","b":"y"}]'],
    ['of a value that does not match',
      Type.Union([O({ kind: Type.Literal('a'), x: I }), O({ kind: Type.Literal('b'), hash: S })]), {
        kind: 'a',
        x: 1,
        hash: 'x'
      }, '{"kind":"a","x":1}'],
    ['of an object and anything but a text', Type.Union([O({ a: S }), Type.Not(S)]), { a: 'x', b: 1 },
      '{"a":"x","b":1}']
  ], shared)
})

t.test('C1: a subschema that only constrains a value declares no properties beside another subschema', async t => {
  const one = {
    type: 'object',
    properties: { a: { type: 'string' }, b: { type: 'string' } },
    anyOf: [{ required: ['a'] }, { required: ['b'] }]
  }
  const more = {
    type: 'object',
    properties: { a: { type: 'string' } },
    anyOf: [{ type: 'object', properties: { b: { type: 'string' } }, required: ['b'] }, {}]
  }
  check(t, [
    ['required', plain(one), { a: 'x', c: 1 }, '{"a":"x"}'],
    ['not required', plain(one), { c: 1 }, "/: must have required property 'a'"],
    ['anything beside', plain(more), { a: 'x', b: 'y', c: 1 }, '{"a":"x","b":"y"}'],
    ['anything beside alone', plain(more), { a: 'x', c: 1 }, '{"a":"x"}'],
    ['an intersection with anything', Type.Intersect([O({ a: S }), Type.Unknown()]), { a: 'x', c: 1 }, '{"a":"x"}'],
    ['properties in both', Type.Intersect([O({ a: Any }), O({ a: O({ b: S }) })]), { a: { b: 'x', c: 1 } },
      '{"a":{"b":"x"}}'],
    ['no properties', plain({ type: 'object' }), { c: 1 }, '{}'],
    ['no items', plain({ type: 'array' }), [{ c: 1 }], '[{"c":1}]'],
    ['a condition',
      plain({
        if: { type: 'object', required: ['k'] },
        then: { type: 'object', properties: { k: {} } },
        else: { type: 'object', properties: { n: {} } }
      }), { n: 1, m: 2 }, '{"n":1}'],
    ['a condition without else',
      plain({ if: { type: 'object', required: ['k'] }, then: { type: 'object', properties: { k: {} } } }), { n: 1 },
      '{}'],
    ['further items', plain({ type: 'array', items: [{ type: 'string' }] }), ['a', { c: 1 }], '["a"]'],
    ['any further items',
      plain({ type: 'array', items: [{ type: 'string' }], additionalItems: { type: 'object', properties: { a: {} } } }),
      ['a', { a: 1, c: 1 }], '["a",{"a":1}]'],
    ['too many items', Type.Tuple([S]), ['a', 'b'], '/: Expected tuple to have 1 elements'],
    ['patterns of two', Type.Intersect([Type.Record(Type.RegExp(/^a/), I), Type.Record(Type.RegExp(/b$/), I)]), {
      ax: 1,
      xb: 2,
      c: 3
    }, '{"ax":1,"xb":2}'],
    ['a pattern and others',
      plain({
        type: 'object',
        patternProperties: { '^a': { type: 'integer' } },
        additionalProperties: { type: 'object', properties: { b: {} } }
      }), { a: 1, x: { b: 1, c: 1 } },
      '{"a":1,"x":{"b":1}}'],
    ['none further', Type.Intersect([O({ a: S }), O({ b: S })], { unevaluatedProperties: false }), {
      a: 'x',
      b: 'y',
      c: 1
    }, '/c: Unexpected property']
  ])
})

t.test('C1: if no branch of a union declares contents, then the whole value is declared', async t => {
  const sizes = { anyOf: [{ minProperties: 1 }], oneOf: [{ maxProperties: 5 }] }
  check(t, [
    ['an object', { type: 'object', ...sizes } as unknown as TSchema, { a: { b: 1 } }, '{"a":{"b":1}}'],
    ['any object', sizes as unknown as TSchema, { a: 1 }, '{"a":1}'],
    ['any list', sizes as unknown as TSchema, [1, { a: 2 }], '[1,{"a":2}]'],
    ['a schema with an id',
      {
        $id: 'Top',
        anyOf: [{ type: 'object', properties: { a: { type: 'integer' } } }, {
          type: 'object',
          properties: { b: { type: 'integer' } }
        }]
      } as unknown as TSchema, { a: 1, b: 2, c: 3 }, '{"a":1,"b":2}']
  ])
})

t.test('C1: two schemas may have the same id, as in a copied map', async t => {
  const top = () =>
    ({
      $id: 'Top',
      anyOf: [{ type: 'object', properties: { a: { type: 'integer' } } }, {
        type: 'object',
        properties: { b: { type: 'integer' } }
      }]
    }) as unknown as TSchema
  const compile = schemaCompiler({})
  for (const { write } of [compile(top()), compile(top())]) {
    t.equal(write({ a: 1, b: 2, c: 3 }), '{"a":1,"b":2}')
  }
})

t.test('C3: references resolve in their own schema, and a reference without a target is rejected', async t => {
  const shared = {
    'a/b': {
      $id: 'a/b',
      type: 'object',
      properties: {
        'x/y~z %': { anyOf: [{ type: 'object', properties: { a: {} } }, { type: 'array', items: { $ref: '#' } }] }
      }
    }
  }
  check(t, [
    ['to a part', plain({ $ref: 'a/b#/properties/x~1y~0z%20%25' }), { a: 1, b: 2 }, '{"a":1}'],
    ['to a whole with the part', plain({ $ref: 'a/b#' }), { 'x/y~z %': [{ 'x/y~z %': { a: 1, b: 2 }, b: 1 }] },
      '{"x/y~z %":[{"x/y~z %":{"a":1}}]}'],
    ['to an anchor',
      plain({
        definitions: { n: { $id: '#n', type: 'object', properties: { a: {} } } },
        type: 'array',
        items: { $ref: '#n' }
      }), [{ a: 1, b: 2 }], '[{"a":1}]'],
    ['to an id inside', plain({
      definitions: {
        n: {
          $id: 'inner',
          type: 'object',
          properties: { a: { $ref: '#/definitions/m' } },
          definitions: {
            m: {
              anyOf: [{ type: 'object', properties: { x: {} }, required: ['x'] }, {
                type: 'object',
                properties: { y: {} },
                required: ['y']
              }]
            }
          }
        }
      },
      type: 'array',
      items: { $ref: 'inner' }
    }), [{ a: { x: 1, z: 2 }, b: 2 }], '[{"a":{"x":1}}]']
  ], shared)
})

t.test('C5: the checked value is the serialized value, for any toJSON', async t => {
  const Short = O({ a: Type.String({ maxLength: 1 }) })
  let n = 0
  const fickle = {
    get a () {
      return n++ === 0 ? 'x' : 'longer than one'
    }
  }
  const proxy = (): object => {
    let n = 0
    return new Proxy({ a: 'x' }, { get: (_, name) => name === 'a' ? n++ === 0 ? 'x' : 'longer than one' : undefined })
  }
  class Money {
    a = 'longer'
    toJSON (): unknown {
      return { a: 'x', secret: 1 }
    }
  }
  const itself: Record<string, unknown> = { a: 'x' }
  itself.toJSON = () => itself
  const list = Object.assign([{ a: 'x' }], { toJSON: () => [{ a: 'longer' }] })
  const none = { toJSON: () => undefined }
  check(t, [
    ['a form that does not match', Short, { a: 'x', toJSON: () => ({ a: 'longer than one' }) },
      '/a: Expected string length less or equal to 1'],
    ['a form that matches', Short, new Money(), '{"a":"x"}'],
    ['a form inside', O({ o: Short }), { o: { a: 'x', toJSON: () => ({ a: 'longer' }) } },
      '/o/a: Expected string length less or equal to 1'],
    ['a form of its own form', Short, itself, '{"a":"x"}'],
    ['a form in a union', Type.Union([Short, O({ b: S })]), { a: 'x', toJSON: () => ({ a: 'longer' }) },
      '/: does not match the schema'],
    ['a form in another language', plain(Short), { a: 'x', toJSON: () => ({ a: 'longer' }) },
      '/a: must NOT have more than 1 characters'],
    ['a list with a form', Type.Array(Short), list, '/0/a: Expected string length less or equal to 1'],
    ['a form that is a list', Type.Array(Short), { toJSON: () => [{ a: 'x', b: 1 }] }, '[{"a":"x"}]'],
    ['a form that is a string', Short, new Date(0), '/: Expected object'],
    ['a date is no string', O({ at: Type.String({ format: 'date-time' }) }), { at: new Date(0) },
      '/at: Expected string'],
    ['a date is no string of a union', O({ at: Type.Union([S, Type.Null()]) }), { at: new Date(0) },
      '/at: Expected union value'],
    ['a date under a schema that admits any value', O({ at: Any }), { at: new Date(0) },
      '{"at":"1970-01-01T00:00:00.000Z"}'],
    ['a form under a schema that excludes strings', Type.Not(S), { toJSON: () => 'text' }, '/: must NOT be valid'],
    ['no form under a schema that excludes strings', Type.Not(S), none, '/: JSON has no form for undefined'],
    ['no form', O({ a: Any }), { a: none }, '/a: Expected required property'],
    ['a form with a form', O({ a: Any }), { a: { toJSON: () => new Date(0) } }, '{"a":{}}'],
    ['a getter', Short, fickle, '{"a":"x"}'],
    ['a proxy', Short, proxy(), '{"a":"x"}'],
    ['a proxy in a union', Type.Union([Short, Type.Null()]), proxy(), '{"a":"x"}'],
    ['a boxed text', Short, { a: Object('x') }, '/a: Expected string']
  ])
})

t.test('C5: a tag selects the branch of a union, and that branch is checked', async t => {
  const shown = O({ kind: Type.Literal('shown'), x: Any })
  const hidden = O({ kind: Type.Literal('hidden'), x: O({ n: I }) })
  const both = Type.Union([shown, hidden, Type.Null()])
  let reads = 0
  const fickle = (...tags: string[]): object => ({
    get kind () {
      return tags[reads++ % tags.length]
    },
    x: { n: 1, secret: 2 }
  })
  class Inherited {
    get kind (): string {
      return 'hidden'
    }

    get x (): object {
      return { n: 1, secret: 2 }
    }
  }
  check(t, [
    ['one', both, { kind: 'shown', x: { n: 1, more: 2 }, secret: 1 }, '{"kind":"shown","x":{"n":1,"more":2}}'],
    ['the other', both, { kind: 'hidden', x: { n: 1, secret: 2 } }, '{"kind":"hidden","x":{"n":1}}'],
    ['of JSON Schema', plain(both), { kind: 'hidden', x: { n: 1, secret: 2 } }, '{"kind":"hidden","x":{"n":1}}'],
    ['of numbers', Type.Union([O({ v: Type.Literal(1), a: I }), O({ v: Type.Literal(2), b: I })]), { v: 2, a: 1, b: 2 },
      '{"v":2,"b":2}'],
    ['beside properties', Type.Intersect([O({ id: I }), Type.Union([shown, hidden])]), {
      id: 1,
      kind: 'hidden',
      x: { n: 1, secret: 2 },
      y: 1
    }, '{"id":1,"kind":"hidden","x":{"n":1}}'],
    ['inherited', both, new Inherited(), '{"kind":"hidden","x":{"n":1}}'],
    ['a value that does not match', both, { kind: 'hidden', x: 1 }, '/: Expected union value'],
    ['no such tag', both, { kind: 'other', x: 1 }, '/: Expected union value'],
    ['no tag', both, { x: 1 }, '/: Expected union value'],
    ['no object', both, null, 'null']
  ])
  // The getter returns another tag on the second read: no property is sent under the schema of the other branch.
  for (const tags of [['shown', 'hidden'], ['hidden', 'shown']]) {
    reads = 0
    t.equal(schemaCompiler({})(both).write(fickle(...tags)), undefined, tags.join())
  }
})

t.test('C1: a closed object rejects a property of any name', async t => {
  for (const name of ['secret', '__proto__', 'constructor']) {
    const value = JSON.parse(`{"a":"x","${name}":{}}`) as object
    for (const schema of [O({ a: S }, { additionalProperties: false }),
      plain(O({ a: S }, { additionalProperties: false }))]) {
      t.equal(schemaCompiler({})(schema).write(value), undefined, name)
    }
  }
  t.equal(sent(O({ a: S, b: Type.Optional(S) }, { additionalProperties: false }), { a: 'x' }), '{"a":"x"}')
})

t.test('a property may have a name that every object inherits', async t => {
  const names = ['constructor', 'toString', 'valueOf', 'hasOwnProperty', '__proto__', '__defineGetter__',
    'isPrototypeOf', 'toJSON']
  for (const name of names) {
    const value = JSON.parse(`{"a":"x","${name}":1}`) as object
    for (const any of [Any, Type.Unknown(), I]) {
      const schema = O({ a: S, ...JSON.parse(`{"${name}":0}`) as object })
      Object.defineProperty(schema.properties, name, {
        value: Type.Optional(any as TSchema),
        enumerable: true,
        configurable: true,
        writable: true
      })
      schema.required = ['a']
      for (const one of [schema, plain(schema), Type.Union([schema, O({ b: S })]),
        Type.Intersect([schema, O({ b: Type.Optional(S) })])]) {
        t.equal(sent(one as TSchema, { a: 'x' }), '{"a":"x"}', name)
        t.equal(sent(one as TSchema, value), `{"a":"x","${name}":1}`, name)
      }
    }
    t.equal(sent(Type.Record(S, I), JSON.parse(`{"${name}":1}`)), `{"${name}":1}`, name)
  }
})

t.test('C3: a type without a JSON form is rejected at start-up, with its place and an alternative', async t => {
  const rows: Array<[schema: TSchema, message: string]> = [
    [O({ at: Type.Date() }),
      "schema is invalid: at '/at' the type 'Date' has no form in JSON: declare Type.String({ format: 'date-time' }), and send date.toISOString()"],
    [O({ 'a/b': Type.Array(Type.BigInt()) }),
      "schema is invalid: at '/a~1b/0' the type 'bigint' has no form in JSON: declare Type.String(), and send String(value)"],
    [Type.Record(S, Type.Union([S, Type.Uint8Array()])),
      "schema is invalid: at '/*' the type 'Uint8Array' has no form in JSON: declare Type.String(), and send it in base64"],
    [Type.Tuple([S, Type.Symbol()]),
      "schema is invalid: at '/1' the type 'symbol' has no form in JSON: leave it out, or declare the type that you send instead"]
  ]
  for (const [schema, message] of rows) t.throws(() => schemaCompiler({})(schema), { message })
})

t.test('a regular expression and an intersection of strings are sent as plain text', async t => {
  check(t, [
    ['a regular expression', O({ a: Type.RegExp(/^x/i) }), { a: 'Xy', b: 1 }, '{"a":"Xy"}'],
    ['a value that does not match', O({ a: Type.RegExp(/^x/i) }), { a: 'y' },
      '/a: Expected string to match regular expression'],
    ['an intersection', O({ a: Type.Intersect([Type.String({ minLength: 2 }), Type.Union([S, I])]) }), { a: 'xy' },
      '{"a":"xy"}'],
    ['of two formats', O({ a: Type.Intersect([Type.String({ format: 'email' }), Type.String({ format: 'regex' })]) }), {
      a: 'a@b.co'
    }, '{"a":"a@b.co"}'],
    ['of two literals beside a text',
      O({ a: Type.Optional(Type.Intersect([Type.Literal('a'), Type.Literal('b')])), c: S }), { c: 'x' }, '{"c":"x"}']
  ])
  t.ok(schemaCompiler({})(Type.RegExp(/^x/)).textual)
})

// Any schema.

interface Sample { schema: TSchema, values: fc.Arbitrary<unknown> }

/** Schemas of objects, mostly unions: some property names are equal, so that branches overlap. */
const { sample } = fc.letrec<{ sample: Sample }>(tie => {
  const some = tie('sample')
  const list = fc.array(some, { minLength: 1, maxLength: 3 })
  const object: fc.Arbitrary<Sample> = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.tuple(some, fc.boolean()),
    { maxKeys: 3, noNullPrototype: true }).map(declared => {
    const properties = Object.entries(declared)
    return {
      schema: O(
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
  const union = (parts: Sample[]): Sample => ({
    schema: Type.Union(parts.map(({ schema }) => schema)),
    values: fc.oneof(...parts.map(({ values }) => values))
  })
  return {
    sample: fc.oneof(
      { maxDepth: 3, depthIdentifier: 'declared' },
      fc.constantFrom<Sample>(
        { schema: S, values: fc.string() },
        { schema: I, values: fc.integer() },
        { schema: Type.Null(), values: fc.constant(null) },
        { schema: Type.Literal('a'), values: fc.constant('a') },
        { schema: Type.Union([Type.Literal('a'), Type.Literal(1)]), values: fc.constantFrom('a', 1) },
        { schema: Any, values: fc.constantFrom<unknown>('x', { deep: [{ n: 1 }] }, [{ a: 1 }]) }
      ),
      object,
      object,
      list.map(union),
      list.map(union),
      fc.tuple(object, object).map(([one, two]) => {
        const tagged = [one, two].map(({ schema, values }, i): Sample => ({
          schema: O({ tag: Type.Literal(i), ...schema.properties as Record<string, TSchema> }),
          values: values.map(value => ({ ...value as object, tag: i }))
        }))
        return union(tagged)
      }),
      some.map(({ schema, values }) => ({ schema: Type.Array(schema), values: fc.array(values, { maxLength: 2 }) })),
      some.map(({ schema, values }) => ({
        schema: Type.Record(S, schema),
        values: fc.dictionary(fc.constantFrom('x', 'a', 'constructor'), values, { noNullPrototype: true })
      })
      ),
      list.map(parts => ({
        schema: Type.Tuple(parts.map(({ schema }) => schema)),
        values: fc.tuple(...parts.map(({ values }) => values))
      })
      ),
      fc.tuple(object, object).map(([one, two]) => ({
        schema: Type.Intersect([one.schema, O({ z: two.schema })]),
        values: fc.tuple(one.values, two.values).map(([first, second]) => ({ ...first as object, z: second }))
      })),
      some.map(({ schema, values }) => ({
        schema: Type.Recursive(This => O({ value: schema, next: Type.Union([This, Type.Null()]) })),
        values: fc.array(values, { minLength: 1, maxLength: 3 }).map(chain =>
          chain.reduceRight((next, value) => ({ value, next }), null as unknown)
        )
      }))
    )
  }
})

/** The value with additional properties in its objects, some with the names that other branches declare. */
function withMore (value: unknown, more: readonly string[], deep: unknown): unknown {
  if (Array.isArray(value)) return value.map(inner => withMore(inner, more, deep))
  if (typeof value !== 'object' || value === null) return value
  const own = Object.entries(value).map(([name, inner]): [string, unknown] => [name, withMore(inner, more, deep)])
  return Object.fromEntries([
    ...more.filter(name => !Object.hasOwn(value, name)).map((name): [string, unknown] => [name, deep]),
    ...own
  ])
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

function both (one: unknown, two: unknown): unknown {
  if (Array.isArray(one) && Array.isArray(two)) return one.map((item, i) => both(item, two[i]))
  if (!isObject(one) || !isObject(two)) return one
  return Object.fromEntries([...new Set([...Object.keys(one), ...Object.keys(two)])].map(name => {
    const [first, second] = [one, two].map(from => Object.hasOwn(from, name) ? from[name] : undefined)
    return [name, first === undefined ? second : second === undefined ? first : both(first, second)]
  }))
}

/** The declared part of a value, by a simple model: of a union, the properties of each branch that matches. */
function declared (schema: TSchema, value: unknown, above: TSchema[] = []): unknown {
  const refs = schema.$id === undefined ? above : [...above, schema]
  const part = (of: unknown, inner: unknown): unknown => declared(of as TSchema, inner, refs)
  switch (schema[Kind]) {
    case 'This':
      return part(above.find(({ $id }) => $id === schema.$ref), value)
    case 'Union':
      return (schema.anyOf as TSchema[]).filter(branch => Value.Check(branch, refs, value)).map(branch =>
        part(branch, value)
      ).reduce(both)
    case 'Intersect':
      return (schema.allOf as TSchema[]).map(branch => part(branch, value)).reduce(both)
    case 'Array':
      return (value as unknown[]).map(item => part(schema.items, item))
    case 'Tuple':
      return (value as unknown[]).map((item, i) => part((schema.items as TSchema[])[i], item))
    case 'Record':
      return Object.fromEntries(
        Object.entries(value as object).map((
          [name, inner]
        ) => [name, part(Object.values(schema.patternProperties as object)[0], inner)])
      )
    case 'Object':
      return Object.fromEntries(
        Object.entries(schema.properties as object).filter(([name]) => Object.hasOwn(value as object, name)).map((
          [name, of]
        ) => [name, part(of, (value as Record<string, unknown>)[name])])
      )
    default:
      return value
  }
}

t.test('C5: of any valid value with any additional properties, the declared part is sent', async t => {
  let compared = 0
  fc.assert(
    fc.property(sample.chain(({ schema, values }) => fc.tuple(fc.constant(schema), values)),
      fc.uniqueArray(fc.constantFrom('secret', 'a', 'b', 'value'), { minLength: 1 }),
      fc.constantFrom<unknown>('a', 1, null, { a: 'a', secret: 1 }, [{ secret: 1 }]), ([schema, value], more, deep) => {
        const given = withMore(value, more, deep)
        const { write, textual } = schemaCompiler({})(schema)
        const text = write(given)
        const fits = Value.Check(schema, given)
        deepStrictEqual(text !== undefined, fits)
        if (!fits) return
        compared++
        deepStrictEqual(textual ? text : JSON.parse(text!), declared(schema, given))
      }),
    { numRuns: 150 }
  )
  t.ok(compared > 30, `${compared} values were compared`)
})
