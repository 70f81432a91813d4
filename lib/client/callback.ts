import { StreamError, type StreamErrorCode } from './stream-error.ts'

/** Calls a function of the program. Its error is the cause of a StreamError; a StreamError stays as it is. */
export function call<T> (name: string, callback: () => T, code?: StreamErrorCode): T {
  try {
    return callback()
  } catch (error) {
    throw callbackError(name, error, code)
  }
}

/** Returns the StreamError for an error of a function of the program. */
export function callbackError (name: string, thrown: unknown, code: StreamErrorCode = 'FST_SSE_CALLBACK'): StreamError {
  const cause = legible(thrown)
  return cause instanceof StreamError
    ? cause
    : new StreamError(code, `${name} failed: ${(cause as Error | null)?.message}`, { cause })
}

/** Calls a function whose result and failure do not matter, such as the `cancel` of a body, in any form of `fetch`. */
export async function quietly (callback: () => unknown): Promise<void> {
  try {
    await callback()
  } catch {}
}

/**
 * Returns a thrown value as it is, or a ReferenceError in place of a value that throws when the client reads it: a
 * revoked proxy, or an error with a getter that throws. As a rejection of `fetch` or `headers()`, both are a mistake of
 * the program.
 */
export function legible (thrown: unknown): unknown {
  try {
    // A symbol throws in String().
    if (!(thrown instanceof StreamError)) String(errorTexts(thrown))
    return thrown
  } catch {
    return new ReferenceError('the thrown value cannot be read')
  }
}

/**
 * Returns the texts that the client reads of a thrown value: its message, and the message and code of its cause (the
 * reason in Node).
 */
export function errorTexts (thrown: unknown): Array<string | undefined> {
  const { message, cause } = Object(thrown) as Partial<Error>
  const { message: reason, code } = Object(cause) as Partial<NodeJS.ErrnoException>
  return [message, reason, code]
}
