import { createHash } from 'node:crypto'
import { isNode } from './json-schema.ts'
import type { SharedSchemas } from './textual.ts'

// TypeBox numbers recursive types that are given no id, in the order in which a process makes them.
const NUMBERED = /^T\d+$/

/** Sets data apart that no map has checked: what it was written by is the same everywhere. */
export const FREE = 'free'
/** Sets the error apart that a channel has ended with, and that its map does not declare. */
export const FAILURE = 'failure'

/**
 * Names a schema, together with the shared schemas that it refers to: two processes have one fingerprint for it where they check and write by the
 * same. Formats count by their names. 12 characters of base64url, 72 bits.
 */
export function fingerprintOf (schema: unknown, shared: SharedSchemas): string {
  const ids = new Map<string, number>()
  const idOf = (id: string): string => {
    const [base, ...rest] = id.split('#')
    if (!ids.has(base!)) ids.set(base!, ids.size)
    // A number of TypeBox's says nothing: the place of its first mention does.
    return NUMBERED.test(base!) && !Object.hasOwn(shared, base!) ? `#${ids.get(base!)}#${rest.join('#')}` : id
  }
  const hash = createHash('sha256').update(canonical(schema, idOf))
  // It grows while schemas are met that refer to others.
  for (const id of ids.keys()) if (Object.hasOwn(shared, id)) hash.update(`\n${id}\n${canonical(shared[id], idOf)}`)
  return hash.digest('base64url').slice(0, 12)
}

/** One text for equal values, whatever the order of their keys. A kind of TypeBox is under a symbol. */
function canonical (value: unknown, idOf: (id: string) => string): string {
  if (Array.isArray(value)) return `[${value.map(item => canonical(item, idOf)).join(',')}]`
  if (!isNode(value) || value instanceof RegExp || value instanceof Date) return typeof value === 'string' ? JSON.stringify(value) : String(value)
  const kinds = Object.getOwnPropertySymbols(value).map(key => `${String(key)}:${String(value[key])}`).sort()
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined).sort(([a], [b]) => a < b ? -1 : 1).map(([key, inner]) => {
    const isId = (key === '$id' || key === '$ref') && typeof inner === 'string'
    return `${JSON.stringify(key)}:${canonical(isId ? idOf(inner) : inner, idOf)}`
  })
  return `{${[...kinds, ...entries].join(',')}}`
}
