import { FST_SSE_CHANNEL_ENDED, FST_SSE_LOG_FOREIGN, FST_SSE_LOG_UNAVAILABLE } from '../../errors.ts'

/** The schema holds other tables, or those of a newer version of this package. */
export class LayoutError extends Error {}

// Connections that end (08, 57P), conflicts of transactions (40), too many connections (53300), a server that is no
// longer the primary (25006), and the timeouts of statements, locks, transactions and idle connections.
const TRANSIENT = /^(?:08|40|53300|57P0[1235]|25006|25P0[34]|55P03|57014)/
const FULL = /^53[12]00/

/** The code of an error that PostgreSQL, or a pooler, has sent. Every other error is an error of the connection. */
export function codeOf (error: unknown): string | undefined {
  const { severity, code } = (error ?? {}) as { severity?: unknown, code?: unknown }
  return severity === undefined || typeof code !== 'string' ? undefined : code
}

/** Whether the next attempt may succeed. */
export function isTransient (error: unknown): boolean {
  const code = codeOf(error)
  return code === undefined ? !(error instanceof LayoutError) : TRANSIENT.test(code)
}

/** Whether the tables or functions are missing: another database answers, or it has lost its data. */
export const isMissing = (error: unknown): boolean => /^(?:42P01|3F000|42883)$/.test(codeOf(error) ?? '')

/**
 * Returns an error with a message of this package, which a client may receive; the message of PostgreSQL is its
 * `cause`, for the server's log.
 */
export function toLogError (channel: string, cause: unknown): Error {
  const error = errorFor(channel, cause)
  error.cause = cause
  return error
}

function errorFor (channel: string, cause: unknown): Error {
  if (cause instanceof LayoutError) return new FST_SSE_LOG_FOREIGN('schema of the channel', channel, cause.message)
  const code = codeOf(cause)
  if (code === 'P0001' && (cause as Error).message.startsWith('ENDED ')) return new FST_SSE_CHANNEL_ENDED()
  return new FST_SSE_LOG_UNAVAILABLE(channel, FULL.test(code ?? '')
    ? 'has no space left: nothing was appended'
    : 'cannot be used')
}
