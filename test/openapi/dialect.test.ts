import { Type, type TSchema } from '@sinclair/typebox'
import t from 'tap'
import type { SchemaNode } from '../../lib/schema/json-schema.ts'
import { Components } from '../../lib/openapi/components.ts'
import { toJsonSchema202012 } from '../../lib/openapi/dialect.ts'

/** Converts a schema, and returns it with the components that it needs. */
function convert (
  schema: object,
  shared: Record<string, unknown> = {}
): { schema: SchemaNode, components: Record<string, unknown> } {
  const components = {}
  const converted = toJsonSchema202012(schema as SchemaNode, shared,
    Components.of({ openapi: '3.2.0', components: { schemas: components } }))
  return { schema: converted, components }
}

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })
const S = { type: 'string' }
const N = { type: 'number' }

t.test('draft 7 is converted to 2020-12', async t => {
  const cases: Array<[string, object, object]> = [
    ['a string with a format', Type.String({ format: 'uuid', description: 'Its id' }), {
      type: 'string',
      format: 'uuid',
      description: 'Its id'
    }],
    ['a regular expression', Type.RegExp(/^a/i, { title: 'A' }), { type: 'string', pattern: '^a', title: 'A' }],
    ['a literal', Type.Literal('a'), { const: 'a', type: 'string' }],
    ['a tuple', Type.Tuple([Type.String(), Type.Number()]), {
      type: 'array',
      prefixItems: [S, N],
      items: false,
      minItems: 2,
      maxItems: 2
    }],
    ['a list of items', { type: 'array', items: [S] }, { type: 'array', prefixItems: [S] }],
    ['more items', { type: 'array', items: [S], additionalItems: N }, { type: 'array', prefixItems: [S], items: N }],
    ['a nullable type', { type: 'string', nullable: true }, { type: ['string', 'null'] }],
    ['a nullable list of types', { type: ['string', 'number'], nullable: true }, {
      type: ['string', 'number', 'null']
    }],
    ['a type that is not nullable', { type: 'string', nullable: false }, S],
    ['nullable by itself', { nullable: true }, {}],
    ['a record with any keys', Type.Record(Type.String(), Type.Number()), { type: 'object', additionalProperties: N }],
    ['a record with a pattern for its keys', Type.Record(Type.String({ pattern: '^x' }), Type.Number()), {
      type: 'object',
      patternProperties: { '^x': N }
    }],
    ['any keys and a pattern', { type: 'object', patternProperties: { '^(.*)$': S, '^x': N } }, {
      type: 'object',
      patternProperties: { '^[^]*$': S, '^x': N }
    }],
    ['any keys of TypeBox 1.x', { type: 'object', patternProperties: { '^.*$': N } }, {
      type: 'object',
      additionalProperties: N
    }],
    ['a nullable tuple', { type: 'array', items: [S], nullable: true }, { type: ['array', 'null'], prefixItems: [S] }],
    ['dependencies', { dependencies: { a: ['b'], c: { items: [S] } } }, {
      dependentRequired: { a: ['b'] },
      dependentSchemas: { c: { prefixItems: [S] } }
    }],
    ['names that depend on others', { dependencies: { a: ['b'] } }, { dependentRequired: { a: ['b'] } }],
    ['schemas that depend on names', { dependencies: { a: S } }, { dependentSchemas: { a: S } }],
    ['schemas in other keywords', { propertyNames: { nullable: false }, dependentSchemas: { a: { items: [S] } } }, {
      propertyNames: {},
      dependentSchemas: { a: { prefixItems: [S] } }
    }],
    ['properties', Type.Object({ a: Type.Optional(Type.Tuple([Type.String()])) }), {
      type: 'object',
      properties: { a: { type: 'array', prefixItems: [S], items: false, minItems: 1, maxItems: 1 } }
    }],
    ['keywords that only name a schema', {
      $schema: 'http://json-schema.org/draft-07/schema#',
      definitions: { unused: S },
      ...N
    }, N]
  ]
  for (const [title, schema, expected] of cases) t.same(convert(schema).schema, expected, title)
  t.strictSame(Object.getOwnPropertySymbols(convert(Type.String()).schema), [], 'the symbols of TypeBox are removed')
})

t.test('a schema with an $id is a component of that name', async t => {
  const word = Type.String({ $id: 'Word' })
  t.same(convert(word), { schema: ref('Word'), components: { Word: S } })
  t.same(convert(Type.Object({ a: word, b: word })), {
    schema: { type: 'object', required: ['a', 'b'], properties: { a: ref('Word'), b: ref('Word') } },
    components: { Word: S }
  })
})

t.test('named schemas inside a named schema, and a reference without a target', async t => {
  const outer = () => ({
    $id: 'Outer',
    type: 'object',
    properties: { inner: { $id: 'Inner', type: 'string' }, lost: { $ref: 'Missing' } }
  })
  const components = {
    Outer: { type: 'object', properties: { inner: ref('Inner'), lost: { $ref: 'Missing' } } },
    Inner: S
  }
  t.match(convert({ type: 'array', items: outer() }), { schema: { type: 'array', items: ref('Outer') } })
  t.same(Object.keys(convert({ anyOf: [outer(), outer()] }).components).sort(), Object.keys(components).sort(),
    'two equal schemas are one component')
})

t.test('a recursive type refers to itself', async t => {
  const tree = Type.Recursive(This => Type.Object({ kids: Type.Array(This) }), { $id: 'Tree' })
  const components = {
    Tree: { type: 'object', required: ['kids'], properties: { kids: { type: 'array', items: ref('Tree') } } }
  }
  t.same(convert(tree), { schema: ref('Tree'), components })
  t.same(convert(Type.Array(tree)), { schema: { type: 'array', items: ref('Tree') }, components })
})

t.test('a type of a module refers to the other types', async t => {
  const types: Record<string, TSchema> = {
    A: Type.Object({ b: Type.Ref('B') }),
    B: Type.Union([Type.Null(), Type.Array(Type.Ref('A'))]),
    C: Type.String()
  }
  const module = Type.Module(types)
  const components = {
    A: { type: 'object', required: ['b'], properties: { b: ref('B') } },
    B: { anyOf: [{ type: 'null' }, { type: 'array', items: ref('A') }] }
  }
  t.same(convert(module.Import('A')), { schema: ref('A'), components })
  t.same(convert(Type.Object({ a: module.Import('A') })).components, components,
    'a type that is not referred to is no component')
})

t.test('references to shared schemas, direct and nested', async t => {
  const shared = {
    Address: { $id: 'Address', type: 'object', properties: { street: S, land: { $ref: 'Land#' } } },
    Land: { $id: 'Land', type: 'string', definitions: { code: { type: 'string', minLength: 2 } } },
    Local: {
      $id: 'Local',
      type: 'object',
      properties: { a: { $ref: '#/definitions/part' }, all: { $ref: '#' } },
      definitions: { part: N }
    },
    Named: { $id: 'Named', definitions: { inner: { $id: 'Inner', type: 'string' } }, $ref: 'Inner' }
  }
  const at = (to: string): TSchema => Type.Unsafe({ $ref: to })
  const address = { Address: { type: 'object', properties: { street: S, land: ref('Land') } }, Land: S }
  t.same(convert(Type.Ref('Address'), shared), { schema: ref('Address'), components: address })
  t.same(convert(Type.Object({ home: Type.Ref('Address') }), shared).components, address)
  t.same(convert(at('Land#/definitions/code'), shared), {
    schema: ref('code'),
    components: { code: { type: 'string', minLength: 2 } }
  })
  t.same(convert(at('Local'), shared).components, {
    Local: { type: 'object', properties: { a: ref('part'), all: ref('Local') } },
    part: N
  })
  t.same(convert(at('Named'), shared).components, { Named: ref('Inner'), Inner: S })
})

t.test('a reference to a property of Object.prototype is an empty schema', async t => {
  for (const $ref of ['constructor', '__proto__#', 'Missing#']) t.same(convert({ $ref }).schema, {})
})

t.test('references within a schema', async t => {
  const local = {
    type: 'object',
    $defs: { 'a/b': S, list: { type: 'array', items: { $ref: '#/$defs/a~1b' } } },
    properties: { list: { $ref: '#/$defs/list' } }
  }
  t.same(convert(local), {
    schema: { type: 'object', properties: { list: ref('list') } },
    components: { list: { type: 'array', items: ref('a-b') }, 'a-b': S }
  })
  t.same(convert({ type: 'object', properties: { me: { $ref: '#' } } }).schema, {
    type: 'object',
    properties: { me: ref('schema') }
  })
  const anchor = { definitions: { a: { $id: '#word', type: 'string' } }, $ref: '#word' }
  t.same(convert(anchor), { schema: ref('word'), components: { word: S } })
})

t.test('a recursive type without a name has the name of its event', async t => {
  const components = {}
  const openapi = Components.of({ openapi: '3.2.0', components: { schemas: components } })
  const recursive = (key: string): SchemaNode => ({
    $ref: `#/definitions/${key}`,
    definitions: { [key]: { title: key, items: { $ref: `#/definitions/${key}` } } }
  })
  for (const key of ['0', 'intersection12', 'address2']) toJsonSchema202012(recursive(key), {}, openapi, 'tree')
  toJsonSchema202012({ items: { $ref: '#' } }, {}, openapi, 'list')
  t.strictSame(Object.keys(components), ['tree', 'tree-1', 'address2', 'list'])
})

t.test('a local name has priority over a shared one', async t => {
  const own = { $defs: { Word: N }, type: 'object', properties: { a: { $ref: 'Word' } } }
  t.same(convert(own, { Word: { $id: 'Word', type: 'string' } }).components, { Word: N })
})

t.test('siblings of a reference are kept', async t => {
  const shared = { Word: { $id: 'Word', type: 'string' } }
  t.same(convert(Type.Ref('Word', { description: 'A word' }), shared).schema, {
    description: 'A word',
    allOf: [ref('Word')]
  })
  t.same(convert({ $ref: 'Word', allOf: [{ items: [S] }], minLength: 1 }, shared).schema, {
    minLength: 1,
    allOf: [ref('Word'), { prefixItems: [S] }]
  })
})

t.test('a reference without a target is an empty schema', async t => {
  for (const to of ['Missing', 'Word#/definitions/none', '#/a/b/c', '#/__proto__', 'Word#/constructor/prototype']) {
    t.same(convert(Type.Unsafe({ $ref: to }), { Word: { $id: 'Word' } }).schema, {}, to)
  }
})
