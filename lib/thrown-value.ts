import { isError, describe } from './errors.ts'

// The properties of an error that loggers, Fastify and this package read.
const READ = ['name', 'message', 'stack', 'code', 'statusCode', 'cause']
// The number of nested causes that are checked.
const DEPTH = 10

/** Whether a value can be read. A program may throw a revoked proxy, or an error with getters that throw. */
function canBeRead (value: unknown, depth = DEPTH): boolean {
  if (typeof value !== 'function' && (typeof value !== 'object' || value === null)) return true
  try {
    for (const name of READ) Reflect.get(value, name)
    // Loggers also read enumerable properties.
    for (const name in value) Reflect.get(value, name)
    return depth === 0 || canBeRead((value as { cause?: unknown }).cause, depth - 1)
  } catch {
    return false
  }
}

/** Returns a thrown value for a log: the value itself, or an error that describes it if it cannot be read. */
export function toReadable (thrown: unknown): unknown {
  return canBeRead(thrown) ? thrown : new Error(`The thrown value cannot be read: ${describe(thrown)}`)
}

/** Returns a thrown value as an error that can be read. `thrower`: the function that threw it, for the message. */
export function toError (thrown: unknown, thrower = 'The source'): Error {
  const cause = toReadable(thrown)
  return isError(cause) ? cause : new Error(`${thrower} threw ${describe(cause)}`, { cause })
}

/** Whether the error is the result of an abort, and needs no report. */
export function isAbortError (thrown: unknown): boolean {
  const { name, code } = toError(thrown) as NodeJS.ErrnoException
  return name === 'AbortError' || code === 'ERR_STREAM_PREMATURE_CLOSE'
}

/** Returns the message of a thrown value, for the message of another error. */
export function errorMessage (cause: unknown): string {
  try {
    return String(cause instanceof Error ? cause.message : cause)
  } catch {
    return describe(cause)
  }
}
