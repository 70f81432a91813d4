import type { FastifyBaseLogger } from 'fastify'
import { legible } from './thrown.ts'

type Level = 'error' | 'warn' | 'info' | 'debug'

/**
 * Writes a log line. Serializers and mixins are functions of the user: an error of theirs ends no stream, and leaves no
 * promise open.
 */
export function logged <L extends Level> (log: Pick<FastifyBaseLogger, L>, level: L, fields: object, text: string): void {
  try {
    log[level]('err' in fields ? { ...fields, err: legible(fields.err) } : fields, text)
  } catch {
    try {
      log[level](`${text} (the logger threw for the details of this line)`)
    } catch {
      // The logger itself fails.
    }
  }
}
