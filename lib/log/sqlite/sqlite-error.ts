import { FST_SSE_LOG_UNAVAILABLE, isError } from '../../errors.ts'
import { isOptions } from '../../validate-options.ts'

const NAMES: Record<number, string> = { 5: 'BUSY', 8: 'READONLY', 13: 'FULL', 14: 'CANTOPEN', 26: 'NOTADB' }

/**
 * Returns the primary result code of SQLite, such as 'BUSY'; undefined for any other error. `node:sqlite` has it as a
 * number, `better-sqlite3` as the beginning of a name.
 */
export function sqliteCode (error: unknown): string | undefined {
  if (!isOptions(error)) return undefined
  const { errcode, code } = error
  if (typeof errcode === 'number') return NAMES[errcode & 0xff] ?? 'ERROR'
  return typeof code === 'string' ? /^SQLITE_([A-Z]+)/.exec(code)?.[1] : undefined
}

/** Whether a value is an error of this package. */
export const isCoded = (value: unknown): value is Error =>
  isError(value) && 'code' in value && String(value.code).startsWith('FST_SSE_')

/** Returns an error with a message of this package, which a client may receive; the error of SQLite is its `cause`. */
export function toLogError (channel: string, cause: unknown): Error {
  if (isCoded(cause)) return cause
  const error = new FST_SSE_LOG_UNAVAILABLE(channel, reasonOf(cause))
  error.cause = cause
  return error
}

function reasonOf (cause: unknown): string {
  const code = sqliteCode(cause)
  if (code === 'FULL') return 'has no space left: nothing was written'
  if (code === 'READONLY') return 'cannot be written'
  return 'cannot be used'
}
