import { isSchemaNode, mapSchema, type SchemaNode } from '../schema/json-schema.ts'
import type { SharedSchemas } from '../schema/text-schema.ts'
import type { Components } from './components.ts'

/** Where references inside of a schema lead. */
interface Scope {
  components: Components
  shared: SharedSchemas
  /** The schema that '#' means. */
  root: SchemaNode
  /** The schemas inside, by what they are called. */
  own: ReadonlyMap<string, SchemaNode>
}

/**
 * A schema of TypeBox, which is JSON Schema draft 7 as Fastify knows it, in the dialect of OpenAPI 3.1 and later: JSON Schema
 * 2020-12. What has an `$id` becomes a component of that name, and each reference one to a component.
 */
export function toJsonSchema202012 (schema: SchemaNode, shared: SharedSchemas, components: Components): SchemaNode {
  return named(schema, { components, shared, root: schema, own: namesIn(schema) })
}

/** A schema with the name that it gives itself. */
function named (schema: SchemaNode, scope: Scope): SchemaNode {
  return typeof schema.$id === 'string' ? asComponent(schema, schema.$id, scope) : inline(schema, scope)
}

function asComponent (schema: SchemaNode, name: string, scope: Scope): SchemaNode {
  // From here on '#' means this one.
  const root = typeof schema.$id === 'string' ? schema : scope.root
  return scope.components.refTo(schema, name, () => inline(schema, { ...scope, root }))
}

/** A schema with the references that it makes; what has a name of its own is one, too. */
function inline (schema: SchemaNode, scope: Scope): SchemaNode {
  const refers = (node: SchemaNode): boolean => typeof node.$id === 'string' || typeof node.$ref === 'string'
  return mapSchema(anonymous(schema), node => {
    if (typeof node.$id === 'string') return named(node, scope)
    return typeof node.$ref === 'string' ? referring(node, node.$ref, scope) : translated(node)
  }, refers)
}

/** Without what only says what it is called. Definitions are found by those who refer to them. */
function anonymous ({ $id: _, $schema: __, $defs: ___, definitions: ____, ...schema }: SchemaNode): SchemaNode {
  return schema
}

/** What stands beside a reference is lost on older readers; beside `allOf` it is not. */
function referring (node: SchemaNode, ref: string, scope: Scope): SchemaNode {
  const { $ref: _, ...rest } = anonymous(node)
  const to = target(ref, scope)
  const { allOf = [], ...beside } = inline(rest, scope)
  return Object.keys(rest).length === 0 ? to : { ...beside, allOf: [to, ...allOf as SchemaNode[]] }
}

/** The component for what a reference means. One that leads nowhere says nothing: a server does not start with it. */
function target (ref: string, scope: Scope): SchemaNode {
  const [id = '', pointer = ''] = ref.split('#', 2)
  const own = scope.own.get(ref) ?? scope.own.get(id) ?? (id === '' ? scope.root : undefined)
  const resource = own ?? (Object.hasOwn(scope.shared, id) ? scope.shared[id] : undefined)
  if (!isSchemaNode(resource)) return {}
  const keys = pointer.startsWith('/') ? keysOf(pointer) : []
  const found = keys.reduce<unknown>((value, key) => typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as SchemaNode)[key] : undefined, resource)
  if (!isSchemaNode(found)) return {}
  const name = typeof found.$id === 'string' ? found.$id : keys.at(-1) ?? id
  return asComponent(found, name, { ...scope, root: resource, own: own === undefined ? namesIn(resource) : scope.own })
}

/** RFC 6901, as the fragment of a URI. */
function keysOf (pointer: string): string[] {
  return decodeURIComponent(pointer).slice(1).split('/').map(key => key.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** The schemas inside by their `$id`, and by their key, which is how TypeBox refers to those of a module. */
function namesIn (schema: SchemaNode, names: Map<string, SchemaNode> = new Map()): Map<string, SchemaNode> {
  for (const [key, definition] of Object.entries(isSchemaNode(schema.$defs) ? schema.$defs : {})) if (isSchemaNode(definition)) names.set(key, definition)
  if (typeof schema.$id === 'string') names.set(schema.$id, schema)
  // As they are, not as copies: what becomes of a schema is remembered by its identity.
  mapSchema(schema, node => node, node => {
    if (node !== schema) namesIn(node, names)
    return node !== schema
  })
  return names
}

const ANY_KEY = '^(.*)$'

/** One node, whose children are in the dialect already. Without the symbols of TypeBox. */
function translated (node: SchemaNode): SchemaNode {
  const schema: SchemaNode = Object.fromEntries(Object.entries(node))
  if (Array.isArray(schema.items)) {
    const { items, additionalItems, ...rest } = schema
    return { ...rest, prefixItems: items, ...(additionalItems !== undefined && { items: additionalItems }) }
  }
  if (schema.type === 'RegExp') {
    const { source, flags: _, ...rest } = schema
    return { ...rest, type: 'string', pattern: source }
  }
  if (schema.nullable !== undefined) {
    const { nullable, type, ...rest } = schema
    return { ...rest, ...(type !== undefined && { type: nullable === true ? [type, 'null'].flat() : type }) }
  }
  if (isSchemaNode(schema.patternProperties) && ANY_KEY in schema.patternProperties) {
    // A record of any keys: the pattern means it, but its dot leaves some out.
    const { patternProperties: { [ANY_KEY]: others, ...patterns }, ...rest } = schema as SchemaNode & { patternProperties: SchemaNode }
    return Object.keys(patterns).length === 0 ? { ...rest, additionalProperties: others } : { ...rest, patternProperties: { ...patterns, '^[^]*$': others } }
  }
  return schema
}
