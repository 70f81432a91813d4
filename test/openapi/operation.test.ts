import t from 'tap'
import { withParameters, withStream, withText, type DocumentedSchema, type MediaTypes } from '../../lib/openapi/operation.ts'

const media = { schema: { type: 'string' } }
const S = { type: 'string' }
const O = { type: 'object' }
const EVENT_STREAM: MediaTypes = { 'text/event-stream': media }

t.test('Last-Event-ID and lastEventId are added as optional parameters', async t => {
  const { headers, querystring } = withParameters({}) as {
    headers: { properties: object }
    querystring: { properties: object }
  }
  t.match(headers, { type: 'object', properties: { 'Last-Event-ID': { type: 'string', description: String } } })
  t.match(querystring, { type: 'object', properties: { lastEventId: { type: 'string', description: String } } })
  t.notOk('required' in headers || 'required' in querystring)
})

t.test('the parameters of a route are kept', async t => {
  const querystring = { type: 'object', required: ['q'], properties: { q: S } }
  const headers = { properties: { 'last-event-id': { type: 'integer' } } }
  const result = withParameters({ querystring, headers })
  t.match(result.querystring, { type: 'object', required: ['q'], properties: { q: S, lastEventId: S } })
  t.strictSame(result.headers, headers, 'a declared Last-Event-ID is not replaced')
  t.strictSame(Object.keys(querystring.properties), ['q'], 'the input is not changed')
  for (const schema of [{ $ref: 'Query' }, { allOf: [querystring] }]) {
    t.match(withParameters({ querystring: schema }).querystring, {
      allOf: [{ properties: { lastEventId: S } }, schema]
    })
  }
})

/** Returns the responses, the one with the stream, and its content. */
function responses (schema: DocumentedSchema, minor = 2, types = EVENT_STREAM) {
  const { response } = withStream(schema, types, minor) as {
    response: Record<string, { description?: string, content: object, headers?: object }>
  }
  return { response, ok: response[200]!, content: response[200]!.content }
}

t.test('a route that declares no response', async t => {
  const { response, ok, content } = responses({})
  t.strictSame(Object.keys(response), ['200', '204', '503'])
  t.strictSame(content, { 'text/event-stream': media })
  t.type(ok.description, 'string')
})

t.test('a declared JSON response is listed beside the stream', async t => {
  const json = { 'text/event-stream': media, 'application/json': { schema: O } }
  t.strictSame(responses({ response: { 200: O } }).content, json)
  t.strictSame(responses({ response: { '2xx': O } }).content, json)
  t.strictSame(responses({ response: { '2XX': O } }).content, json)
  t.strictSame(responses({ response: { 200: O }, produces: [] }).content, json)
  t.strictSame(responses({ response: { 200: O }, produces: ['text/event-stream', 'application/hal+json'] }).content, {
    'text/event-stream': media,
    'application/hal+json': { schema: O }
  })
  t.strictSame(responses({ response: { 200: { type: 'null' } } }).content, { 'text/event-stream': media })
  t.strictSame(responses({ response: { 200: { content: { 'text/csv': { schema: S } } } } }).content, {
    'text/event-stream': media,
    'text/csv': { schema: S }
  })
})

t.test('the descriptions of a route are used', async t => {
  const stream = { schema: { type: 'string', description: 'Mine' } }
  t.strictSame(responses({ response: { 200: { content: { 'text/event-stream': stream } } } }).content, {
    'text/event-stream': stream
  })
  t.equal(responses({ response: { 200: { ...O, description: 'Mine' } } }).ok.description, 'Mine')
  t.equal(
    responses({ response: { 200: { ...O, description: 'The object', 'x-response-description': 'Mine' } } }).ok
      .description,
    'Mine'
  )
  const headers = { 'x-total': { type: 'integer' } }
  t.strictSame(responses({ response: { 200: { ...O, headers } } }).ok.headers, headers)
})

t.test('204 and 503 are added unless the route declares them', async t => {
  const others = (response: object) =>
    Object.keys(responses({ response }).response).filter(status => status !== '200').sort()
  t.strictSame(others({ 404: S }), ['204', '404', '503'])
  t.strictSame(others({ '5xx': S }), ['204', '5xx'])
  t.strictSame(others({ '5XX': S }), ['204', '5XX'])
  t.strictSame(others({ default: S }), ['204', 'default'])
  t.strictSame(others({ '2xx': S }), ['204', '2xx', '503'])
  t.strictSame(responses({ response: { 204: S, 503: S } }).response[204], S)
})

t.test('for OpenAPI 3.0, examples become one example', async t => {
  const schema = { ...O, properties: { a: { ...S, examples: ['x', 'y'] }, b: S } }
  t.strictSame(responses({ response: { 200: schema } }).content, {
    'text/event-stream': media,
    'application/json': { schema }
  })
  t.strictSame(responses({ response: { 200: schema } }, 0).content, {
    'text/event-stream': media,
    'application/json': { schema: { ...O, properties: { a: { ...S, example: 'x' }, b: S } } }
  })
})

t.test('for Swagger 2, a response has one schema', async t => {
  const alone = withText({}, 'Events', EVENT_STREAM) as { produces: string[], response: Record<string, object> }
  t.strictSame(alone.produces, ['text/event-stream'])
  t.strictSame(alone.response[200], { type: 'string', description: 'Events' })
  t.strictSame(Object.keys(alone.response), ['200', '204', '503'])
  t.match(withText({ response: { 200: O } }, 'Events', EVENT_STREAM), {
    produces: ['text/event-stream', 'application/json'],
    response: { 200: O }
  })
  t.match(withText({ response: { '2xx': O }, produces: ['application/hal+json'] }, 'Events', EVENT_STREAM), {
    produces: ['text/event-stream', 'application/hal+json'],
    response: { 200: O }
  })
  t.match(withText({ response: { '2XX': O } }, 'Events', EVENT_STREAM), { response: { 200: O } })
})

t.test('a negotiated stream has all of its types, 406, and the parameter of long polling', async t => {
  const types: MediaTypes = { 'application/x-ndjson': media, 'application/json': media }
  const { response, content } = responses({}, 2, types)
  t.strictSame(content, types)
  t.strictSame(Object.keys(response), ['200', '204', '406', '503'])
  t.notOk('406' in responses({ response: { '4xx': O } }, 2, types).response, 'the route declares it')
  t.strictSame(responses({ response: { 200: O } }, 2, types).content, { ...types, 'application/json': { schema: O } })
  t.match(withText({ response: { 200: O } }, 'Events', types), {
    produces: ['application/x-ndjson', 'application/json'],
    response: { 406: Object }
  })
  t.match(withParameters({}, true).querystring, { properties: { wait: { type: 'number' }, lastEventId: S } })
  const querystring = { properties: { wait: S } }
  t.match(withParameters({ querystring }, true).querystring, { properties: { wait: S, lastEventId: S } })
  t.notMatch(withParameters({}).querystring, { properties: { wait: Object } })
})
