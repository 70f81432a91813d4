import { FormatRegistry, Type } from '@sinclair/typebox'
import Type1 from 'typebox'
import t from 'tap'
import { loadTypeBoxes, typeBoxes, unlessMissing } from '../../lib/schema/packages.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'

t.test('no version of TypeBox is loaded before it is asked for', async t => {
  t.strictSame(typeBoxes(), {})
  await loadTypeBoxes()
  const { sinclair, typebox } = typeBoxes()
  t.equal(sinclair?.FormatRegistry, FormatRegistry, 'the copy that the program imports')
  t.ok(typebox?.hasFormat('uuid'))
  await loadTypeBoxes()
  t.equal(typeBoxes().sinclair, sinclair, 'once')
})

t.test('a package that is not installed is no error', async t => {
  const absent = 'fastify-typed-sse-absent'
  t.equal(await unlessMissing(async () => await import(absent) as unknown), undefined)
})

t.test('C1: without TypeBox, Ajv checks the schemas that TypeBox has made', async t => {
  const compile = schemaCompiler({}, {}, {})
  const old = Type.Object({ id: Type.String({ format: 'uuid' }), n: Type.Optional(Type.Union([Type.Integer(), Type.Null()])) })
  const next = Type1.Object({ id: Type1.String({ format: 'uuid' }), n: Type1.Optional(Type1.Union([Type1.Integer(), Type1.Null()])) })
  const id = '0b5a9c1e-7f0e-4a55-9d8e-3f6f0f1b2c3d'
  for (const schema of [old, next]) {
    const { write, explain } = compile(schema)
    t.equal(write({ id, n: null, secret: 1 }), `{"id":"${id}","n":null}`)
    t.equal(write({ id: 'x' }), undefined)
    t.strictSame(explain({ id: 'x' }), { path: '/id', message: 'must match format "uuid"' })
  }
  const List = Type.Recursive(This => Type.Object({ v: Type.Integer(), next: Type.Union([This, Type.Null()]) }))
  t.equal(compile(List).write({ v: 1, next: { v: 2, next: null, secret: 1 } }), '{"v":1,"next":{"v":2,"next":null}}')
  t.throws(() => compile(Type.Object({ at: Type.Date() })), {
    message: "schema is invalid: at '/at' the type 'Date' has no form in JSON: declare Type.String({ format: 'date-time' }), and send date.toISOString()"
  })
  t.throws(() => compile(Type1.Object({ n: Type1.Refine(Type1.Integer(), n => n > 1) })), {
    message: 'Ajv cannot check Type.Refine: install typebox, and make the schemas around it with typebox'
  })
})
