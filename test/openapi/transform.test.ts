import { Type } from '@sinclair/typebox'
import type { FastifySchema } from 'fastify'
import t from 'tap'
import { sseTransform, type TransformInput } from '../../lib/openapi/transform.ts'
import '../../lib/server/types.ts'

const sse = { note: Type.String() }

function given (schema: object | undefined, more: Partial<TransformInput> = {}): TransformInput {
  return { schema: schema as FastifySchema, url: '/a/:b', route: { schema }, openapiObject: { openapi: '3.2.0', components: { schemas: {} } }, ...more }
}

const media = (input: TransformInput): object => {
  const { response } = sseTransform(input).schema as { response: Record<string, { content: Record<string, object> }> }
  return response[200]!.content['text/event-stream']!
}

t.test('a route without events, and one that is hidden, stay as they are', async t => {
  for (const schema of [undefined, {}, { body: {} }, { sse, hide: true }]) {
    const made = sseTransform(given(schema))
    t.equal(made.schema, schema)
    t.equal(made.url, '/a/:b')
  }
  const input = given({ sse, hide: true })
  sseTransform(input)
  t.strictSame(input.openapiObject, { openapi: '3.2.0', components: { schemas: {} } })
})

t.test('a stream is a list of events to OpenAPI 3.2, and a text to those before it', async t => {
  const ref = { $ref: '#/components/schemas/a-b-event' }
  const text = { type: 'string', description: 'Server-Sent Events:\n\n- `note` (text)' }
  t.strictSame(media(given({ sse })), { schema: { type: 'array', items: ref }, itemSchema: ref })
  t.strictSame(media(given({ sse }, { openapiObject: { openapi: '3.1.1' } })), { schema: text, 'x-itemSchema': ref })
  t.strictSame(media(given({ sse }, { openapiObject: { openapi: '3.0.3' } })), { schema: text, 'x-itemSchema': { $ref: '#/x-schemas/a-b-event' } })
  t.strictSame(media(given({ sse }, { url: '/' })), { schema: { type: 'array', items: { $ref: '#/components/schemas/event' } }, itemSchema: { $ref: '#/components/schemas/event' } })
  t.match(sseTransform(given({ sse }, { openapiObject: undefined })).schema, { produces: ['text/event-stream'], response: { 200: text } })
})

t.test('the events are no longer in the schema, and what was given is not changed', async t => {
  const schema = { sse, summary: 'Mine', response: { 200: { type: 'object' } } }
  const before = structuredClone({ ...schema, sse: undefined })
  const made = sseTransform(given(schema))
  t.notOk('sse' in made.schema)
  t.match(made.schema, { summary: 'Mine' })
  t.strictSame({ ...schema, sse: undefined }, before)
})

t.test('another transform may come before it, and leave the events out', async t => {
  const input = given({ sse })
  const made = sseTransform({ ...input, schema: { summary: 'Theirs' } as FastifySchema, url: '/v1/a' })
  t.match(made, { url: '/v1/a', schema: { summary: 'Theirs', response: { 200: { content: { 'text/event-stream': {} } } } } })
  t.match(sseTransform({ ...input, route: {} }).schema, { response: { 200: { content: { 'text/event-stream': {} } } } })
})
