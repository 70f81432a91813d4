import { STATUS_CODES } from 'node:http'
import type { AnyEvent } from './event-types.ts'

/** The last event of a stream that failed. The error of a channel belongs to no request. */
export function problemEvent (error: Error, requestId?: string): AnyEvent {
  return { event: 'error', data: problemOf(error, requestId) }
}

/**
 * Problem details (RFC 9457). A message goes out only with an error that was made for the client (a status from 400 to 499); the text of
 * any other never leaves the process.
 */
export function problemOf (error: Error, requestId?: string): object {
  const given = (error as { statusCode?: unknown }).statusCode
  const status = typeof given === 'number' && STATUS_CODES[given] !== undefined && given >= 400 ? given : 500
  const problem = { type: 'about:blank', title: STATUS_CODES[status], status, instance: requestId }
  return status < 500 ? { ...problem, detail: error.message } : problem
}
