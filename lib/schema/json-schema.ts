/** One schema inside another. */
export type Node = Record<PropertyKey, unknown>

export const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && !Array.isArray(value)

// Where schemas live inside a schema: under each of these keys one, a list, or a map of them.
const ONE = ['items', 'additionalProperties', 'not', 'contains', 'additionalItems', 'unevaluatedProperties', 'if', 'then', 'else']
const LIST = ['anyOf', 'oneOf', 'allOf', 'items']
const MAP = ['properties', 'patternProperties', '$defs', 'definitions']

/** A copy of the schema in which `change` has replaced each sub-schema, the innermost first; those inside of a `whole` one stay as they are. */
export function mapSchema (schema: Node, change: (node: Node) => Node, whole: (node: Node) => boolean = () => false): Node {
  if (whole(schema)) return change(schema)
  const copy: Node = { ...schema }
  const map = (item: unknown): unknown => isNode(item) ? mapSchema(item, change, whole) : item
  for (const key of ONE) if (isNode(copy[key])) copy[key] = map(copy[key])
  for (const key of LIST) {
    const list = copy[key]
    if (Array.isArray(list)) copy[key] = list.map(map)
  }
  for (const key of MAP) {
    const entries = copy[key]
    if (isNode(entries)) copy[key] = Object.fromEntries(Object.entries(entries).map(([name, item]) => [name, map(item)]))
  }
  return change(copy)
}

/** Type.Record has this pattern for any key, but a dot is no line end: a key with one would be left unchecked and unwritten. */
const ANY_KEY = '^(.*)$'
/** What matches any key, those with a line end too. */
export const EVERY_KEY = '^[^]*$'

/** A schema whose records mean any key where they say so. */
export function withEveryKey (schema: Node): Node {
  return mapSchema(schema, node => {
    if (!isNode(node.patternProperties) || !(ANY_KEY in node.patternProperties)) return node
    const { [ANY_KEY]: others, ...patterns } = node.patternProperties
    return { ...node, patternProperties: { ...patterns, [EVERY_KEY]: others } }
  })
}

/**
 * A schema, and those that it may refer to, in the form from which fast-json-stringify writes the declared part of a
 * value. The writer chooses no branch of a union again, and fills in no default.
 */
export function writable (schema: Node, shared: Record<string, unknown>): { schema: Node, shared: Record<string, unknown> } {
  const write = (node: unknown): Node => mapSchema(node as Node, ({ default: _, ...node }) => written(node))
  return { schema: write(schema), shared: Object.fromEntries(Object.entries(shared).map(([id, node]) => [id, write(node)])) }
}

/** A schema that writes any value as it is. It keeps the parts that others refer to. */
function anything ({ $id, $defs, definitions }: Node): Node {
  return Object.fromEntries(Object.entries({ $id, $defs, definitions }).filter(([, value]) => value !== undefined))
}

const hasChoice = ({ anyOf, oneOf, if: condition }: Node): boolean => anyOf !== undefined || oneOf !== undefined || condition !== undefined
const isTyped = (item: unknown): boolean => isNode(item) && typeof item.type === 'string' && item.type !== 'object'
const hasTypes = ({ type }: Node): boolean => Array.isArray(type) && (type.includes('object') || type.includes('array'))
// Joining loses a name that all objects have.
const hasInherited = ({ properties }: Node): boolean => isNode(properties) && Object.keys(properties).some(name => name in Object.prototype)
const isPlainObject = (part: unknown): boolean => isNode(part) && part.type === 'object' && part.allOf === undefined && part.$ref === undefined && !hasChoice(part) && !hasInherited(part)

function written (node: Node): Node {
  if (hasChoice(node) || hasTypes(node)) return anything(node)
  // The serialiser joins objects. It knows the items of a tuple by their one type, and an object among them by its
  // prototype.
  if (Array.isArray(node.allOf) && !node.allOf.every(isPlainObject)) return anything(node)
  if (Array.isArray(node.items) && !node.items.every(isTyped)) return anything(node)
  return node.type === 'RegExp' ? { type: 'string' } : node
}
