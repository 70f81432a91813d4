import { REPRESENTATIONS, type StreamFormat } from '../stream/formats.ts'
import type { SchemaNode } from '../schema/json-schema.ts'
import type { EventForm } from './event-schema.ts'
import type { MediaTypes } from './operation.ts'

/**
 * Returns the media type objects of a stream, for each of its media types. `minor`: of the version of OpenAPI 3;
 * undefined for Swagger 2, which has none. `itemOf` returns the schema of one event.
 */
export function mediaTypesOf (
  formats: readonly StreamFormat[],
  minor: number | undefined,
  description: string,
  itemOf: (form: EventForm) => SchemaNode
): MediaTypes {
  const mediaOf = (format: StreamFormat): SchemaNode => {
    if (minor === undefined) return {}
    const item = itemOf(format === 'event-stream' ? 'fields' : 'object')
    const list = { type: 'array', items: item }
    // `schema` describes the whole stream: to OpenAPI 3.2 the list of its events, to earlier versions a text.
    if (minor >= 2) return format === 'json' ? { schema: list } : { schema: list, itemSchema: item }
    if (format !== 'json') return { schema: { type: 'string', description }, 'x-itemSchema': item }
    // The schemas of OpenAPI 3.0 use another dialect.
    return minor === 1 ? { schema: list } : { schema: { type: 'array', items: {}, description }, 'x-itemSchema': item }
  }
  return Object.fromEntries(formats.flatMap(format => {
    const media = mediaOf(format)
    return REPRESENTATIONS[format].map(({ mediaType }) => [mediaType, media])
  }))
}
