import type { EventMap, ResetReason } from '../contract/event-types.ts'
import type { RouteDeclaration } from '../server/route-declarations.ts'
import { isSchemaNode, type SchemaNode } from '../schema/json-schema.ts'
import { isTextSchema } from '../schema/text-schema.ts'
import type { Components } from './components.ts'
import { toJsonSchema202012 } from './dialect.ts'

const OFFSET = { type: 'integer', minimum: 0 }
const CHANNEL = { type: 'string', description: 'The name of the channel, where the stream follows several.' }
const REASONS: ResetReason[] = ['malformed', 'unknown', 'evicted', 'ahead']

// What this package says itself, to those who follow a channel and after an error.
const RESET = branch('sse.reset', {
  type: 'object',
  required: ['reason', 'oldest', 'newest'],
  properties: { reason: { type: 'string', enum: REASONS }, oldest: OFFSET, newest: OFFSET, channel: CHANNEL }
}, 'The position that the client came with could not be honoured: what it has may be incomplete.')

const GAP = branch('sse.gap', {
  type: 'object',
  required: ['dropped'],
  properties: { dropped: OFFSET, channel: CHANNEL }
}, 'That many events of the channel were left out.')

const POSITION = branch('sse.position', { type: 'string', const: '' }, 'The position, in `id`, and no event of the application.', true)

const PROBLEM = branch('error', {
  type: 'object',
  required: ['type', 'title', 'status'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer', minimum: 400, maximum: 599 },
    detail: { type: 'string' },
    instance: { type: 'string', description: 'The id of the request.' }
  }
}, 'The last event of a stream that failed: problem details (RFC 9457).')

/** What one event of a stream is, when a client has parsed it (WHATWG HTML §9.2.6): a branch for each of the map and for each that may come beside them. */
export function eventSchemaOf (map: EventMap, { shared, errorEvent }: RouteDeclaration, components: Components): SchemaNode {
  const schemas = shared()
  const branches = Object.entries(map).map(([name, schema]) => {
    const data = toJsonSchema202012(schema as unknown as SchemaNode, schemas, components)
    return branch(name, data, descriptionOf(schema as unknown as SchemaNode, schemas), isTextSchema(schema, schemas))
  })
  const common = [components.refTo(RESET, 'sse.reset', () => RESET), components.refTo(GAP, 'sse.gap', () => GAP), components.refTo(POSITION, 'sse.position', () => POSITION)]
  const names = Object.keys(map)
  // A map that declares `error` says itself what it is.
  if (errorEvent === undefined && !names.includes('error')) common.push(components.refTo(PROBLEM, 'sse.error', () => PROBLEM))
  return {
    description: 'An event of the stream. Comments and frames without data are none.',
    type: 'object',
    required: ['data'],
    properties: {
      event: { type: 'string', description: 'Its name. Without one it is called message.' },
      data: { type: 'string' },
      id: { type: 'string', description: 'The position in the stream. A client that comes back brings the last one as Last-Event-ID.' },
      retry: { type: 'integer', minimum: 0, description: 'How long to wait before coming back, in milliseconds.' }
    },
    oneOf: [...branches, ...common, ...typeof errorEvent === 'function' ? [otherThan([...names, 'sse.reset', 'sse.gap', 'sse.position'])] : []]
  }
}

/** One kind of event. That called `message` comes without a name. */
function branch (name: string, data: SchemaNode, description: string | undefined, text = false): SchemaNode {
  return {
    title: name,
    ...(description !== undefined && { description }),
    type: 'object',
    required: name === 'message' ? ['data'] : ['event', 'data'],
    properties: {
      event: { const: name },
      data: text ? data : { type: 'string', contentMediaType: 'application/json', contentSchema: data }
    }
  }
}

/** What a function of the server's makes of an error: any event, but as one of these names it would be checked as such. */
function otherThan (names: string[]): SchemaNode {
  return {
    title: 'after an error',
    description: 'The last event of a stream that failed.',
    type: 'object',
    required: names.includes('message') ? ['event', 'data'] : ['data'],
    properties: { event: { type: 'string', not: { enum: names } }, data: { type: 'string' } }
  }
}

/** What a schema says of itself, or that to which it refers. */
function descriptionOf ({ description, $ref }: SchemaNode, shared: Record<string, unknown>): string | undefined {
  if (typeof description === 'string') return description
  const id = typeof $ref === 'string' ? $ref.replace(/#$/, '') : undefined
  const target = id !== undefined && Object.hasOwn(shared, id) ? shared[id] : undefined
  return isSchemaNode(target) && typeof target.description === 'string' ? target.description : undefined
}

/** The events in words, for versions that cannot describe them. */
export function describeEvents (map: EventMap, { shared }: RouteDeclaration): string {
  const schemas = shared()
  const lines = Object.entries(map).map(([name, schema]) => {
    const description = descriptionOf(schema as unknown as SchemaNode, schemas)
    return `- \`${name}\` (${isTextSchema(schema, schemas) ? 'text' : 'JSON'})${description === undefined ? '' : `: ${description}`}`
  })
  return `Server-Sent Events:\n\n${lines.join('\n')}`
}
