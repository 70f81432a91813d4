import { Type } from '@sinclair/typebox'
import { type } from 'arktype'
import t from 'tap'
import Type1 from 'typebox'
import { z } from 'zod'
import {
  inputSchemaOf, isSchema, isStandardSchema, jsonSchemaOf, vendorName, vendorOf, withJsonSchema
} from '../../lib/schema/vendor.ts'

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

t.test('a schema of TypeBox 1.x is recognized without a kind, too', async t => {
  for (const schema of [Type1.String(), Type1.Unsafe({ type: 'string' }), Type1.Refine(Type1.Unsafe({}), () => true),
    Type1.Codec(Type1.String()).Decode(Number).Encode(String)]) t.equal(vendorOf(schema), 'typebox')
})

t.test('the name of a library, for messages', async t => {
  t.strictSame([Type.Null(), Type1.Null(), { type: 'null' }, z.null(), type('null'), standard].map(vendorName),
    ['@sinclair/typebox', 'typebox', 'JSON Schema', 'zod', 'arktype', 'own'])
  t.strictSame([z.null(), type('null'), {}, () => {}, null, []].map(isSchema), [true, true, true, false, false, false])
})

t.test('the JSON Schema of the input may differ from the one of the output', async t => {
  const schema = z.object({ a: z.string().pipe(z.coerce.number()) })
  t.match(jsonSchemaOf(schema), { properties: { a: { type: 'number' } } })
  t.match(inputSchemaOf(schema), { properties: { a: { type: 'string' } } })
  t.throws(() => jsonSchemaOf(z.date()), { message: 'Date cannot be represented in JSON Schema: declare the data as sent, or add a JSON Schema with withJsonSchema()' })
  t.throws(() => jsonSchemaOf(type('Date')), { message: /^a type has no form in JSON: / })
})
