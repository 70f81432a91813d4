import type { FastifySchema } from 'fastify'
import { routeDeclaration } from '../server/route-declarations.ts'
import { isSchemaNode } from '../schema/json-schema.ts'
import '../server/types.ts'
import { Components, minorOf, type OpenApiDocument } from './components.ts'
import { describeEvents, eventSchemaOf } from './event-schema.ts'
import { withParameters, withStream, withText, type DocumentedSchema } from './operation.ts'

/** What @fastify/swagger gives to a transform, as far as it matters here. */
export interface TransformInput {
  /** That of the route, or what another transform has made of it. */
  schema: FastifySchema
  url: string
  route: object
  /** The document in the making, where it is one of OpenAPI 3. */
  openapiObject?: OpenApiDocument | undefined
}

/** What a transform gives back. */
export interface Transformed {
  schema: FastifySchema
  url: string
}

/**
 * The `transform` of @fastify/swagger that describes the events of each route with `schema.sse`, and leaves all other
 * routes as they are. With another transform: `given => sseTransform({ ...given, ...other(given) })`.
 */
export function sseTransform (given: TransformInput): Transformed {
  const { url, route, openapiObject } = given
  const schema: DocumentedSchema = given.schema
  // The route's own: another transform may have left it out.
  const map = ((route as { schema?: FastifySchema }).schema ?? schema)?.sse
  if (!isSchemaNode(map) || schema.hide === true) return { schema, url }
  const { sse: _, ...rest } = withParameters(schema)
  const declared = routeDeclaration(route, map)
  if (openapiObject === undefined) return { schema: withText(rest, describeEvents(map, declared)), url }

  const components = Components.of(openapiObject)
  const item = components.refTo({}, wordsOf(url), () => eventSchemaOf(map, declared, components))
  const minor = minorOf(openapiObject)
  // As a whole, a stream is the list of its events to OpenAPI 3.2, and a text to those before it.
  const media = minor >= 2
    ? { schema: { type: 'array', items: item }, itemSchema: item }
    : { schema: { type: 'string', description: describeEvents(map, declared) }, 'x-itemSchema': item }
  return { schema: withStream(rest, media, minor), url }
}

/** `/orders/:id` is `orders-id-event`. */
function wordsOf (url: string): string {
  return [...url.match(/\w+/g) ?? [], 'event'].join('-')
}
