import t from 'tap'
import { isSchemaNode, type SchemaNode } from '../../lib/schema/json-schema.ts'
import { Subschema } from '../../lib/schema/subschema.ts'

const of = (schema: SchemaNode, shared: Record<string, unknown> = {}): Subschema =>
  Subschema.fromRoot(schema, { shared, isAjvSchema: node => node.plain === true })

t.test('a subschema has its location in its resource, and the path of its values', async t => {
  const schema = { properties: { 'a/b~': { plain: true, items: [{ anyOf: [{}, { type: 'string' }] }] } } }
  const home = of(schema).child('properties', 'a/b~', 'a/b~')
  t.equal(home.instancePath, '/a~1b~0')
  t.equal(home.pointer, '')
  t.equal(home.resource.root, schema.properties['a/b~'])
  t.ok(home.resource.checkedByAjv)
  const [, text] = home.child('items', 0, 0).children('anyOf')
  t.strictSame([text!.node, text!.pointer, text!.instancePath], [{ type: 'string' }, '/items/0/anyOf/1', '/a~1b~0/0'])
  t.equal(home.child('properties2').node, undefined)
  t.strictSame(home.children('allOf'), [])
  t.equal(of(schema).child('properties', 'a/b~').instancePath, '')
})

t.test('a reference resolves to the schema with the id, inside the schema or among the shared schemas', async t => {
  const shared = {
    Car: { $id: 'Car', definitions: { 'n/m %': { type: 'integer' } }, items: { $ref: '#/definitions/n~1m%20%25' } }
  }
  const inner = { $id: 'inner', items: { $ref: '#' } }
  const schema = { plain: true, properties: { a: inner, b: { $anchor: 'here' }, c: { $id: '#there' } } }
  const root = of(schema, shared)
  t.equal(root.resolve('#').node, schema)
  t.equal(root.resolve('inner').node, inner)
  t.equal(root.resolve('inner#/items').node, inner.items)
  t.equal(root.child('properties', 'a').resolve('#').node, inner)
  t.equal(root.resolve('#here').node, schema.properties.b)
  t.equal(root.resolve('#there').node, schema.properties.c)
  const car = root.resolve('Car#')
  t.equal(car.node, shared.Car)
  t.equal(car.child('items').resolve('#/definitions/n~1m%20%25').node, shared.Car.definitions['n/m %'])
  for (const nothing of ['Bus', '#/definitions/a', 'Car#/items/constructor', 'constructor', '__proto__#']) {
    t.throws(() => root.resolve(nothing), { message: `Cannot find reference "${nothing}"` })
  }
})

t.test('a module has its own names', async t => {
  const word = (type: string): SchemaNode => ({ $defs: { Word: { $id: 'Word', type } }, $ref: 'Word' })
  const schema = { anyOf: [word('string'), word('integer')] }
  t.strictSame(
    of(schema).children('anyOf').map(module => module.resolve('Word').node).filter(isSchemaNode).map(({ type }) =>
      type
    ),
    ['string', 'integer']
  )
})
