import { FST_SSE_LOG_METHOD } from '../errors.ts'
import type { EventLog, KeyedPosition, LogRecord } from '../log/log.ts'
import { isOptions, nameOfLength, validateOptions, type Rule } from '../validate-options.ts'

/** Options of `channel.publish(event, options)`. */
export interface PublishOptions<C extends object | undefined = undefined> {
  /**
   * Publishes the event once: a later call with this key, on any node and within ten minutes, publishes nothing and
   * resolves to the id of the first event. 1 to 256 characters without control characters. The event log needs
   * `appendOnce`.
   */
  key?: string | undefined
  /**
   * A connection of the user with an open transaction: the event is published when the transaction is committed, and
   * never if it is rolled back. The promise resolves to undefined, because the event has no id before the commit. The
   * event log needs `appendIn`, as that of `postgresLog()` does.
   */
  client?: C
}

const DEFAULTS: { key: string | undefined, client: object | undefined } = { key: undefined, client: undefined }
const RULES: Record<keyof typeof DEFAULTS, Rule> = {
  key: nameOfLength(256),
  client: { expected: 'a connection with an open transaction', fits: isOptions }
}

/** Returns the options. Throws FST_SSE_OPTION for an invalid one. */
export const resolvePublish = (options: unknown): typeof DEFAULTS => validateOptions(options, DEFAULTS, RULES)

/**
 * Appends a record with options. Resolves to undefined if that is up to a transaction. Rejects with FST_SSE_LOG_METHOD
 * if the log cannot do it.
 */
export async function appendWith (
  log: EventLog,
  record: LogRecord,
  { key, client }: typeof DEFAULTS
): Promise<KeyedPosition | undefined> {
  if (client !== undefined) {
    if (log.appendIn === undefined) throw new FST_SSE_LOG_METHOD('appendIn()', 'publish() with a client needs')
    await log.appendIn(client, record, key)
    return undefined
  }
  if (key === undefined) return { ...await log.append(record), appended: true }
  if (log.appendOnce === undefined) throw new FST_SSE_LOG_METHOD('appendOnce()', 'publish() with a key needs')
  return await log.appendOnce(record, key)
}
