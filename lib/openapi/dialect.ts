import { isSchemaNode, mapSchema, type SchemaNode } from '../schema/json-schema.ts'
import type { SharedSchemas } from '../schema/text-schema.ts'
import type { Components } from './components.ts'

/** How references inside a schema are resolved. */
interface ConversionScope {
  components: Components
  shared: SharedSchemas
  /** The schema that '#' refers to. */
  root: SchemaNode
  /** The named schemas inside the root. */
  local: ReadonlyMap<string, SchemaNode>
  /** The name of a component whose schema has none. */
  fallbackName: string
}

// Valibot and ArkType number the definitions of recursive types.
const GENERATED_NAME = /^(intersection|union|alias)?\d*$/

/**
 * Converts JSON Schema draft 7, as Fastify reads it, to JSON Schema 2020-12, the dialect of OpenAPI 3.1 and later. A
 * schema with an `$id` becomes a component of that name, and each reference becomes one to a component. `name`: the
 * name of a component whose schema has none, such as a recursive type.
 */
export function toJsonSchema202012 (
  schema: SchemaNode,
  shared: SharedSchemas,
  components: Components,
  name = 'schema'
): SchemaNode {
  return convert(schema, { components, shared, root: schema, local: localSchemas(schema), fallbackName: name })
}

/** Converts a schema: to a reference if it has an `$id`, else in place. */
function convert (schema: SchemaNode, scope: ConversionScope): SchemaNode {
  return typeof schema.$id === 'string' ? componentRef(schema, schema.$id, scope) : convertInline(schema, scope)
}

function componentRef (schema: SchemaNode, name: string, scope: ConversionScope): SchemaNode {
  // Inside a schema with an `$id`, '#' refers to that schema.
  const inner = typeof schema.$id === 'string' ? { ...scope, root: schema } : scope
  const source = scope.components.firstOf(contentOf(schema, inner), schema)
  return scope.components.refTo(source, name, () => convertInline(schema, inner))
}

/**
 * Returns a text that is equal for equal schemas, with all schemas that they refer to: each event of Zod or TypeBox 1.x
 * has its own copy of the definitions.
 */
function contentOf (schema: SchemaNode, scope: ConversionScope, seen: Map<SchemaNode, number> = new Map()): string {
  const number = seen.get(schema)
  if (number !== undefined) return String(number)
  seen.set(schema, seen.size)
  const content = withoutNames(schema)
  const targets: string[] = []
  mapSchema(content, node => {
    if (typeof node.$id === 'string') targets.push(contentOf(node, { ...scope, root: node }, seen))
    else if (typeof node.$ref === 'string') {
      const found = find(node.$ref, scope)
      targets.push(found === undefined ? '' : contentOf(found.target, found.scope, seen))
    }
    return node
  }, node => typeof node.$id === 'string')
  return JSON.stringify([content, targets])
}

/** Converts a schema in place. Schemas inside it that have an `$id` become references. */
function convertInline (schema: SchemaNode, scope: ConversionScope): SchemaNode {
  const isReference = (node: SchemaNode): boolean => typeof node.$id === 'string' || typeof node.$ref === 'string'
  return mapSchema(withoutNames(schema), node => {
    if (typeof node.$id === 'string') return convert(node, scope)
    return typeof node.$ref === 'string' ? convertReference(node, node.$ref, scope) : convertNode(node)
  }, isReference)
}

/** Removes the keywords that only name a schema. Definitions become components when a reference reaches them. */
function withoutNames ({ $id: _, $schema: __, $defs: ___, definitions: ____, ...schema }: SchemaNode): SchemaNode {
  return schema
}

/**
 * Converts a node with a `$ref`. Its siblings would be ignored by older readers, so the reference moves into an
 * `allOf`.
 */
function convertReference (node: SchemaNode, ref: string, scope: ConversionScope): SchemaNode {
  const { $ref: _, ...rest } = withoutNames(node)
  const target = resolve(ref, scope)
  const { allOf = [], ...siblings } = convertInline(rest, scope)
  return Object.keys(rest).length === 0 ? target : { ...siblings, allOf: [target, ...allOf as SchemaNode[]] }
}

/**
 * Returns a reference to the component of the target, or an empty schema if it is missing. Such a server never starts.
 */
function resolve (ref: string, scope: ConversionScope): SchemaNode {
  const found = find(ref, scope)
  return found === undefined ? {} : componentRef(found.target, found.name, found.scope)
}

/** Returns the target of a reference, with its name and its scope. */
function find (
  ref: string,
  scope: ConversionScope
): { target: SchemaNode, name: string, scope: ConversionScope } | undefined {
  const [id = '', pointer = ''] = ref.split('#', 2)
  const local = scope.local.get(ref) ?? scope.local.get(id) ?? (id === '' ? scope.root : undefined)
  const resource = local ?? (Object.hasOwn(scope.shared, id) ? scope.shared[id] : undefined)
  if (!isSchemaNode(resource)) return undefined
  const keys = pointer.startsWith('/') ? parsePointer(pointer) : []
  const target = keys.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as SchemaNode)[key] : undefined,
    resource
  )
  if (!isSchemaNode(target)) return undefined
  const key = keys.at(-1) ?? id
  const name = typeof target.$id === 'string' ? target.$id : GENERATED_NAME.test(key) ? scope.fallbackName : key
  return {
    target,
    name,
    scope: { ...scope, root: resource, local: local === undefined ? localSchemas(resource) : scope.local }
  }
}

/** Parses a JSON Pointer in a URI fragment (RFC 6901 §6). */
function parsePointer (pointer: string): string[] {
  return decodeURIComponent(pointer).slice(1).split('/').map(key => key.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/**
 * Returns the schemas inside by their `$id`, and by their key in `$defs`, by which TypeBox refers to the members of a
 * module.
 */
function localSchemas (schema: SchemaNode, found: Map<string, SchemaNode> = new Map()): Map<string, SchemaNode> {
  for (const [key, definition] of Object.entries(isSchemaNode(schema.$defs) ? schema.$defs : {})) {
    if (isSchemaNode(definition)) found.set(key, definition)
  }
  if (typeof schema.$id === 'string') found.set(schema.$id, schema)
  // The map holds the schemas themselves, not copies: `Components` remembers them by identity.
  mapSchema(schema, node => node, node => {
    if (node !== schema) localSchemas(node, found)
    return node !== schema
  })
  return found
}

/** Converts one node, whose children are converted already, and removes the symbols of TypeBox. */
function convertNode (node: SchemaNode): SchemaNode {
  return [tuple, regularExpression, nullable, dependent, record].reduce((schema, step) => step(schema),
    Object.fromEntries(Object.entries(node)) as SchemaNode)
}

function tuple ({ items, additionalItems, ...rest }: SchemaNode): SchemaNode {
  if (Array.isArray(items)) {
    return { ...rest, prefixItems: items, ...(additionalItems !== undefined && { items: additionalItems }) }
  }
  return items === undefined ? rest : { ...rest, items }
}

function regularExpression (schema: SchemaNode): SchemaNode {
  if (schema.type !== 'RegExp') return schema
  const { source, flags: _, ...rest } = schema
  return { ...rest, type: 'string', pattern: source }
}

function nullable ({ nullable, ...schema }: SchemaNode): SchemaNode {
  return nullable === true && schema.type !== undefined ? { ...schema, type: [schema.type, 'null'].flat() } : schema
}

function dependent ({ dependencies, ...schema }: SchemaNode): SchemaNode {
  if (!isSchemaNode(dependencies)) return schema
  const entries = Object.entries(dependencies)
  const names = entries.filter(([, value]) => Array.isArray(value))
  const schemas = entries.filter(([, value]) => !Array.isArray(value))
  return {
    ...schema,
    ...(names.length > 0 && { dependentRequired: Object.fromEntries(names) }),
    ...(schemas.length > 0 && { dependentSchemas: Object.fromEntries(schemas) })
  }
}

// The patterns of Type.Record for any key: of TypeBox 0.34, and of 1.x. Their dot does not match a line break, so they
// would exclude some.
const ANY_KEY = ['^(.*)$', '^.*$']

function record (schema: SchemaNode): SchemaNode {
  const { patternProperties, ...rest } = schema
  if (!isSchemaNode(patternProperties)) return schema
  const anyKey = ANY_KEY.find(pattern => pattern in patternProperties)
  if (anyKey === undefined) return schema
  const { [anyKey]: others, ...patterns } = patternProperties
  return Object.keys(patterns).length === 0
    ? { ...rest, additionalProperties: others }
    : { ...rest, patternProperties: { ...patterns, '^[^]*$': others } }
}
