import { FormatRegistry, Kind, KindGuard, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { mapSchema, type Node } from '../json-schema.ts'

/**
 * For `connect(url, { events, validate })`: checks what comes by its schema, without generated code, which a Content Security Policy may forbid. Formats
 * are checked that TypeBox's `FormatRegistry` knows; the server has checked the others. What is wrong, or undefined.
 */
export function validate (schema: unknown, data: unknown): string | undefined {
  const error = Value.Errors(checkable(schema as Node) as unknown as TSchema, data).First()
  return error === undefined ? undefined : `${error.message} at '${error.path || '/'}'`
}

const known = new WeakMap<Node, Node>()

// What TypeBox has no check for: a type of the user, plain JSON Schema, and schemas that only the server has.
const UNKNOWN = ['Unsafe', 'Ref']

/** TypeBox throws at what it does not know, and refuses every string of a format that it does not know. */
function checkable (schema: Node): Node {
  let made = known.get(schema)
  if (made === undefined) {
    made = mapSchema(schema, node => {
      const { format, ...rest } = node
      if (!KindGuard.IsKind(node) || UNKNOWN.includes(String(node[Kind]))) return { [Kind]: 'Unknown' }
      return typeof format === 'string' && !FormatRegistry.Has(format) ? rest : node
    }, node => node[Kind] === 'Import')
    known.set(schema, made)
  }
  return made
}
