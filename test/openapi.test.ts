import { readFileSync } from 'node:fs'
import { Type, type TSchema } from '@sinclair/typebox'
import fc from 'fast-check'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { AnyEvent, EventMap } from '../lib/index.ts'
import * as openapi from '../lib/openapi.ts'
import { isTextSchema } from '../lib/schema/text-schema.ts'
import { eventsIn, faultsOf, readerOf, resolved, served, type Json } from './setup/document.ts'

const { sseTransform } = openapi
const VERSIONS = ['3.2.0', '3.1.0', '3.0.3', undefined]

t.test('fastify-typed-sse/openapi exports what the README names, and nothing else', async t => {
  t.same(Object.keys(openapi), ['sseTransform'])
  t.same(Object.keys(await import('fastify-typed-sse/openapi')), ['sseTransform'], 'under its subpath, too')
})

t.test('a program without OpenAPI does not need @fastify/swagger', async t => {
  const { dependencies, peerDependenciesMeta } = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string,
    Record<string, unknown>>
  t.notOk('@fastify/swagger' in dependencies!)
  t.strictSame(peerDependenciesMeta!['@fastify/swagger'], { optional: true })
})

const Tree = Type.Recursive(This => Type.Object({ name: Type.String(), kids: Type.Array(This) }), {
  $id: 'Tree',
  description: 'A tree'
})
const nodes: Record<string, TSchema> = {
  Node: Type.Object({ next: Type.Ref('Next') }),
  Next: Type.Union([Type.Null(), Type.Ref('Node')])
}
const SHARED = {
  Address: {
    $id: 'Address',
    type: 'object',
    required: ['street'],
    properties: { street: { type: 'string' }, land: { $ref: 'Land#' } }
  },
  Land: { $id: 'Land', type: 'string', minLength: 2, description: 'A country' },
  Loop: { $id: 'Loop', type: 'object', properties: { again: { $ref: 'Loop#' } } }
}

const events = {
  message: Type.Tuple([Type.Integer(), Type.Union([Type.Null(), Type.String({ format: 'date-time' })])]),
  address: Type.Ref('Address'),
  home: Type.Object({
    at: Type.Ref('Address', { description: 'Where' }),
    lands: Type.Record(Type.String(), Type.Ref('Land'))
  }),
  land: Type.Ref('Land'),
  tree: Tree,
  forest: Type.Array(Tree),
  list: Type.Module(nodes).Import('Node'),
  loop: Type.Ref('Loop')
}

function routes (app: FastifyInstance): void {
  for (const schema of Object.values(SHARED)) app.addSchema(schema)
  app.get('/orders/:id', { schema: { sse: events } }, (_request, reply) => reply.sse([]))
  app.post('/orders/:id', {
    schema: {
      sse: events,
      response: {
        200: Type.Object({ tree: Tree, address: Type.Ref('Address') }),
        404: Type.Object({ message: Type.String() })
      }
    }
  }, (_request, reply) => reply.sse([]))
  app.get('/hidden', { schema: { hide: true, sse: events } }, (_request, reply) => reply.sse([]))
  app.get('/plain', { schema: { response: { 200: Type.Ref('Land') } } }, async () => 'AT')
}

/** Where the stream of a route is described. */
function streamOf (document: Json, path = '/orders/{id}', method = 'get'): Json {
  return document.paths![path]![method]!.responses!['200']!.content!['text/event-stream']!
}

for (const version of VERSIONS) {
  t.test(`a document of ${version === undefined ? 'Swagger 2' : `OpenAPI ${version}`} is valid, and all of its references have a target`, async t => {
    const { document } = await served(t, version, routes, { exposeHeadRoutes: true })
    t.strictSame(await faultsOf(document), [])
    t.strictSame(Object.keys(document.paths!), ['/orders/{id}', '/plain'])
    const { get, head, post } = document.paths!['/orders/{id}']!
    t.strictSame(get, head, 'HEAD answers as GET does')
    const parameters = get!.parameters as unknown as Array<{ name: string, in: string, required?: boolean }>
    for (const [name, place] of [['Last-Event-ID', 'header'], ['lastEventId', 'query']]) {
      t.notOk(parameters.find(parameter => parameter.name === name && parameter.in === place)!.required)
    }
    t.strictSame(Object.keys(get!.responses!), ['200', '204', '503'])
    t.strictSame(Object.keys(post!.responses!), ['200', '204', '404', '503'])
  })
}

t.test('OpenAPI 3.2 describes each event', async t => {
  const { document } = await served(t, '3.2.0', routes)
  const { schema, itemSchema } = streamOf(document)
  t.strictSame(schema, { type: 'array', items: itemSchema })
  t.strictSame(streamOf(document, '/orders/{id}', 'post').itemSchema, itemSchema, 'one map is described once')
  t.type(document.paths!['/orders/{id}']!.post!.responses!['200']!.content!['application/json']!.schema, 'object')
  const branches = (resolved(document, itemSchema!).oneOf as unknown as Json[]).map(branch =>
    resolved(document, branch)
  )
  t.same(branches.map(({ properties }) => properties!.event!.const), [...Object.keys(events), 'sse.reset', 'sse.gap',
    'sse.position', 'error'])
  const byName = Object.fromEntries(branches.map(branch => [String(branch.title), branch]))
  t.equal(byName.land!.description, 'A country')
  t.equal(byName.tree!.description, 'A tree')
  t.equal(resolved(document, byName.land!.properties!.data!).minLength, 2, 'text is a string')
  t.match(byName.message!.properties!.data, {
    type: 'string',
    contentMediaType: 'application/json',
    contentSchema: { prefixItems: [{ type: 'integer' }, {}] }
  })
  const schemas = Object.values(document.components!.schemas!).map(schema => JSON.stringify(schema))
  t.equal(schemas.filter(text => text.includes('"street"')).length, 1, 'a shared schema is there once')
})

t.test('before OpenAPI 3.2 a stream is a text, whose description lists the events', async t => {
  for (const version of ['3.1.0', '3.0.3']) {
    const { document } = await served(t, version, routes)
    const stream = streamOf(document)
    t.match(stream.schema, { type: 'string', description: /^- `land` \(text\): A country$/m })
    const read = readerOf(document, stream['x-itemSchema']!)
    t.ok(read({ event: 'tree', data: '{"name":"a","kids":[{"name":"b","kids":[]}]}' }), version)
    t.notOk(read({ event: 'tree', data: '{"name":"a","kids":[{"name":"b"}]}' }), version)
  }
})

t.test('the references of a map resolve in the scope of its route', async t => {
  const { document } = await served(t, '3.2.0', async app => {
    for (const [prefix, type] of [['/text', 'string'], ['/number', 'number']]) {
      await app.register(async scope => {
        scope.addSchema({ $id: 'Value', type })
        scope.get('/', { schema: { sse: { value: Type.Ref('Value') } } }, (_request, reply) => reply.sse([]))
      }, { prefix: prefix! })
    }
  })
  const read = (path: string) => readerOf(document, streamOf(document, path).itemSchema!)
  t.ok(read('/text/')({ event: 'value', data: 'so' }))
  t.notOk(read('/number/')({ event: 'value', data: 'so' }))
  t.ok(read('/number/')({ event: 'value', data: '1' }))
})

t.test('errorEvent of the registration is described', async t => {
  const of = async (errorEvent: (() => AnyEvent) | null) => {
    const { document } = await served(t, '3.2.0', routes, {}, { errorEvent })
    return readerOf(document, streamOf(document).itemSchema!)({ event: 'failed', data: 'so' })
  }
  t.equal(await of(() => ({ event: 'failed', data: 'so' })), true)
  t.equal(await of(null), false)
})

t.test('it composes with other transforms, before and after', async t => {
  const theirs = ({ schema, url }: { schema: object, url: string }) => ({
    schema: { ...schema, tags: ['theirs'] },
    url: `/v1${url}`
  })
  for (const transform of [
    (given: openapi.TransformInput) => sseTransform({ ...given, ...theirs(given) }),
    (given: openapi.TransformInput) => theirs(sseTransform(given))
  ]) {
    const { document } = await served(t, '3.2.0', routes, { transform })
    t.ok(streamOf(document, '/v1/orders/{id}').itemSchema)
    t.strictSame(document.paths!['/v1/orders/{id}']!.get!.tags, ['theirs'])
    t.strictSame(document.paths!['/v1/plain']!.get!.tags, ['theirs'])
  }
})

/** A schema, and values of which some fit. */
interface Sample {
  schema: TSchema
  values: fc.Arbitrary<unknown>
}

const sample = (schema: TSchema, values: fc.Arbitrary<unknown>): fc.Arbitrary<Sample> => fc.constant({ schema, values })
const word = fc.string({ maxLength: 6 })
const leaves = [
  sample(Type.String(), word),
  sample(Type.String({ minLength: 2, maxLength: 4, description: 'A few letters' }), word),
  sample(Type.String({ format: 'uuid' }), fc.oneof(fc.uuid(), word)),
  sample(Type.String({ format: 'date-time' }),
    fc.oneof(fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }).map(date => date.toISOString()),
      word)),
  sample(Type.String({ pattern: '^[a-f]*$' }), fc.stringMatching(/^[a-g]{0,4}$/)),
  sample(Type.Union([Type.Literal('a'), Type.Literal('b')]), fc.constantFrom('a', 'b', 'c')),
  sample(Type.Ref('Land'), word),
  sample(Type.Number(), fc.double({ noNaN: true, noDefaultInfinity: true }).map(value => value === 0 ? 0 : value)),
  sample(Type.Integer({ minimum: 0, exclusiveMaximum: 10 }),
    fc.oneof(fc.integer({ min: -2, max: 12 }), fc.constant(0.5))),
  sample(Type.Boolean(), fc.boolean()),
  sample(Type.Null(), fc.constant(null)),
  sample(Type.Union([Type.Literal(1), Type.Literal('a'), Type.Null()]), fc.constantFrom(1, 2, 'a', null)),
  sample(Type.Unsafe({ type: 'string', nullable: true }), fc.oneof(word, fc.constant(null))),
  sample(Type.Ref('Address'),
    fc.record({ street: fc.oneof(word, fc.constant(1)), land: word }, { requiredKeys: [], noNullPrototype: true })),
  sample(Tree,
    fc.letrec(tie => ({
      tree: fc.record({ name: word, kids: fc.array(tie('tree'), { maxLength: 2, depthIdentifier: 'tree' }) }, {
        requiredKeys: ['name'],
        noNullPrototype: true
      })
    })).tree),
  sample(Type.Module(nodes).Import('Node'), fc.constantFrom({ next: null }, { next: { next: null } }, { next: {} }, {}))
]

const { schemas } = fc.letrec<{ schemas: Sample }>(tie => {
  const inner = tie('schemas')
  return {
    schemas: fc.oneof({ maxDepth: 2, withCrossShrink: true }, fc.oneof(...leaves),
      inner.map(({ schema, values }) => ({
        schema: Type.Array(schema, { maxItems: 2 }),
        values: fc.array(values, { maxLength: 3 })
      })
      ),
      inner.map(({ schema, values }) => ({
        schema: Type.Record(Type.String(), schema),
        values: fc.dictionary(word.filter(key => key !== '__proto__'), values, { maxKeys: 2, noNullPrototype: true })
      })
      ),
      fc.tuple(inner, inner).map(([a, b]) => ({
        schema: Type.Tuple([a.schema, b.schema]),
        values: fc.oneof(fc.tuple(a.values, b.values), fc.tuple(a.values))
      })
      ),
      fc.tuple(inner, inner).map(([a, b]) => ({
        schema: Type.Union([a.schema, b.schema]),
        values: fc.oneof(a.values, b.values)
      })
      ), fc.tuple(inner, inner).map(([a, b]) => ({
        schema: Type.Object({ a: a.schema, b: Type.Optional(b.schema) }, { description: 'Of two' }),
        values: fc.record({ a: a.values, b: b.values }, { requiredKeys: [], noNullPrototype: true })
      })), fc.tuple(inner, inner).map(([a, b]) => ({
        schema: Type.Intersect([Type.Object({ a: a.schema }), Type.Object({ b: b.schema })]),
        values: fc.record({ a: a.values, b: b.values }, { requiredKeys: ['a'], noNullPrototype: true })
      })))
  }
})

const fields = fc.record({ id: fc.oneof(fc.nat(), fc.stringMatching(/^[a-z]{0,3}$/)), retry: fc.nat() }, {
  requiredKeys: [],
  noNullPrototype: true
})
const maps = fc.dictionary(fc.constantFrom('message', 'a', 'b', 'c d', 'error'), schemas, { minKeys: 1, maxKeys: 3 })
  .chain(samples =>
    fc.tuple(
      fc.constant(Object.fromEntries(Object.entries(samples).map(([name, { schema }]) => [name, schema]))),
      fc.array(fc.constantFrom(...Object.keys(samples)).chain(event =>
        fc.record({
          event: fc.constant(event),
          data: fc.oneof({ weight: 6, arbitrary: samples[event]!.values }, {
            weight: 1,
            arbitrary: fc.jsonValue({ maxDepth: 2 })
          }),
          fields
        })
      ), { minLength: 4, maxLength: 8 })
    )
  )

/** A server that sends these events, and the schema of its document for them. */
async function described (t: Test, map: EventMap) {
  let next: AnyEvent = { comment: '' }
  const { app, document } = await served(t, '3.2.0', app => {
    for (const schema of Object.values(SHARED)) app.addSchema(schema)
    app.get('/', { schema: { sse: map } }, (_request, reply) => reply.sse([next as never]))
  })
  return {
    app,
    reader: readerOf(document, streamOf(document, '/').itemSchema!),
    faults: () => faultsOf(document),
    send: async (event: AnyEvent) => {
      next = event
      const response = await app.inject('/')
      return response.statusCode === 200 ? eventsIn(response.body) : undefined
    }
  }
}

t.test('W3: a text matches its schema with any line ends', async t => {
  const { send, reader } = await described(t, { note: Type.String() })
  for (const data of ['a\r\nb', '\r', '\n\n', '', ': no comment', '\ufeff']) {
    const [event] = await send({ event: 'note', data }) ?? []
    t.ok(event !== undefined && reader(event), JSON.stringify(data))
  }
})

t.test('C1: for any map, sent events match the document, and rejected events do not', { timeout: 120_000 },
  async t => {
    const counts = { sent: 0, refused: 0 }
    const property = fc.asyncProperty(maps, async ([map, candidates]) => {
      const server = await described(t, map as EventMap).catch((error: { code?: string }) => {
        if (error.code !== 'FST_SSE_SCHEMA') throw error
      })
      // A map that no server starts with, such as one that has two types with one $id.
      fc.pre(server !== undefined)
      const { app, reader, send, faults } = server
      try {
        const found = await faults()
        if (found.length > 0) throw new Error(`The document has faults: ${JSON.stringify(found)}`)
        for (const { event, data, fields } of candidates) {
          const received = await send({ event, data, ...fields })
          if (received === undefined) {
            counts.refused++
            // What would have come, had the server not refused it.
            const item = { event, data: isTextSchema(map[event], SHARED) ? data : JSON.stringify(data) }
            if (reader(item) === true) throw new Error(`Refused, and it fits: ${JSON.stringify(item)}`)
          } else {
            counts.sent++
            if (received.length !== 1 || !reader(received[0])) {
              throw new Error(`A sent event does not match: ${JSON.stringify(received)} ${JSON.stringify(reader.errors)}`)
            }
          }
        }
        if (reader({ event: 'unknown', data: '{}' }) === true) throw new Error('An event that nobody declared fits')
      } finally {
        await app.close()
      }
    })
    // Random maps may have few events of one kind.
    while (counts.sent <= 20 || counts.refused <= 20) await fc.assert(property, { numRuns: 10 })
    t.pass(`${counts.sent} sent, ${counts.refused} refused`)
  })
