import { Errors } from 'typebox/schema'
import { vendorOf } from '../../schema/vendor.ts'
import { missingReferences } from './references.ts'
import { validate as validateStandard } from './standard.ts'

// The error of these keywords follows the errors of the schemas inside, and says more.
const OUTER = ['anyOf', 'oneOf', 'additionalProperties', 'unevaluatedProperties']

// References that the client cannot resolve admit any value.
const contexts = new WeakMap<object, Record<string, object>>()

/**
 * Checks the data of an event by its schema of TypeBox 1.x, for `connect(url, { events, validate })`. Returns the
 * fault, or undefined. Generates no code, which a Content Security Policy may forbid. Checks Standard Schemas, too, and
 * leaves schemas of other kinds to the server.
 */
export function validate (schema: unknown, data: unknown): string | undefined {
  if (vendorOf(schema) !== 'typebox') return validateStandard(schema, data)
  const typed = schema as object
  let context = contexts.get(typed)
  if (context === undefined) {
    context = Object.fromEntries(missingReferences(typed).map(reference => [reference, {}]))
    contexts.set(typed, context)
  }
  const [first, ...others] = Errors(context, typed, data)[1]
  if (first === undefined) return undefined
  const outer = others.findLast(({ keyword, schemaPath }) =>
    OUTER.includes(keyword) && first.schemaPath.startsWith(`${schemaPath}/${keyword}`)
  ) ?? first
  // An undeclared property has the schema `false`.
  const { instancePath } = first.keyword === 'boolean' ? first : outer
  return `${outer.message} at '${instancePath || '/'}'`
}
