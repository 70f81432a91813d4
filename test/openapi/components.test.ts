import t from 'tap'
import { Components, minorOf, type OpenApiDocument } from '../../lib/openapi/components.ts'

const empty = (openapi = '3.2.0'): OpenApiDocument & { components: { schemas: Record<string, unknown> } } => ({
  openapi,
  components: { schemas: {} }
})

t.test('a schema is stored once, under its name', async t => {
  const document = empty()
  const source = {}
  const ref = () => Components.of(document).refTo(source, 'Order', () => ({ type: 'object' }))
  t.strictSame(ref(), { $ref: '#/components/schemas/Order' })
  t.strictSame(ref(), { $ref: '#/components/schemas/Order' })
  t.strictSame(document.components.schemas, { Order: { type: 'object' } })
})

t.test('if another schema has the name, a number is appended, and an equal schema shares its component', async t => {
  const document = empty()
  const ref = (type: string) => Components.of(document).refTo({}, 'Order', () => ({ type })).$ref
  t.strictSame(['object', 'string', 'object', 'string', 'array'].map(ref),
    ['Order', 'Order-1', 'Order', 'Order-1', 'Order-2'].map(name => `#/components/schemas/${name}`))
  t.strictSame(Object.keys(document.components.schemas), ['Order', 'Order-1', 'Order-2'])
})

t.test('an equal schema that is in the document is used, also if it has its $id as title', async t => {
  const document = empty()
  Object.assign(document.components.schemas, { 'def-0': { type: 'string', title: 'Word' }, Size: { type: 'integer' } })
  const components = Components.of(document)
  t.equal(components.refTo({}, 'Word', () => ({ type: 'string' })).$ref, '#/components/schemas/def-0')
  t.equal(components.refTo({}, 'Number', () => ({ type: 'integer' })).$ref, '#/components/schemas/Size')
  t.equal(components.refTo({}, 'Other', () => ({ type: 'string' })).$ref, '#/components/schemas/Other')
})

t.test('a schema that refers to itself is recognized when it is added again', async t => {
  const document = empty()
  const components = Components.of(document)
  const tree = () => {
    const source = {}
    const ref = (): { $ref: string } => components.refTo(source, 'Tree', () => ({ type: 'array', items: ref() }))
    return ref().$ref
  }
  t.equal(tree(), '#/components/schemas/Tree')
  t.equal(tree(), '#/components/schemas/Tree')
  t.strictSame(document.components.schemas, { Tree: { type: 'array', items: { $ref: '#/components/schemas/Tree' } } })
})

t.test('characters that a component name must not contain are replaced', async t => {
  const document = empty()
  const name = (preferred: string) =>
    Components.of(document).refTo({ preferred }, preferred, () => ({ title: preferred })).$ref.slice(
      '#/components/schemas/'.length
    )
  t.strictSame(['http://example.com/a b.json#', 'Größe', '??', 'x_1.y', 'toString'].map(name), [
    'http-example.com-a-b.json',
    'Gr-e',
    'schema',
    'x_1.y',
    'toString'
  ])
  t.equal(name('__proto__'), 'schema-1')
  t.equal(Object.getPrototypeOf(document.components.schemas), Object.prototype)
})

t.test('components are added to a document without any; in OpenAPI 3.0 they are in an extension', async t => {
  const bare: OpenApiDocument = { openapi: '3.1.0' }
  Components.of(bare).refTo({}, 'A', () => ({}))
  t.strictSame(bare, { openapi: '3.1.0', components: { schemas: { A: {} } } })
  const old = empty('3.0.3')
  t.equal(Components.of(old).refTo({}, 'A', () => ({})).$ref, '#/x-schemas/A')
  t.strictSame(old, { ...empty('3.0.3'), 'x-schemas': { A: {} } })
})

t.test('minorOf returns the second number of the version', async t => {
  t.strictSame(['3.0.3', '3.1.0', '3.2.0', '3.2', '3.10.1', undefined].map(openapi => minorOf({ openapi })), [0, 1, 2,
    2, 10, 0])
})

t.test('firstOf returns the first source with a content', async t => {
  const components = Components.of({ openapi: '3.2.0' })
  const [first, second] = [{}, {}]
  t.equal(components.firstOf('a', first), first)
  t.equal(components.firstOf('a', second), first)
  t.equal(components.firstOf('b', second), second)
})
