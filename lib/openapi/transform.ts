import type { FastifySchema } from 'fastify'
import { routeDeclaration } from '../server/route-declarations.ts'
import { isSchemaNode } from '../schema/json-schema.ts'
import '../server/types.ts'
import { Components, minorOf, type OpenApiDocument } from './components.ts'
import { describeEvents, eventSchemaOf } from './event-schema.ts'
import { mediaTypesOf } from './media-types.ts'
import { withParameters, withStream, withText, type DocumentedSchema } from './operation.ts'

/** The input of a transform of @fastify/swagger: the properties that are read here. */
export interface TransformInput {
  /** The schema of the route, or the result of another transform. */
  schema: FastifySchema
  url: string
  route: object
  /** The document under construction, if it is one of OpenAPI 3. */
  openapiObject?: OpenApiDocument | undefined
}

/** The result of a transform. */
export interface TransformResult {
  schema: FastifySchema
  url: string
}

/**
 * The `transform` of @fastify/swagger that describes the events of each route with `schema.sse`. All other routes are
 * unchanged. To combine it with another transform: `input => sseTransform({ ...input, ...other(input) })`.
 */
export function sseTransform (input: TransformInput): TransformResult {
  const { url, route, openapiObject } = input
  const schema: DocumentedSchema = input.schema
  // The map of the route itself: another transform may have dropped it from the schema.
  const map = ((route as { schema?: FastifySchema }).schema ?? schema)?.sse
  if (!isSchemaNode(map) || schema.hide === true) return { schema, url }
  const declaration = routeDeclaration(route, map)
  const { formats } = declaration
  const { sse: _, ...rest } = withParameters(schema, formats.includes('json'))
  const description = describeEvents(map, declaration)
  const minor = openapiObject === undefined ? undefined : minorOf(openapiObject)
  const media = mediaTypesOf(formats, minor, description, form => {
    const components = Components.of(openapiObject!)
    const name = `${componentName(url)}${form === 'object' ? '-object' : ''}`
    return components.refTo({}, name, () => eventSchemaOf(map, declaration, components, form))
  })
  return { schema: minor === undefined ? withText(rest, description, media) : withStream(rest, media, minor), url }
}

/** Returns `orders-id-event` for `/orders/:id`. */
function componentName (url: string): string {
  return [...url.match(/\w+/g) ?? [], 'event'].join('-')
}
