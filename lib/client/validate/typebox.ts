import { Errors } from 'typebox/schema'
import { mapSchema, type SchemaNode } from '../../schema/json-schema.ts'
import { vendorOf } from '../../schema/vendor.ts'
import { missingReferences } from './references.ts'
import { validate as validateStandard } from './standard.ts'

// The error of these keywords follows the errors of the schemas inside, and says more.
const OUTER = ['anyOf', 'oneOf', 'additionalProperties', 'unevaluatedProperties']

interface Prepared { readonly schema: object, readonly context: Record<string, object> }
const cache = new WeakMap<object, Prepared>()

/**
 * Checks the data of an event by its schema of TypeBox 1.x, for `connect(url, { events, validate })`. Returns the
 * fault, or undefined. Generates no code, which a Content Security Policy may forbid. The server alone checks formats,
 * because its formats differ from those of TypeBox. Checks Standard Schemas, too, and leaves schemas of other kinds to
 * the server.
 */
export function validate (schema: unknown, data: unknown): string | undefined {
  if (vendorOf(schema) !== 'typebox') return validateStandard(schema, data)
  let prepared = cache.get(schema as object)
  if (prepared === undefined) {
    prepared = prepare(schema as SchemaNode)
    cache.set(schema as object, prepared)
  }
  const [first, ...others] = Errors(prepared.context, prepared.schema, data)[1]
  if (first === undefined) return undefined
  const outer = others.findLast(({ keyword, schemaPath }) =>
    OUTER.includes(keyword) && first.schemaPath.startsWith(`${schemaPath}/${keyword}`)
  ) ?? first
  // An undeclared property has the schema `false`.
  const { instancePath } = first.keyword === 'boolean' ? first : outer
  return `${outer.message} at '${instancePath || '/'}'`
}

// The kind of Type.Unsafe depends on the version.
const isForeign = ({ '~kind': kind }: SchemaNode): boolean => kind === undefined || kind === 'Unsafe'

/** Returns a schema without formats. Schemas of Type.Unsafe, and those that only the server has, admit any value. */
function prepare (source: SchemaNode): Prepared {
  const schema = mapSchema(source, node => {
    if (isForeign(node)) return '~refine' in node ? { '~refine': node['~refine'] } : {}
    delete node.format
    return node
  }, isForeign)
  return { schema, context: Object.fromEntries(missingReferences(schema).map(reference => [reference, {}])) }
}
