import { isError, shown } from './errors.ts'

/** What a logger, Fastify or this package reads of an error. */
const READ = ['name', 'message', 'stack', 'code', 'statusCode', 'cause']
// So many causes of causes are looked at.
const DEPTH = 10

/** Whether it can be read without a throw: anything may be thrown, also a proxy that is revoked, or an error with getters that throw. */
function isReadable (value: unknown, depth = DEPTH): boolean {
  if (typeof value !== 'function' && (typeof value !== 'object' || value === null)) return true
  try {
    for (const name of READ) Reflect.get(value, name)
    // Loggers read what is enumerable, too.
    for (const name in value) Reflect.get(value, name)
    return depth === 0 || isReadable((value as { cause?: unknown }).cause, depth - 1)
  } catch {
    return false
  }
}

/** What was thrown, for a log: as it is, or an error in place of one that cannot be read. */
export function legible (thrown: unknown): unknown {
  return isReadable(thrown) ? thrown : new Error(`What was thrown cannot be read: ${shown(thrown)}`)
}

/** What was thrown, as an error that can be read. `what` threw it. */
export function errorOf (thrown: unknown, what = 'The source'): Error {
  const cause = legible(thrown)
  return isError(cause) ? cause : new Error(`${what} threw ${shown(cause)}`, { cause })
}

/** Whether it follows from an abort, and is no news. */
export function isAbort (thrown: unknown): boolean {
  const { name, code } = errorOf(thrown) as NodeJS.ErrnoException
  return name === 'AbortError' || code === 'ERR_STREAM_PREMATURE_CLOSE'
}

/** The text of what was thrown, for the message of another error. */
export function messageOf (cause: unknown): string {
  try {
    return String(cause instanceof Error ? cause.message : cause)
  } catch {
    return shown(cause)
  }
}
