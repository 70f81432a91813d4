import { createHash } from 'node:crypto'
import { isSchemaNode, type SchemaNode } from './json-schema.ts'
import { unescapePointer } from './subschema.ts'
import type { SharedSchemas } from './text-schema.ts'

// TypeBox numbers recursive types without an id, in the order in which the process makes them.
const NUMBERED = /^T\d+$/

/** The fingerprint of data of a channel without an event map: its form is the same in all processes. */
export const FREE = 'free'
/** The fingerprint of the `error` event at the end of a channel whose map does not declare `error`. */
export const FAILURE = 'failure'

// A reference to a definition of the schema. ArkType numbers definitions as TypeBox numbers recursive types.
const DEFINITION = /^#\/(?:definitions|\$defs)\/([^/]+)(.*)$/

/**
 * Returns the fingerprint of a schema and of the shared schemas that it refers to: 12 characters of base64url, 72 bits.
 * Processes with equal schemas get the same fingerprint. Of a format, only the name counts.
 */
export function fingerprintSchema (schema: SchemaNode, shared: SharedSchemas): string {
  const { definitions, $defs, ...root } = schema
  const local = Object.assign({}, ...[definitions, $defs].filter(isSchemaNode)) as SchemaNode
  const ids = new Map<string, number>()
  const idOf = (id: string): string => {
    const [, definition, inner = ''] = DEFINITION.exec(id) ?? []
    const [base = '', ...rest] = definition === undefined ? id.split('#') : [`#/${unescapePointer(definition)}`, inner]
    if (!ids.has(base)) ids.set(base, ids.size)
    // Numbers differ between processes. The order of first mentions does not.
    const isNumbered = definition !== undefined || (NUMBERED.test(base) && !Object.hasOwn(shared, base))
    return isNumbered ? `#${ids.get(base)}#${rest.join('#')}` : id
  }
  const hash = createHash('sha256').update(canonical(root, idOf))
  // The map grows during the loop, with schemas that refer to others.
  for (const id of ids.keys()) {
    const name = id.replace(/^#\//, '')
    if (Object.hasOwn(local, name)) hash.update(`\n${ids.get(id)}\n${canonical(local[name], idOf)}`)
    else if (Object.hasOwn(shared, id)) hash.update(`\n${id}\n${canonical(shared[id], idOf)}`)
  }
  for (const name of Object.keys(local).sort()) {
    if (!ids.has(name) && !ids.has(`#/${name}`)) hash.update(`\n${name}\n${canonical(local[name], idOf)}`)
  }
  return hash.digest('base64url').slice(0, 12)
}

/** Returns the same text for equal values, in any order of their keys. TypeBox keeps the kind under a symbol. */
function canonical (value: unknown, idOf: (id: string) => string): string {
  if (Array.isArray(value)) return `[${value.map(item => canonical(item, idOf)).join(',')}]`
  if (!isSchemaNode(value) || value instanceof RegExp || value instanceof Date) {
    return typeof value === 'string'
      ? JSON.stringify(value)
      : String(value)
  }
  const kinds = Object.getOwnPropertySymbols(value).map(key => `${String(key)}:${String(value[key])}`).sort()
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined).sort(([a], [b]) => a < b ? -1 : 1)
    .map(([key, inner]) => {
      const isId = (key === '$id' || key === '$ref') && typeof inner === 'string'
      return `${JSON.stringify(key)}:${canonical(isId ? idOf(inner) : inner, idOf)}`
    })
  return `{${[...kinds, ...entries].join(',')}}`
}
