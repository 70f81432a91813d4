import { FormatRegistry, Kind, Type, TypeRegistry, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { mapSchema, type SchemaNode } from '../schema/json-schema.ts'

/**
 * For `connect(url, { events, validate })`: checks what comes by its schema, without generated code, which a Content Security Policy may forbid. Formats
 * are checked that TypeBox's `FormatRegistry` knows; the server has checked the others. What is wrong, or undefined.
 */
export function validate (schema: unknown, data: unknown): string | undefined {
  const error = Value.Errors(checkable(schema as SchemaNode) as unknown as TSchema, data).First()
  return error === undefined ? undefined : `${error.message} at '${error.path || '/'}'`
}

const known = new WeakMap<SchemaNode, SchemaNode>()

/** TypeBox throws at what it does not know, and refuses every string of a format that it does not know. */
function checkable (schema: SchemaNode): SchemaNode {
  let made = known.get(schema)
  if (made === undefined) {
    // A module brings the schemas that it refers to.
    const within = (node: SchemaNode): SchemaNode => isImport(node) ? node : loosened(node, ['Ref', 'This'])
    made = mapSchema(schema, node => isImport(node) ? mapSchema(node, within) : loosened(node, ['This']), isImport)
    known.set(schema, made)
  }
  return made
}

const isImport = (node: SchemaNode): boolean => node[Kind] === 'Import'

/** Without what cannot be checked: a type of the user, plain JSON Schema, a schema that only the server has, a format. The references can be followed. */
function loosened (node: SchemaNode, references: readonly string[]): SchemaNode {
  const { format, ...rest } = node
  const kind = String(node[Kind])
  // The builder has a method for each type, and two more.
  const checked = references.includes(kind) || TypeRegistry.Has(kind) || (kind in Type && kind !== 'Ref' && kind !== 'Unsafe')
  if (!checked) return { ...rest, [Kind]: 'Unknown' }
  return typeof format === 'string' && !FormatRegistry.Has(format) ? rest : node
}
