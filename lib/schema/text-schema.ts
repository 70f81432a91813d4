import { isSchemaNode } from './json-schema.ts'

/** The schemas of `app.addSchema`, by `$id`. */
export type SharedSchemas = Record<string, unknown>

/** Whether the schema admits only strings: the data of such an event is sent as plain text. */
export function isTextSchema (schema: unknown, shared: SharedSchemas = {}, seen: readonly string[] = []): boolean {
  if (!isSchemaNode(schema) || schema.nullable === true) return false
  const { type, const: only, enum: values, anyOf, oneOf, allOf, $ref, $defs } = schema
  const isText = (part: unknown): boolean => isTextSchema(part, shared, seen)
  const every = (list: unknown, matches: (part: unknown) => boolean): boolean =>
    Array.isArray(list) && list.length > 0 && list.every(matches)
  const isString = (value: unknown): boolean => typeof value === 'string'
  if (type === 'string' || type === 'RegExp' || isString(only) || every(anyOf, isText) || every(oneOf, isText)) {
    return true
  }
  if (Array.isArray(values)) return every(values, isString)
  if (Array.isArray(allOf)) return allOf.some(isText)
  if (typeof $ref !== 'string' || seen.includes($ref)) return false
  const known = { ...shared, ...isSchemaNode($defs) ? $defs : {} }
  const target = [$ref, $ref.replace(/#$/, '')].find(id => Object.hasOwn(known, id))
  return target !== undefined && isTextSchema(known[target], known, [...seen, $ref])
}
