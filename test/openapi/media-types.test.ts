import t from 'tap'
import type { SchemaNode } from '../../lib/schema/json-schema.ts'
import { mediaTypesOf } from '../../lib/openapi/media-types.ts'

const itemOf = (form: string): SchemaNode => ({ $ref: form })
const fields = { $ref: 'fields' }
const object = { $ref: 'object' }
const all = ['json', 'ndjson', 'event-stream'] as const

t.test('each media type of the formats, in their order, in OpenAPI 3.2', async t => {
  const lines = { schema: { type: 'array', items: object }, itemSchema: object }
  t.strictSame(mediaTypesOf(all, 2, 'Events', itemOf), {
    'application/json': { schema: { type: 'array', items: object } },
    'application/x-ndjson': lines,
    'application/jsonl': lines,
    'text/event-stream': { schema: { type: 'array', items: fields }, itemSchema: fields }
  })
  t.strictSame(Object.keys(mediaTypesOf(all, 2, 'Events', itemOf))[0], 'application/json')
  t.strictSame(Object.keys(mediaTypesOf(['event-stream'], 2, 'Events', itemOf)), ['text/event-stream'])
})

t.test('earlier versions describe a stream as text, and an array as a list', async t => {
  const text = { type: 'string', description: 'Events' }
  t.match(mediaTypesOf(all, 1, 'Events', itemOf), {
    'application/json': { schema: { type: 'array', items: object } },
    'application/x-ndjson': { schema: text, 'x-itemSchema': object },
    'text/event-stream': { schema: text, 'x-itemSchema': fields }
  })
  t.match(mediaTypesOf(all, 0, 'Events', itemOf), {
    'application/json': { schema: { type: 'array', items: {}, description: 'Events' }, 'x-itemSchema': object }
  })
  t.strictSame(mediaTypesOf(['json'], undefined, 'Events', () => { throw new Error('no schemas') }), {
    'application/json': {}
  })
})
