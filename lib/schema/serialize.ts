import { FST_SSE_SERIALIZE, describe } from '../errors.ts'
import { errorMessage } from '../thrown-value.ts'
import { escapePointer } from './subschema.ts'
import { findWithoutJsonForm, lacksJsonForm } from './json-form.ts'

/** Returns the result of `write(data)`. An error becomes FST_SSE_SERIALIZE, which names the event and the place. */
export function serializeWith<T> (write: (data: unknown) => T, name: string, data: unknown): T {
  try {
    return write(data)
  } catch (cause) {
    const error = new FST_SSE_SERIALIZE(name, pointer(data), errorMessage(cause))
    error.cause = cause
    throw error
  }
}

/** Returns the JSON of data without a schema. Throws FST_SSE_SERIALIZE if JSON has no form for it. */
export function serialize (name: string, data: unknown): string {
  const text: unknown = serializeWith(JSON.stringify, name, data)
  const lost = typeof text === 'string' ? findWithoutJsonForm(data, text) : data
  if (typeof text !== 'string' || lost !== undefined) {
    throw new FST_SSE_SERIALIZE(name, pointer(data), `JSON has no form for ${describe(lost)}`)
  }
  return text
}

function pointer (data: unknown): string {
  try {
    return locate(data) || '/'
  } catch {
    // The value is nested too deeply for the stack.
    return '/'
  }
}

/** Returns the JSON pointer of the first value without a JSON form: a BigInt, bytes, a map or a circular reference. */
function locate (value: unknown, path = '', ancestors: readonly unknown[] = []): string | undefined {
  if (typeof value === 'bigint' || ancestors.includes(value) || lacksJsonForm(value)) return path
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, inner] of Object.entries(value)) {
    const found = locate(inner, `${path}/${escapePointer(key)}`, [...ancestors, value])
    if (found !== undefined) return found
  }
  return undefined
}
