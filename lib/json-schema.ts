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

/** A schema whose records mean any key where they say so. */
export function withEveryKey (schema: Node): Node {
  return mapSchema(schema, node => {
    if (!isNode(node.patternProperties) || !(ANY_KEY in node.patternProperties)) return node
    const { [ANY_KEY]: others, ...patterns } = node.patternProperties
    return { ...node, patternProperties: { ...patterns, '^[^]*$': others } }
  })
}

type Find = (ref: string) => unknown

/** A schema, and those that it may refer to, in the form from which fast-json-stringify writes all that is declared, and no defaults. */
export function writable (schema: Node, shared: Record<string, unknown>): { schema: Node, shared: Record<string, unknown> } {
  const byId = new Map(Object.entries(shared))
  mapSchema(schema, node => {
    if (typeof node.$id === 'string') byId.set(node.$id, node)
    return node
  })
  const find: Find = ref => byId.get(ref.replace(/#$/, ''))
  const write = (node: unknown): Node => mapSchema(node as Node, ({ default: _, ...node }) => tupleOfUnions(exactFirst(node, find)))
  return { schema: write(schema), shared: Object.fromEntries(Object.entries(shared).map(([id, node]) => [id, write(node)])) }
}

// Outweighs any number of properties.
const ALL = 1e6

/** How many properties a schema declares, at any depth. */
function weigh (schema: Node, find: Find, seen: Set<unknown> = new Set()): number {
  let weight = 0
  mapSchema(schema, node => {
    if (isNode(node.properties)) weight += Object.keys(node.properties).length
    if (node.patternProperties !== undefined || (node.additionalProperties ?? false) !== false || isAnything(node)) weight += ALL
    const target = typeof node.$ref === 'string' ? find(node.$ref) : undefined
    if (isNode(target) && !seen.has(target)) weight += weigh(target, find, seen.add(target))
    return node
  })
  return weight
}

const isAnything = (node: Node): boolean => !['type', '$ref', 'const', 'enum', 'anyOf', 'oneOf', 'allOf', 'properties', 'items'].some(key => key in node)

/**
 * The serialiser takes the first branch of a union that fits, and writes what that branch declares. With `{ a } | { a, b }`
 * it would drop `b`. So each branch is first tried in a form that takes declared properties only, then as it is, the one
 * that declares most before the others.
 */
function exactFirst (node: Node, find: Find): Node {
  for (const key of ['anyOf', 'oneOf']) {
    if (!Array.isArray(node[key])) continue
    const branches = (node[key] as unknown[]).filter(isNode).map(branch => ({ branch, weight: weigh(branch, find) })).sort((a, b) => b.weight - a.weight)
    // Where one branch alone declares anything there is nothing to confuse, and no copy to pay for.
    const declaring = branches.filter(({ weight }) => weight > 0)
    const exact = declaring.length < 2 ? [] : declaring.map(({ branch }) => closed(branch))
    node[key] = [...exact, ...branches.map(({ branch }) => branch)]
  }
  return node
}

/**
 * The same, without room for other properties, where that can be said: not of a reference, which would never end
 * in a recursive type. An id it cannot have: the original has it.
 */
function closed (branch: Node): Node {
  return mapSchema(branch, node => {
    const { $id: _, ...rest } = node
    const names = namesOf(node)
    if (names === undefined) return rest
    if (node.allOf === undefined) return { ...rest, additionalProperties: false }
    return { allOf: [mapSchema(rest, ({ $id: _, ...part }) => part)], type: 'object', properties: Object.fromEntries(names.map(name => [name, {}])), additionalProperties: false }
  }, node => node.allOf !== undefined)
}

/** The properties that a schema of objects declares, its parts' too; undefined where it admits others as well. */
function namesOf ({ type, properties = {}, patternProperties, additionalProperties = false, anyOf, oneOf, allOf = [] }: Node): string[] | undefined {
  if (type !== 'object' || patternProperties !== undefined || additionalProperties !== false || anyOf !== undefined || oneOf !== undefined) return undefined
  const names = Object.keys(properties as Node)
  for (const part of allOf as unknown[]) {
    const more = isNode(part) ? namesOf(part) : undefined
    if (more === undefined) return undefined
    names.push(...more)
  }
  return names
}

const TYPES = ['null', 'boolean', 'integer', 'number', 'array', 'object', 'string']

/** The serialiser knows the items of a tuple by their one `type`. Those that have none get all, beside the union that they are or become. */
function tupleOfUnions (node: Node): Node {
  return Array.isArray(node.items) ? { ...node, items: node.items.map(typed) } : node
}

function typed (item: unknown): unknown {
  if (!isNode(item) || typeof item.type === 'string') return item
  if (isAnything(item)) return { type: TYPES, anyOf: TYPES.map(type => type === 'object' ? { type, additionalProperties: true } : { type }) }
  return { type: TYPES, anyOf: Array.isArray(item.anyOf) ? item.anyOf.map(typed) : [item] }
}
