import { isSchemaNode, type SchemaNode } from './json-schema.ts'
import type { Subschema } from './subschema.ts'

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null
const SCALARS = ['string', 'number', 'integer', 'boolean', 'null', 'RegExp']

// The alternative to a type that JSON has no form for.
const ALTERNATIVES: Record<string, string> = {
  Date: "declare Type.String({ format: 'date-time' }), and send date.toISOString()",
  bigint: 'declare Type.String(), and send String(value)',
  Uint8Array: 'declare Type.String(), and send it in base64',
  undefined: 'declare Type.Optional(…) or Type.Null()',
  void: 'declare Type.Optional(…) or Type.Null()'
}

/** The combined keywords of all schemas that apply to one value. */
export interface Shape {
  parts: Subschema[]
  names: Map<string, Subschema[]>
  required: Set<string>
  /** The schemas of keys that are not declared by name. `pattern` is undefined for keys that no pattern matches. */
  others: Array<{ pattern: string | undefined, except: string[], schema: Subschema }>
  /** Whether other keys are rejected. */
  closed: boolean
  /** Whether some schema declares properties. */
  objects: boolean
  items: Subschema[]
  unions: Subschema[][]
  conditions: Subschema[]
}

/** Returns the schemas with the targets of their references and the members of their intersections. */
export function flatten (schemas: Subschema[], seen: Set<unknown> = new Set(), found: Subschema[] = []): Subschema[] {
  for (const schema of schemas) {
    const { node } = schema
    if (isSchemaNode(node) && seen.has(node)) continue
    seen.add(node)
    found.push(schema)
    if (!isSchemaNode(node)) continue
    if (typeof node.$ref === 'string') flatten([schema.resolve(node.$ref)], seen, found)
    flatten(schema.children('allOf'), seen, found)
  }
  return found
}

/** Combines the keywords of the schemas of one value. */
export function toShape (parts: Subschema[]): Shape {
  const shape: Shape = {
    parts,
    names: new Map(),
    required: new Set(),
    others: [],
    closed: false,
    objects: false,
    items: [],
    unions: [],
    conditions: []
  }
  for (const part of parts) {
    const { node } = part
    if (!isSchemaNode(node)) continue
    const { properties, patternProperties, additionalProperties, required, items } = node
    const names = isSchemaNode(properties) ? Object.keys(properties) : []
    const patterns = isSchemaNode(patternProperties) ? Object.keys(patternProperties) : []
    for (const name of names) {
      shape.names.set(name, [...shape.names.get(name) ?? [], part.child('properties', name, name)])
    }
    for (const name of Array.isArray(required) ? required as string[] : []) shape.required.add(name)
    for (const pattern of patterns) {
      shape.others.push({ pattern, except: [], schema: part.child('patternProperties', pattern, '*') })
    }
    if (isSchemaNode(additionalProperties) || additionalProperties === true) {
      shape.others.push({
        pattern: undefined,
        except: patterns,
        schema: part.child('additionalProperties', undefined, '*')
      })
    }
    if (additionalProperties === false || node.unevaluatedProperties === false) shape.closed = true
    if (isSchemaNode(properties) || patterns.length > 0 || additionalProperties !== undefined ||
      node.unevaluatedProperties === false) shape.objects = true
    if (isSchemaNode(items) || Array.isArray(items) || items === true) shape.items.push(part)
    for (const keyword of ['anyOf', 'oneOf']) {
      if (Array.isArray(node[keyword])) shape.unions.push(part.children(keyword))
    }
    if (isSchemaNode(node.if) && (node.then !== undefined || node.else !== undefined)) shape.conditions.push(part)
  }
  return shape
}

/** Whether the schemas declare nothing about the contents of a value. */
export function declaresNothing ({ parts, objects, items, unions, conditions }: Shape): boolean {
  if (objects || items.length > 0 || unions.length > 0 || conditions.length > 0) return false
  return parts.every(({ node }) =>
    !isSchemaNode(node) ||
    (declaredTypes(node) === undefined || (declaredTypes(node)!.includes('array') && node.enum === undefined))
  )
}

const isScalar = (value: unknown): boolean =>
  value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)

/**
 * Returns the property that distinguishes the branches of a union: each branch requires it with another constant.
 * Returns undefined if there is no such property.
 */
export function findTag (branches: Subschema[]): { name: string, values: unknown[] } | undefined {
  const shapes = branches.map(branch => toShape(flatten([branch])))
  for (const name of shapes[0]?.names.keys() ?? []) {
    const values = shapes.flatMap(({ names, required }) => {
      const tag = required.has(name)
        ? names.get(name)?.map(({ node }) => node).find(node => isSchemaNode(node) && isScalar(node.const))
        : undefined
      return isSchemaNode(tag) ? [tag.const] : []
    })
    if (!(name in Object.prototype) && new Set(values).size === branches.length) return { name, values }
  }
  return undefined
}

function declaredTypes ({ type }: SchemaNode): unknown[] | undefined {
  return type === undefined ? undefined : Array.isArray(type) ? type : [type]
}

/** Whether an array, or an object, can match all schemas. */
export function admits (parts: Subschema[], kind: 'array' | 'object', seen: Set<unknown> = new Set()): boolean {
  return parts.every(part => {
    const { node } = part
    if (!isSchemaNode(node) || seen.has(node)) return true
    seen.add(node)
    const values = 'const' in node ? [node.const] : node.enum
    if (Array.isArray(values) &&
      !values.some(value => isObject(value) && Array.isArray(value) === (kind === 'array'))) return false
    if (declaredTypes(node)?.includes(kind) === false) return false
    return ['anyOf', 'oneOf'].every(keyword =>
      !Array.isArray(node[keyword]) ||
      part.children(keyword).some(branch => admits(flatten([branch]), kind, new Set(seen)))
    )
  })
}

/** Throws if the schema has a type without a JSON form; the message names the place and an alternative. */
export function assertJsonTypes ({ node, instancePath }: Subschema): void {
  if (!isSchemaNode(node)) return
  for (const type of declaredTypes(node) ?? []) {
    if (type === 'object' || type === 'array' || SCALARS.includes(type as string)) continue
    const alternative = Object.hasOwn(ALTERNATIVES, String(type))
      ? ALTERNATIVES[String(type)]!
      : 'leave it out, or declare the type that you send instead'
    throw new Error(
      `schema is invalid: at '${instancePath || '/'}' the type '${String(type)}' has no form in JSON: ${alternative}`
    )
  }
}
