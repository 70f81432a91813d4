import { isNode } from './json-schema.ts'

/** True where every value that fits is a string: such an event goes out as plain text. */
export function isTextual (schema: unknown, shared: Record<string, unknown> = {}, seen: readonly string[] = []): boolean {
  if (!isNode(schema) || schema.nullable === true) return false
  const every = (list: unknown) => Array.isArray(list) && list.length > 0 && list.every(item => isTextual(item, shared, seen))
  if (schema.type === 'string' || typeof schema.const === 'string' || every(schema.anyOf) || every(schema.oneOf)) return true
  if (Array.isArray(schema.enum)) return schema.enum.length > 0 && schema.enum.every(value => typeof value === 'string')
  if (Array.isArray(schema.allOf)) return schema.allOf.some(item => isTextual(item, shared, seen))
  if (typeof schema.$ref !== 'string' || seen.includes(schema.$ref)) return false
  const defs = isNode(schema.$defs) ? schema.$defs : {}
  return isTextual(defs[schema.$ref] ?? shared[schema.$ref.replace(/#$/, '')], { ...shared, ...defs }, [...seen, schema.$ref])
}
