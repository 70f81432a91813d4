import { isNode, type Node } from './json-schema.ts'
import type { Subschema } from './subschema.ts'

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null
const SCALARS = ['string', 'number', 'integer', 'boolean', 'null', 'RegExp']

/** The advice for types that JSON has no form for. */
const INSTEAD: Record<string, string> = {
  Date: "declare Type.String({ format: 'date-time' }), and send date.toISOString()",
  bigint: 'declare Type.String(), and send String(value)',
  Uint8Array: 'declare Type.String(), and send it in base64',
  undefined: 'declare Type.Optional(…) or Type.Null()',
  void: 'declare Type.Optional(…) or Type.Null()'
}

/** The keywords of all schemas for one value, together. */
export interface Shape {
  parts: Subschema[]
  names: Map<string, Subschema[]>
  required: Set<string>
  /** For other keys: a pattern, or none for keys that no pattern matches. */
  others: Array<{ pattern: string | undefined, except: string[], schema: Subschema }>
  /** Other keys are refused. */
  closed: boolean
  /** Some schema names the properties of an object. */
  objects: boolean
  items: Subschema[]
  unions: Subschema[][]
  conditions: Subschema[]
}

/** Schemas, with those that they refer to and those of their intersections. */
export function flat (schemas: Subschema[], seen: Set<unknown> = new Set(), found: Subschema[] = []): Subschema[] {
  for (const schema of schemas) {
    const { node } = schema
    if (isNode(node) && seen.has(node)) continue
    seen.add(node)
    found.push(schema)
    if (!isNode(node)) continue
    if (typeof node.$ref === 'string') flat([schema.target(node.$ref)], seen, found)
    flat(schema.children('allOf'), seen, found)
  }
  return found
}

export function shapeOf (parts: Subschema[]): Shape {
  const shape: Shape = { parts, names: new Map(), required: new Set(), others: [], closed: false, objects: false, items: [], unions: [], conditions: [] }
  for (const part of parts) {
    const { node } = part
    if (!isNode(node)) continue
    const { properties, patternProperties, additionalProperties, required, items } = node
    const names = isNode(properties) ? Object.keys(properties) : []
    const patterns = isNode(patternProperties) ? Object.keys(patternProperties) : []
    for (const name of names) shape.names.set(name, [...shape.names.get(name) ?? [], part.child('properties', name, name)])
    for (const name of Array.isArray(required) ? required as string[] : []) shape.required.add(name)
    for (const pattern of patterns) shape.others.push({ pattern, except: [], schema: part.child('patternProperties', pattern, '*') })
    if (isNode(additionalProperties) || additionalProperties === true) shape.others.push({ pattern: undefined, except: patterns, schema: part.child('additionalProperties', undefined, '*') })
    if (additionalProperties === false || node.unevaluatedProperties === false) shape.closed = true
    if (isNode(properties) || patterns.length > 0 || additionalProperties !== undefined || node.unevaluatedProperties === false) shape.objects = true
    if (isNode(items) || Array.isArray(items) || items === true) shape.items.push(part)
    for (const keyword of ['anyOf', 'oneOf']) if (Array.isArray(node[keyword])) shape.unions.push(part.children(keyword))
    if (isNode(node.if) && (node.then !== undefined || node.else !== undefined)) shape.conditions.push(part)
  }
  return shape
}

/** Whether the schemas say nothing about the contents of a value. */
export function isBare ({ parts, objects, items, unions, conditions }: Shape): boolean {
  if (objects || items.length > 0 || unions.length > 0 || conditions.length > 0) return false
  return parts.every(({ node }) => !isNode(node) || (typesOf(node) === undefined || (typesOf(node)!.includes('array') && node.enum === undefined)))
}

const isScalar = (value: unknown): boolean => value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)

/** The property by whose value alone the branch of a union is known: each requires another one. Nothing where there is no such property. */
export function tagsOf (branches: Subschema[]): { name: string, values: unknown[] } | undefined {
  const shapes = branches.map(branch => shapeOf(flat([branch])))
  for (const name of shapes[0]?.names.keys() ?? []) {
    const values = shapes.flatMap(({ names, required }) => {
      const tag = required.has(name) ? names.get(name)?.map(({ node }) => node).find(node => isNode(node) && isScalar(node.const)) : undefined
      return isNode(tag) ? [tag.const] : []
    })
    if (!(name in Object.prototype) && new Set(values).size === branches.length) return { name, values }
  }
  return undefined
}

function typesOf ({ type }: Node): unknown[] | undefined {
  return type === undefined ? undefined : Array.isArray(type) ? type : [type]
}

/** Whether an array, or an object, can fit all of these. */
export function admits (parts: Subschema[], kind: 'array' | 'object', seen: Set<unknown> = new Set()): boolean {
  return parts.every(part => {
    const { node } = part
    if (!isNode(node) || seen.has(node)) return true
    seen.add(node)
    const values = 'const' in node ? [node.const] : node.enum
    if (Array.isArray(values) && !values.some(value => isObject(value) && Array.isArray(value) === (kind === 'array'))) return false
    if (typesOf(node)?.includes(kind) === false) return false
    return ['anyOf', 'oneOf'].every(keyword => !Array.isArray(node[keyword]) || part.children(keyword).some(branch => admits(flat([branch]), kind, new Set(seen))))
  })
}

export function assertJson ({ node, at }: Subschema): void {
  if (!isNode(node)) return
  for (const type of typesOf(node) ?? []) {
    if (type === 'object' || type === 'array' || SCALARS.includes(type as string)) continue
    const instead = Object.hasOwn(INSTEAD, String(type)) ? INSTEAD[String(type)]! : 'leave it out, or declare the type that you send instead'
    throw new Error(`schema is invalid: at '${at || '/'}' the type '${String(type)}' has no form in JSON: ${instead}`)
  }
}
