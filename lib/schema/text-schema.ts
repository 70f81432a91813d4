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
  const [target, resource] = resolveReference($ref as string, root, known)
  return isTextSchema(target, known, resource, [...seen, schema])
}

/**
 * Returns the target of a `$ref` and the schema that `#` refers to there; undefined if there is none. `root`: the
 * schema that `#` refers to here. `known`: other schemas, by `$id`.
 */
export function resolveReference ($ref: string, root: unknown, known: SharedSchemas): [target: unknown, root: unknown] {
  const [id = '', pointer = ''] = $ref.split('#')
  const start = id === '' ? root : Object.hasOwn(known, id) ? known[id] : undefined
  return [decodeURIComponent(pointer).split('/').slice(1).reduce<unknown>(
    (node, key) => (Object(node) as SharedSchemas)[key.replaceAll('~1', '/').replaceAll('~0', '~')], start), start]
}
