/** A schema, or a schema inside another one. */
export type SchemaNode = Record<PropertyKey, unknown>

export const isSchemaNode = (value: unknown): value is SchemaNode =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

// The keywords that hold subschemas: one schema, a list of schemas, or a map of schemas.
const ONE = ['items', 'additionalProperties', 'not', 'contains', 'additionalItems', 'unevaluatedProperties', 'if',
  'then', 'else', 'propertyNames']
const LIST = ['anyOf', 'oneOf', 'allOf', 'items', 'prefixItems']
const MAP = ['properties', 'patternProperties', '$defs', 'definitions', 'dependencies', 'dependentSchemas']

/**
 * Returns a copy of the schema in which `change` has replaced each subschema, the innermost first. Subschemas of a
 * `whole` schema are not changed.
 */
export function mapSchema (
  schema: SchemaNode,
  change: (node: SchemaNode) => SchemaNode,
  whole: (node: SchemaNode) => boolean = () => false
): SchemaNode {
  if (whole(schema)) return change(schema)
  const copy = copyNode(schema)
  const map = (item: unknown): unknown => isSchemaNode(item) ? mapSchema(item, change, whole) : item
  for (const key of ONE) if (isSchemaNode(copy[key])) copy[key] = map(copy[key])
  for (const key of LIST) {
    const list = copy[key]
    if (Array.isArray(list)) copy[key] = list.map(map)
  }
  for (const key of MAP) {
    const entries = copy[key]
    if (isSchemaNode(entries)) {
      copy[key] = Object.fromEntries(Object.entries(entries).map(([name, item]) => [name, map(item)]))
    }
  }
  return change(copy)
}

/** Returns a copy of a schema. TypeBox 1.x marks its schemas with keys such as `~kind`, which only TypeBox reads. */
function copyNode (schema: SchemaNode): SchemaNode {
  const copy: SchemaNode = { ...schema }
  for (const key of Object.getOwnPropertyNames(schema)) {
    if (!key.startsWith('~')) continue
    Object.defineProperty(copy, key, { value: schema[key], configurable: true, writable: true, enumerable: false })
  }
  return copy
}

/** Returns the names of all definitions inside a schema. */
export function definedNames (schema: SchemaNode): Set<string> {
  const names = new Set<string>()
  mapSchema(schema, node => {
    if (isSchemaNode(node.$defs)) for (const name of Object.keys(node.$defs)) names.add(name)
    return node
  })
  return names
}

/** Whether a schema has a union or a condition at any depth. */
export function hasChoice (schema: SchemaNode): boolean {
  let found = false
  mapSchema(schema, node => {
    found ||= isChoice(node)
    return node
  })
  return found
}

// Type.Record uses these patterns for any key, but a dot matches no line end: a key with a line end would be neither
// checked nor written.
const ANY_KEY = ['^(.*)$', '^.*$']
/** The pattern that matches any key, also a key with a line end. */
export const EVERY_KEY = '^[^]*$'

/** Returns the schema with EVERY_KEY in place of the pattern of Type.Record. */
export function withEveryKey (schema: SchemaNode): SchemaNode {
  return mapSchema(schema, node => {
    if (isSchemaNode(node.patternProperties)) {
      node.patternProperties = Object.fromEntries(Object.entries(node.patternProperties)
        .map(([pattern, schema]) => [ANY_KEY.includes(pattern) ? EVERY_KEY : pattern, schema]))
    }
    return node
  })
}

/**
 * Returns the schema and its shared schemas in the form from which fast-json-stringify writes the declared part of a
 * value. The writer does not select a branch of a union again, and fills in no default.
 */
export function toWriterSchema (
  schema: SchemaNode,
  shared: Record<string, unknown>
): { schema: SchemaNode, shared: Record<string, unknown> } {
  const write = (node: unknown): SchemaNode =>
    mapSchema(node as SchemaNode, ({ default: _, ...node }) => toWriterNode(node))
  return {
    schema: write(schema),
    shared: Object.fromEntries(Object.entries(shared).map(([id, node]) => [id, write(node)]))
  }
}

/** Returns a schema that writes any value unchanged. It keeps the definitions that other schemas refer to. */
function anything ({ $id, $defs, definitions }: SchemaNode): SchemaNode {
  return Object.fromEntries(Object.entries({ $id, $defs, definitions }).filter(([, value]) => value !== undefined))
}

const isChoice = ({ anyOf, oneOf, if: condition }: SchemaNode): boolean =>
  anyOf !== undefined || oneOf !== undefined || condition !== undefined
const isTyped = (item: unknown): boolean =>
  isSchemaNode(item) && typeof item.type === 'string' && item.type !== 'object'
const hasTypes = ({ type }: SchemaNode): boolean =>
  Array.isArray(type) && (type.includes('object') || type.includes('array'))
// fast-json-stringify loses an inherited name when it joins objects.
const hasInherited = ({ properties }: SchemaNode): boolean =>
  isSchemaNode(properties) && Object.keys(properties).some(name => name in Object.prototype)
const isSchemaObject = (part: unknown): boolean =>
  isSchemaNode(part) && part.type === 'object' && part.allOf === undefined && part.$ref === undefined &&
  !isChoice(part) && !hasInherited(part)

function toWriterNode (node: SchemaNode): SchemaNode {
  if (isChoice(node) || hasTypes(node)) return anything(node)
  // The serializer joins objects. It detects the items of a tuple by their single type, and an object among them by
  // its prototype.
  if (Array.isArray(node.allOf) && !node.allOf.every(isSchemaObject)) return anything(node)
  if (Array.isArray(node.items) && !node.items.every(isTyped)) return anything(node)
  return node.type === 'RegExp' ? { type: 'string' } : node
}
