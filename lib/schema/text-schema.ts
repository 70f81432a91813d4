import { isNode } from './json-schema.ts'

/** What `app.addSchema` holds, by `$id`. */
export type SharedSchemas = Record<string, unknown>

/** True where every value that fits is a string: such an event goes out as plain text. */
export function isTextSchema (schema: unknown, shared: SharedSchemas = {}, seen: readonly string[] = []): boolean {
  if (!isNode(schema) || schema.nullable === true) return false
  const { type, const: only, enum: values, anyOf, oneOf, allOf, $ref, $defs } = schema
  const isText = (part: unknown): boolean => isTextSchema(part, shared, seen)
  const every = (list: unknown, fits: (part: unknown) => boolean): boolean => Array.isArray(list) && list.length > 0 && list.every(fits)
  const isString = (value: unknown): boolean => typeof value === 'string'
  if (type === 'string' || type === 'RegExp' || isString(only) || every(anyOf, isText) || every(oneOf, isText)) return true
  if (Array.isArray(values)) return every(values, isString)
  if (Array.isArray(allOf)) return allOf.some(isText)
  if (typeof $ref !== 'string' || seen.includes($ref)) return false
  const known = { ...shared, ...isNode($defs) ? $defs : {} }
  const target = [$ref, $ref.replace(/#$/, '')].find(id => Object.hasOwn(known, id))
  return target !== undefined && isTextSchema(known[target], known, [...seen, $ref])
}
