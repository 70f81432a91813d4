import type { FastifySchema } from 'fastify'
import { isSchemaNode, mapSchema, type SchemaNode } from '../schema/json-schema.ts'

/** A route's schema, with the properties that @fastify/swagger reads. */
export type DocumentedSchema = FastifySchema & { hide?: boolean, produces?: readonly string[] }

const EVENT_STREAM = 'text/event-stream'
/** The media types of the formats of a stream, each with its media type object. */
export type MediaTypes = Readonly<Record<string, SchemaNode>>
const DESCRIPTION = 'x-response-description'

const LAST_EVENT_ID = { type: 'string', description: 'The id of the last event that a reconnecting client received.' }
const WAIT = {
  type: 'number',
  minimum: 0,
  description: 'How long a JSON array of channels waits for its first event, in seconds.'
}
const RESPONSES = {
  204: { type: 'null', description: 'There are no more events: do not reconnect.' },
  406: { type: 'null', description: 'The client accepts none of the formats.' },
  // Its body has the form of all errors of this server.
  503: {
    type: 'null',
    description: 'The server is full or shutting down: retry later.',
    headers: { 'Retry-After': { type: 'integer', description: 'The delay before the next attempt, in seconds.' } }
  }
}

/** Adds the parameters of a client that reconnects. `waits`: also of one that polls. */
export function withParameters (schema: DocumentedSchema, waits = false): DocumentedSchema {
  return {
    ...schema,
    headers: withProperty(schema.headers, 'Last-Event-ID', LAST_EVENT_ID),
    querystring: withProperty(waits ? withProperty(schema.querystring, 'wait', WAIT) : schema.querystring, 'lastEventId', {
      ...LAST_EVENT_ID,
      description: 'The same as Last-Event-ID, for clients that cannot set headers.'
    })
  }
}

function withProperty (schema: unknown, name: string, property: SchemaNode): SchemaNode {
  const added = { type: 'object', properties: { [name]: property } }
  if (!isSchemaNode(schema)) return added
  // A composed schema, or a reference. If two declare one name, the later counts.
  if (!isSchemaNode(schema.properties)) return { allOf: [added, schema] }
  const declared = Object.keys(schema.properties).some(other => other.toLowerCase() === name.toLowerCase())
  return declared ? schema : { ...schema, properties: { ...schema.properties, [name]: property } }
}

/**
 * Adds the responses of OpenAPI 3: the stream in all of its media types, beside the responses of the route.
 */
export function withStream (schema: DocumentedSchema, media: MediaTypes, minor: number): DocumentedSchema {
  const declared = responsesOf(schema)
  const { content, ...ok } = contentOf(declared[200] ?? declared['2xx'] ?? declared['2XX'], schema.produces, minor)
  // If the route describes the stream itself, its description counts.
  const all = { ...media, ...content }
  return {
    ...schema,
    response: {
      ...declared,
      200: {
        description: 'A stream of Server-Sent Events',
        ...ok,
        content: all,
        // @fastify/swagger collects recursive types here, but not from `content`. Of a response with `content` it
        // writes only that.
        allOf: Object.values(content).map(({ schema }) => schema)
      },
      ...alternatives(declared, media)
    }
  }
}

/** Adds the responses of Swagger 2, in which a response has one schema. */
export function withText (schema: DocumentedSchema, description: string, media: MediaTypes): DocumentedSchema {
  const declared = responsesOf(schema)
  const ok = declared[200] ?? declared['2xx'] ?? declared['2XX']
  return {
    ...schema,
    produces: [...new Set([...Object.keys(media), ...schema.produces ?? (ok === undefined ? [] : ['application/json'])])],
    response: { ...declared, 200: ok ?? { type: 'string', description }, ...alternatives(declared, media) }
  }
}

function responsesOf ({ response }: DocumentedSchema): Record<string, SchemaNode> {
  return isSchemaNode(response) ? response as Record<string, SchemaNode> : {}
}

/** Returns the responses that may replace the stream, unless the route declares them. */
function alternatives (declared: Record<string, SchemaNode>, media: MediaTypes): Record<string, SchemaNode> {
  const isNegotiated = Object.keys(media).join() !== EVENT_STREAM
  const isDeclared = (status: string): boolean =>
    [status, `${status[0]}xx`, `${status[0]}XX`, 'default'].some(key => key in declared)
  return Object.fromEntries(
    Object.entries(RESPONSES).filter(([status]) => {
      if (status === '406' && !isNegotiated) return false
      return status === '204' ? !(status in declared) : !isDeclared(status)
    })
  )
}

type Content = Record<string, { schema: unknown }>

/** Returns a response of a route with its schema moved into `content`. */
function contentOf (
  response: SchemaNode | undefined,
  produces: readonly string[] | undefined,
  minor: number
): SchemaNode & { content: Content } {
  if (response === undefined) return { content: {} }
  if (isSchemaNode(response.content)) return response as SchemaNode & { content: Content }
  const { headers, description = undefined, [DESCRIPTION]: text = description, ...rest } = response
  const media = { schema: minor === 0 ? withExample(rest) : rest }
  const types = produces === undefined || produces.length === 0 ? ['application/json'] : produces
  return {
    ...(headers !== undefined && { headers }),
    ...(text !== undefined && { description: text }),
    content: rest.type === 'null'
      ? {}
      : Object.fromEntries(types.filter(type => type !== EVENT_STREAM).map(type => [type, media]))
  }
}

/** Replaces `examples`: OpenAPI 3.0 has one `example` where JSON Schema has a list. */
function withExample (schema: SchemaNode): SchemaNode {
  return mapSchema(schema,
    ({ examples, ...node }) => Array.isArray(examples) ? { ...node, example: examples[0] } : node)
}
