import { Type } from '@sinclair/typebox'
import t from 'tap'
import { isStandardSchema, jsonSchemaOf, vendorOf, withJsonSchema } from '../../lib/schema/vendor.ts'

const standard = { '~standard': { version: 1, vendor: 'own', validate: (value: unknown) => ({ value }) } }

t.test('the vendor of a schema', async t => {
  t.equal(vendorOf(Type.String()), 'sinclair-typebox')
  t.equal(vendorOf({ type: 'string' }), 'json-schema')
  t.equal(vendorOf({}), 'json-schema')
  t.equal(vendorOf(standard), 'standard')
  t.equal(vendorOf(Object.assign(() => {}, standard)), 'standard', 'a schema of ArkType is a function')
  t.equal(vendorOf(Object.defineProperty({ type: 'string' }, '~kind', { value: 'String' })), 'typebox')
  for (const value of [undefined, null, 'string', 1, [], () => {}]) t.equal(vendorOf(value), undefined)
  for (const value of [{ '~standard': {} }, { '~standard': null }, null]) t.notOk(isStandardSchema(value))
})

t.test('the JSON Schema of a schema', async t => {
  const text = { type: 'string' }
  t.equal(jsonSchemaOf(text), text)
  const schema = withJsonSchema(standard, { $schema: 'http://json-schema.org/draft-07/schema#', type: 'string' })
  t.strictSame(jsonSchemaOf(schema), text)
  t.equal(jsonSchemaOf(schema), jsonSchemaOf(schema), 'the same object each time')
  t.throws(() => jsonSchemaOf(standard), { message: /^own gives no JSON Schema: add it with withJsonSchema/ })
  t.throws(() => jsonSchemaOf({ '~standard': { ...standard['~standard'], vendor: 'valibot' } }), { message: /toStandardJsonSchema/ })
  t.throws(() => jsonSchemaOf(withJsonSchema(standard, [] as never)), { message: 'own gives no JSON Schema' })
})
