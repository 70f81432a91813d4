import type { EventMap, ResetReason } from '../contract/event-types.ts'
import type { RouteDeclaration } from '../server/route-declarations.ts'
import { isSchemaNode, type SchemaNode } from '../schema/json-schema.ts'
import { isTextSchema, resolveReference, type SharedSchemas } from '../schema/text-schema.ts'
import { splitTexts } from '../schema/texts.ts'
import { jsonSchemaOf } from '../schema/vendor.ts'
import { GAP_EVENT, POSITION_EVENT, RESET_EVENT } from '../wire/protocol.ts'
import type { Components } from './components.ts'
import { toJsonSchema202012 } from './dialect.ts'

const OFFSET = { type: 'integer', minimum: 0 }
const CHANNEL = { type: 'string', description: 'The name of the channel. Present if the stream has more than one.' }
const REASONS: ResetReason[] = ['malformed', 'unknown', 'evicted', 'ahead']

/** The form of an event: fields of Server-Sent Events, whose data is text, or a JSON object. */
export type EventForm = 'fields' | 'object'

// The events of this package: of streams that subscribe to a channel, and after an error.
const resetOf = (form: EventForm): SchemaNode => branch(form, RESET_EVENT, {
  type: 'object',
  required: ['reason', 'oldest', 'newest'],
  properties: { reason: { type: 'string', enum: REASONS }, oldest: OFFSET, newest: OFFSET, channel: CHANNEL }
}, 'The stream cannot resume at the position of the client. Events may be missing.')

const gapOf = (form: EventForm): SchemaNode => branch(form, GAP_EVENT, {
  type: 'object',
  required: ['dropped'],
  properties: { dropped: OFFSET, channel: CHANNEL }
}, 'Events of the channel were skipped. `dropped` is their number.')

const positionOf = (form: EventForm): SchemaNode => branch(form, POSITION_EVENT, { type: 'string', const: '' },
  'The current position, in `id`. It is no event of the application.', true)

const problemOf = (form: EventForm): SchemaNode => branch(form, 'error', {
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

const partsOf = (form: EventForm) =>
  ({ reset: resetOf(form), gap: gapOf(form), position: positionOf(form), problem: problemOf(form) })

const FORMS = {
  fields: {
    ...partsOf('fields'),
    suffix: '',
    data: { type: 'string' },
    description: 'One event of the stream. Comments and frames without data are not events.'
  },
  object: {
    ...partsOf('object'),
    suffix: '.object',
    data: {},
    description: 'One event of the stream. An object without data, which has a delay alone, is no event.'
  }
}

/**
 * Returns the schema of one parsed event of a stream (WHATWG HTML §9.2.6): one branch for each event of the map, and
 * for each that this package may add.
 */
export function eventSchemaOf (
  map: EventMap,
  { shared, errorEvent, systemEvent }: RouteDeclaration,
  components: Components,
  form: EventForm = 'fields'
): SchemaNode {
  const { reset, gap, position, problem, suffix, data, description } = FORMS[form]
  const schemas = shared()
  const branches = Object.entries(map).map(([name, schema]) => {
    const { texts, schema: declared } = splitTexts(schema)
    const node = jsonSchemaOf(declared as object)
    const data = toJsonSchema202012(node, schemas, components, name)
    return branch(form, name, data, descriptionOf(node, schemas), isTextSchema(node, schemas), texts)
  })
  const common: SchemaNode[] = systemEvent === null
    ? []
    : [components.refTo(reset, RESET_EVENT + suffix, () => reset), components.refTo(gap, GAP_EVENT + suffix, () => gap),
        components.refTo(position, POSITION_EVENT + suffix, () => position)]
  const names = [...Object.keys(map), RESET_EVENT, GAP_EVENT, POSITION_EVENT]
  // A map may declare `error` itself.
  if (errorEvent === undefined && !names.includes('error')) {
    common.push(components.refTo(problem, `sse.error${suffix}`, () => problem))
    names.push('error')
  }
  if ([errorEvent, systemEvent].some(option => typeof option === 'function')) common.push(anyEventExcept(names, data))
  return {
    description,
    type: 'object',
    required: ['data'],
    properties: {
      event: { type: 'string', description: 'The name of the event. If absent, it is `message`.' },
      data,
      id: {
        type: 'string',
        description: 'The position in the stream. A reconnecting client sends the last one as Last-Event-ID.'
      },
      retry: { type: 'integer', minimum: 0, description: 'How long to wait before reconnecting, in milliseconds.' }
    },
    oneOf: [...branches, ...common]
  }
}

/** Returns the schema of one kind of event. The `event` field of a `message` is optional. */
function branch (
  form: EventForm,
  name: string,
  data: SchemaNode,
  description: string | undefined,
  text = false,
  texts?: readonly string[]
): SchemaNode {
  const content = text || form === 'object' ? data : { type: 'string', contentMediaType: 'application/json', contentSchema: data }
  return {
    title: name,
    ...(description !== undefined && { description }),
    type: 'object',
    required: name === 'message' ? ['data'] : ['event', 'data'],
    properties: {
      event: { const: name },
      data: texts === undefined ? content : { anyOf: [{ type: 'string', enum: texts }, content] }
    }
  }
}

/**
 * Returns the schema of an event that a function of the server makes, `errorEvent` or `systemEvent`: any event, except
 * one of these names, which have schemas.
 */
function anyEventExcept (names: string[], data: SchemaNode): SchemaNode {
  return {
    title: 'another event',
    description: 'An event of the server: after an error, or about lost history.',
    type: 'object',
    required: names.includes('message') ? ['event', 'data'] : ['data'],
    properties: { event: { type: 'string', not: { enum: names } }, data }
  }
}

/** Returns the description of a schema, or of the schema to which it refers. */
function descriptionOf (schema: SchemaNode, shared: SharedSchemas): string | undefined {
  const { description, $ref, $defs } = schema
  if (typeof description === 'string') return description
  if (typeof $ref !== 'string') return undefined
  const [target] = resolveReference($ref, schema, { ...shared, ...isSchemaNode($defs) ? $defs : {} })
  return isSchemaNode(target) && typeof target.description === 'string' ? target.description : undefined
}

/** Returns a list of the events as text, for versions of OpenAPI that cannot describe them. */
export function describeEvents (map: EventMap, { shared }: RouteDeclaration): string {
  const schemas = shared()
  const lines = Object.entries(map).map(([name, schema]) => {
    const { texts = [], schema: declared } = splitTexts(schema)
    const node = jsonSchemaOf(declared as object)
    const description = descriptionOf(node, schemas)
    const forms = [isTextSchema(node, schemas) ? 'text' : 'JSON', ...texts.map(text => `\`${text}\``)]
    return `- \`${name}\` (${forms.join(' or ')})${
      description === undefined ? '' : `: ${description}`
    }`
  })
  return `Server-Sent Events:\n\n${lines.join('\n')}`
}
