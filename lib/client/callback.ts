import { StreamError, type StreamErrorCode } from './stream-error.ts'

/** Calls a function of the program. Its error is the cause of a StreamError; a StreamError stays as it is. */
export function call<T> (name: string, callback: () => T, code?: StreamErrorCode): T {
  try {
    return callback()
  } catch (error) {
    throw failureIn(name, error, code)
  }
}

/** The StreamError for an error of a function of the program. */
export function failureIn (name: string, thrown: unknown, code: StreamErrorCode = 'FST_SSE_CALLBACK'): StreamError {
  const cause = legible(thrown)
  return cause instanceof StreamError ? cause : new StreamError(code, `${name} failed: ${(cause as Error | null)?.message}`, { cause })
}

/**
 * A thrown value as it is, or an error in place of one that throws when the client reads it: a revoked proxy, or an
 * error with a getter that throws.
 */
export function legible (thrown: unknown): unknown {
  try {
    if (thrown instanceof StreamError) return thrown
    const { message, cause } = Object(thrown) as Partial<Error>
    const { message: why, code } = Object(cause) as Partial<NodeJS.ErrnoException>
    // A symbol throws here.
    String([message, why, code])
    return thrown
  } catch {
    return new Error('the thrown value cannot be read')
  }
}
