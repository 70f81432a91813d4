import type { FastifySchema } from 'fastify'
import { isSchemaNode, mapSchema, type SchemaNode } from '../schema/json-schema.ts'

/** A route's schema, with what @fastify/swagger reads of it. */
export type DocumentedSchema = FastifySchema & { hide?: boolean, produces?: readonly string[] }

const EVENT_STREAM = 'text/event-stream'
const DESCRIPTION = 'x-response-description'

const LAST_EVENT_ID = { type: 'string', description: 'Where a returning client stopped: the id of the last event that it got.' }
const RESPONSES = {
  204: { type: 'null', description: 'There is nothing to come: do not come back.' },
  // Its body is that of every other error of this server.
  503: { type: 'null', description: 'Not now: come back in a moment.', headers: { 'Retry-After': { type: 'integer', description: 'In how many seconds.' } } }
}

/** The parameters of a request that may come back. */
export function withParameters (schema: DocumentedSchema): DocumentedSchema {
  return {
    ...schema,
    headers: withProperty(schema.headers, 'Last-Event-ID', LAST_EVENT_ID),
    querystring: withProperty(schema.querystring, 'lastEventId', { ...LAST_EVENT_ID, description: 'As Last-Event-ID, for clients that cannot set a header.' })
  }
}

function withProperty (given: unknown, name: string, property: SchemaNode): SchemaNode {
  const ours = { type: 'object', properties: { [name]: property } }
  if (!isSchemaNode(given)) return ours
  // One that is put together of others, or stands elsewhere. Of two with one name the later counts.
  if (!isSchemaNode(given.properties)) return { allOf: [ours, given] }
  const known = Object.keys(given.properties).some(other => other.toLowerCase() === name.toLowerCase())
  return known ? given : { ...given, properties: { ...given.properties, [name]: property } }
}

/** The responses of OpenAPI 3: the stream beside what the route declares. `media` is the stream's. */
export function withStream (schema: DocumentedSchema, media: SchemaNode, minor: number): DocumentedSchema {
  const declared = responsesOf(schema)
  const { content, ...ok } = contentOf(declared[200] ?? declared['2xx'] ?? declared['2XX'], schema.produces, minor)
  // The stream that somebody has described in his own words stays so.
  const all = { [EVENT_STREAM]: media, ...content }
  return {
    ...schema,
    response: {
      ...declared,
      200: {
        description: 'A stream of Server-Sent Events',
        ...ok,
        content: all,
        // It collects the recursive types from here, and not from a content; of a response that has one it takes no more than that.
        allOf: Object.values(content).map(({ schema }) => schema)
      },
      ...othersOf(declared)
    }
  }
}

/** The responses of Swagger 2, in which a response has one schema. */
export function withText (schema: DocumentedSchema, description: string): DocumentedSchema {
  const declared = responsesOf(schema)
  const ok = declared[200] ?? declared['2xx'] ?? declared['2XX']
  return {
    ...schema,
    produces: [EVENT_STREAM, ...schema.produces ?? (ok === undefined ? [] : ['application/json'])],
    response: { ...declared, 200: ok ?? { type: 'string', description }, ...othersOf(declared) }
  }
}

function responsesOf ({ response }: DocumentedSchema): Record<string, SchemaNode> {
  return isSchemaNode(response) ? response as Record<string, SchemaNode> : {}
}

/** What may come in place of the stream, unless the route says so itself. */
function othersOf (declared: Record<string, SchemaNode>): Record<string, SchemaNode> {
  const said = (status: string): boolean => [status, `${status[0]}xx`, `${status[0]}XX`, 'default'].some(key => key in declared)
  return Object.fromEntries(Object.entries(RESPONSES).filter(([status]) => status === '204' ? !(status in declared) : !said(status)))
}

type Content = Record<string, { schema: unknown }>

/** A response of a route, its schema as that of its content. */
function contentOf (response: SchemaNode | undefined, produces: readonly string[] | undefined, minor: number): SchemaNode & { content: Content } {
  if (response === undefined) return { content: {} }
  if (isSchemaNode(response.content)) return response as SchemaNode & { content: Content }
  const { headers, description = undefined, [DESCRIPTION]: told = description, ...rest } = response
  const media = { schema: minor === 0 ? withExample(rest) : rest }
  const types = produces === undefined || produces.length === 0 ? ['application/json'] : produces
  return {
    ...(headers !== undefined && { headers }),
    ...(told !== undefined && { description: told }),
    content: rest.type === 'null' ? {} : Object.fromEntries(types.filter(type => type !== EVENT_STREAM).map(type => [type, media]))
  }
}

/** OpenAPI 3.0 has one example where JSON Schema has a list. */
function withExample (schema: SchemaNode): SchemaNode {
  return mapSchema(schema, ({ examples, ...node }) => Array.isArray(examples) ? { ...node, example: examples[0] } : node)
}
