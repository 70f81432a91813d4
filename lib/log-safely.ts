import type { FastifyBaseLogger } from 'fastify'
import { toReadable } from './thrown-value.ts'

type Level = 'error' | 'warn' | 'info' | 'debug'

/**
 * Writes a log line and never throws. Serializers and mixins are functions of the user: if one throws, then the line is
 * written without its fields.
 */
export function logSafely<L extends Level> (
  log: Pick<FastifyBaseLogger, L>,
  level: L,
  fields: object,
  text: string
): void {
  try {
    log[level]('err' in fields ? { ...fields, err: toReadable(fields.err) } : fields, text)
  } catch {
    try {
      log[level](`${text} (the logger threw an error for the fields of this line)`)
    } catch {
      // The logger itself fails.
    }
  }
}
