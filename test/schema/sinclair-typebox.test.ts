import { createRequire } from 'node:module'
import { FormatRegistry, Kind, Type, type TSchema } from '@sinclair/typebox'
import t from 'tap'
import { AjvChecker, isAjvSchema } from '../../lib/schema/ajv.ts'
import type { Checker } from '../../lib/schema/checker.ts'
import type { SchemaNode } from '../../lib/schema/json-schema.ts'
import { loadTypeBoxes, typeBoxes } from '../../lib/schema/packages.ts'
import { sinclairChecker } from '../../lib/schema/sinclair-typebox.ts'
import { Subschema } from '../../lib/schema/subschema.ts'

await loadTypeBoxes()

const shared = { Size: { $id: 'Size', type: 'integer' } }
const checkerOf = (schema: TSchema): Checker =>
  sinclairChecker(typeBoxes().sinclair!, schema as unknown as SchemaNode, shared, new AjvChecker(shared, {}))

t.test('C1: TypeBox checks its own schemas, and Ajv the schemas inside that TypeBox cannot check', async t => {
  const { schema, check, explain } = checkerOf(Type.Object({
    a: Type.String(),
    b: Type.Unsafe({ type: 'object', properties: { c: { type: 'integer' } } }),
    size: Type.Ref('Size')
  }))
  t.equal(schema[Kind], 'Object')
  const { a, b, size } = schema.properties as Record<string, SchemaNode>
  t.strictSame([schema, a, b, size].map(node => isAjvSchema(node!)), [false, false, true, true])
  t.ok(check({ a: 'x', b: { c: 1 }, size: 1 }))
  t.equal(explain({ a: 'x', b: { c: 1 }, size: 1 }), undefined)
  t.strictSame(explain({ a: 1, b: {}, size: 1 }), { path: '/a', message: 'Expected string' })
  t.strictSame(explain({ a: 'x', b: { c: 'y' }, size: 1 }), { path: '/b/c', message: 'must be integer' })
  t.strictSame(explain({ a: 'x', b: {}, size: 'y' }), { path: '/size', message: 'must be integer' })
  t.strictSame(explain({ a: 'x', b: () => 1, size: 1 }), { path: '/b', message: 'JSON has no form for a function' })
})

t.test('C1: a branch of a union is checked by itself, with the references of its schema', async t => {
  const { schema, compileBranch } = checkerOf(Type.Recursive(This =>
    Type.Object({ next: Type.Union([This, Type.Unsafe({ type: 'string' })]) }), { $id: 'List' }))
  const root = Subschema.fromRoot(schema, { shared, isAjvSchema })
  const [own, ofAjv] = root.child('properties', 'next').children('anyOf').map(compileBranch)
  t.strictSame([{ next: 'x' }, { next: { next: 'x' } }, { next: 1 }, 'x'].map(own!), [true, true, false, false])
  t.strictSame(['x', 1].map(ofAjv!), [true, false])
})

t.test('a format of Fastify is registered in TypeBox, unless the program has registered it', async t => {
  t.notOk(FormatRegistry.Has('ipv6'))
  t.teardown(() => FormatRegistry.Delete('ipv6'))
  t.notOk(checkerOf(Type.String({ format: 'ipv6' })).check('x'))
  t.ok(FormatRegistry.Has('ipv6'))
  FormatRegistry.Set('ipv6', text => text === 'x')
  t.ok(checkerOf(Type.String({ format: 'ipv6' })).check('x'))
})

t.test('the schemas of a CommonJS program are the same', async t => {
  const { Type: Other } = createRequire(import.meta.url)('@sinclair/typebox') as { Type: typeof Type }
  t.not(Other, Type)
  const { schema, check, explain } = checkerOf(Other.Object({ a: Other.Union([Other.String(), Other.Null()]) }))
  t.notOk(isAjvSchema(schema))
  t.ok(check({ a: null }))
  t.strictSame(explain({ a: 1 }), { path: '/a', message: 'Expected union value' })
})
