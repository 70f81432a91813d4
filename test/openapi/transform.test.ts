import { Type } from '@sinclair/typebox'
import type { FastifySchema } from 'fastify'
import t from 'tap'
import { sseTransform, type TransformInput } from '../../lib/openapi/transform.ts'
import { rememberRoute } from '../../lib/server/route-declarations.ts'
import '../../lib/server/types.ts'

const sse = { note: Type.String() }

function inputOf (schema: object | undefined, more: Partial<TransformInput> = {}): TransformInput {
  return {
    schema: schema as FastifySchema,
    url: '/a/:b',
    route: { schema },
    openapiObject: { openapi: '3.2.0', components: { schemas: {} } },
    ...more
  }
}

const media = (input: TransformInput): object => {
  const { response } = sseTransform(input).schema as { response: Record<string, { content: Record<string, object> }> }
  return response[200]!.content['text/event-stream']!
}

t.test('a route without events and a hidden route are unchanged', async t => {
  for (const schema of [undefined, {}, { body: {} }, { sse, hide: true }]) {
    const result = sseTransform(inputOf(schema))
    t.equal(result.schema, schema)
    t.equal(result.url, '/a/:b')
  }
  const input = inputOf({ sse, hide: true })
  sseTransform(input)
  t.strictSame(input.openapiObject, { openapi: '3.2.0', components: { schemas: {} } })
})

t.test('the stream is a list of events in OpenAPI 3.2, and a text in earlier versions', async t => {
  const ref = { $ref: '#/components/schemas/a-b-event' }
  const text = { type: 'string', description: 'Server-Sent Events:\n\n- `note` (text)' }
  t.strictSame(media(inputOf({ sse })), { schema: { type: 'array', items: ref }, itemSchema: ref })
  t.strictSame(media(inputOf({ sse }, { openapiObject: { openapi: '3.1.1' } })), { schema: text, 'x-itemSchema': ref })
  t.strictSame(media(inputOf({ sse }, { openapiObject: { openapi: '3.0.3' } })), {
    schema: text,
    'x-itemSchema': { $ref: '#/x-schemas/a-b-event' }
  })
  t.strictSame(media(inputOf({ sse }, { url: '/' })), {
    schema: { type: 'array', items: { $ref: '#/components/schemas/event' } },
    itemSchema: { $ref: '#/components/schemas/event' }
  })
  t.match(sseTransform(inputOf({ sse }, { openapiObject: undefined })).schema, {
    produces: ['text/event-stream'],
    response: { 200: text }
  })
})

t.test('the events are removed from the schema, and the input is not changed', async t => {
  const schema = { sse, summary: 'Mine', response: { 200: { type: 'object' } } }
  const before = structuredClone({ ...schema, sse: undefined })
  const result = sseTransform(inputOf(schema))
  t.notOk('sse' in result.schema)
  t.match(result.schema, { summary: 'Mine' })
  t.strictSame({ ...schema, sse: undefined }, before)
})

t.test('a transform that runs before it may drop the events', async t => {
  const input = inputOf({ sse })
  const result = sseTransform({ ...input, schema: { summary: 'Theirs' } as FastifySchema, url: '/v1/a' })
  t.match(result, {
    url: '/v1/a',
    schema: { summary: 'Theirs', response: { 200: { content: { 'text/event-stream': {} } } } }
  })
  t.match(sseTransform({ ...input, route: {} }).schema, { response: { 200: { content: { 'text/event-stream': {} } } } })
})

t.test('the formats of the registration are the media types of its routes', async t => {
  const schema = { sse }
  const input = inputOf(schema)
  rememberRoute(input.route, sse, {
    shared: () => ({}),
    errorEvent: undefined,
    systemEvent: undefined,
    formats: ['event-stream', 'json']
  })
  const { response, querystring } = sseTransform(input).schema as {
    response: Record<string, { content: Record<string, object> }>
    querystring: object
  }
  t.strictSame(response[200]!.content, {
    'text/event-stream': {
      schema: { type: 'array', items: { $ref: '#/components/schemas/a-b-event' } },
      itemSchema: { $ref: '#/components/schemas/a-b-event' }
    },
    'application/json': { schema: { type: 'array', items: { $ref: '#/components/schemas/a-b-event-object' } } }
  })
  t.ok('406' in response)
  t.match(querystring, { properties: { wait: { type: 'number' } } })
  t.match(sseTransform({ ...input, openapiObject: undefined }).schema, {
    produces: ['text/event-stream', 'application/json']
  })
})
