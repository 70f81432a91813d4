import { FormatRegistry, Kind, Type, TypeRegistry, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { mapSchema, type SchemaNode } from '../schema/json-schema.ts'
import { vendorOf } from '../schema/vendor.ts'
import { validate as validateStandard } from './validate/standard.ts'

/**
 * Checks the data of an event by its schema of TypeBox 0.34, for `connect(url, { events, validate })`. Returns the
 * fault, or undefined. Generates no code, which a Content Security Policy may forbid. It checks the formats that
 * TypeBox's `FormatRegistry` knows; the server has checked the others. Checks Standard Schemas, too, and leaves schemas
 * of other kinds to the server: `client/validate/typebox` and `client/validate/json-schema` check them.
 */
export function validate (schema: unknown, data: unknown): string | undefined {
  if (vendorOf(schema) !== 'sinclair-typebox') return validateStandard(schema, data)
  const error = Value.Errors(checkableSchema(schema as SchemaNode) as unknown as TSchema, data).First()
  return error === undefined ? undefined : `${error.message} at '${error.path || '/'}'`
}

const cache = new WeakMap<SchemaNode, SchemaNode>()

/**
 * Returns a schema without unknown types and formats: TypeBox throws for the former and rejects every string of the
 * latter.
 */
function checkableSchema (schema: SchemaNode): SchemaNode {
  let checkable = cache.get(schema)
  if (checkable === undefined) {
    // A module contains the schemas that it refers to.
    const within = (node: SchemaNode): SchemaNode => isImport(node) ? node : loosened(node, ['Ref', 'This'])
    checkable = mapSchema(schema, node => isImport(node) ? mapSchema(node, within) : loosened(node, ['This']), isImport)
    cache.set(schema, checkable)
  }
  return checkable
}

const isImport = (node: SchemaNode): boolean => node[Kind] === 'Import'

/**
 * Removes the parts that TypeBox cannot check: a type of the user, plain JSON Schema, a schema that only the server
 * has, a format. `references` are the kinds of references that can be resolved.
 */
function loosened (node: SchemaNode, references: readonly string[]): SchemaNode {
  const { format, ...rest } = node
  const kind = String(node[Kind])
  // The builder has a method for each type, and two more.
  const isKnown = references.includes(kind) || TypeRegistry.Has(kind) ||
    (kind in Type && kind !== 'Ref' && kind !== 'Unsafe')
  if (!isKnown) return { ...rest, [Kind]: 'Unknown' }
  return typeof format === 'string' && !FormatRegistry.Has(format) ? rest : node
}
