import { StreamError, type StreamErrorCode } from './stream-error.ts'

/** Calls a function of the program. Its error is the cause of FST_SSE_CALLBACK; a StreamError stays as it is. */
export function call<T> (name: string, callback: () => T): T {
  try {
    return callback()
  } catch (error) {
    throw failureIn(name, error)
  }
}

/** The StreamError for an error of a function of the program. */
export function failureIn (name: string, cause: unknown, code: StreamErrorCode = 'FST_SSE_CALLBACK'): StreamError {
  return cause instanceof StreamError ? cause : new StreamError(code, `${name} failed: ${(cause as Error | null)?.message}`, { cause })
}
