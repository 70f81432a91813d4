import { FST_SSE_SERIALIZE, describe } from '../errors.ts'
import { messageOf } from '../thrown.ts'
import { findWithoutJsonForm, lacksJsonForm } from './json-form.ts'

/** The text that `write` makes of the data. FST_SSE_SERIALIZE names the event and the place. */
export function attempt<T> (write: (data: unknown) => T, name: string, data: unknown): T {
  try {
    return write(data)
  } catch (cause) {
    const error = new FST_SSE_SERIALIZE(name, pointer(data), messageOf(cause))
    error.cause = cause
    throw error
  }
}

/** JSON of data without a schema. FST_SSE_SERIALIZE where it has no form. */
export function serialize (name: string, data: unknown): string {
  const text: unknown = attempt(JSON.stringify, name, data)
  const formless = typeof text === 'string' ? findWithoutJsonForm(data, text) : data
  if (typeof text !== 'string' || formless !== undefined) throw new FST_SSE_SERIALIZE(name, pointer(data), `JSON has no form for ${describe(formless)}`)
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

/** JSON pointer of the first value that JSON cannot carry: a BigInt, bytes, a map, or an object inside itself. */
function locate (value: unknown, path = '', above: readonly unknown[] = []): string | undefined {
  if (typeof value === 'bigint' || above.includes(value) || lacksJsonForm(value)) return path
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, inner] of Object.entries(value)) {
    const found = locate(inner, `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`, [...above, value])
    if (found !== undefined) return found
  }
  return undefined
}
