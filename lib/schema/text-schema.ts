import { isSchemaNode } from './json-schema.ts'

/** The schemas of `app.addSchema`, by `$id`. */
export type SharedSchemas = Record<string, unknown>

const isString = (value: unknown): boolean => typeof value === 'string'
const every = (list: unknown, matches: (item: unknown) => boolean): boolean =>
  Array.isArray(list) && list.length > 0 && list.every(matches)

/** Whether the JSON Schema admits only strings: the data of such an event is sent as plain text. */
export function isTextSchema (
  schema: unknown,
  shared: SharedSchemas = {},
  root: unknown = schema,
  seen: readonly unknown[] = []
): boolean {
  if (!isSchemaNode(schema) || schema.nullable === true || seen.includes(schema)) return false
  const isText = (part: unknown): boolean => isTextSchema(part, shared, root, seen)
  const { type, const: only, enum: values = [only], anyOf, oneOf, allOf, $ref, $defs } = schema
  if (every([type].flat(), type => type === 'string' || type === 'RegExp') || every(values, isString) ||
    every(anyOf, isText) || every(oneOf, isText) || (Array.isArray(allOf) && allOf.some(isText))) return true
  if (!isString($ref)) return false
  const known = { ...shared, ...$defs as SharedSchemas }
  const [id = '', pointer = ''] = ($ref as string).split('#')
  const start = id === '' ? root : Object.hasOwn(known, id) ? known[id] : undefined
  const target = decodeURIComponent(pointer).split('/').slice(1).reduce<unknown>(
    (node, key) => (Object(node) as SharedSchemas)[key.replaceAll('~1', '/').replaceAll('~0', '~')], start)
  return isTextSchema(target, known, start, [...seen, schema])
}
