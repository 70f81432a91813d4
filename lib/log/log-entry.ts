import type { LogEntry } from './log.ts'

/**
 * Returns an entry of a log, with a `fingerprint` only if there is one. After a spread, each entry would have a hidden
 * class of its own in V8.
 */
export function logEntry (
  offset: number,
  event: string,
  data: string,
  json: boolean,
  fingerprint: string | null | undefined
): LogEntry {
  return fingerprint == null ? { offset, event, data, json } : { offset, event, data, json, fingerprint }
}
