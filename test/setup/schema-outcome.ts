import type { AjvOptions } from '../../lib/schema/ajv.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import type { SharedSchemas } from '../../lib/schema/text-schema.ts'

/** Returns the text of a value, its mismatch, or the error of its schema. */
export function schemaOutcome (
  schema: object,
  value: unknown,
  { shared = {}, options = {} }: { shared?: SharedSchemas, options?: AjvOptions } = {}
): string {
  let compiled
  try {
    compiled = schemaCompiler(shared, options)(schema)
  } catch (error) {
    return `unusable: ${(error as Error).message}`
  }
  const text = compiled.write(value)
  if (text !== undefined) return text
  const { path, message } = compiled.explain(value)
  return `${path}: ${message}`
}
