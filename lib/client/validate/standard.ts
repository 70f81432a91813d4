import { isStandardSchema } from '../../schema/vendor.ts'

// For a map that a page loads: the entry point of the server needs Node.
export { withJsonSchema } from '../../schema/vendor.ts'

/** The result of a Standard Schema, as far as it is read here. */
interface StandardResult {
  readonly issues?: ReadonlyArray<{ message: string, path?: Iterable<PropertyKey | { key: PropertyKey }> }>
}

/**
 * Checks the data of an event by its Standard Schema, such as one of Zod, Valibot or ArkType, for `connect(url, {
 * events, validate })`. Returns the fault, or undefined. The event keeps the data that was received: defaults and
 * transformations of the schema do not apply. Schemas of other kinds are left to the server.
 */
export function validate (schema: unknown, data: unknown): string | undefined {
  if (!isStandardSchema(schema)) return undefined
  const { vendor, validate } = schema['~standard']
  const result = validate(data)
  if (result instanceof Promise) {
    result.catch(() => {})
    throw new TypeError(`a schema of ${vendor} checks asynchronously`)
  }
  const [issue] = (result as StandardResult).issues ?? []
  if (issue === undefined) return undefined
  // The path of ArkType is no plain array.
  const keys = Array.from(issue.path ?? [], part => String(typeof part === 'object' ? part.key : part))
  return `${issue.message} at '/${keys.map(key => key.replaceAll('~', '~0').replaceAll('/', '~1')).join('/')}'`
}
