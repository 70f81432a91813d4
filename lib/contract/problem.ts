import { STATUS_CODES } from 'node:http'
import type { AnyEvent } from './event-types.ts'

/** Problem details (RFC 9457). `detail`: only of an error that is meant for the client. */
export interface Problem {
  type: string
  title: string
  status: number
  instance: string | undefined
  detail?: string
}

/** Returns the last event of a failed stream. The error of a channel has no request id. */
export function problemEvent (error: Error, requestId?: string): AnyEvent {
  return { event: 'error', data: problemDetails(error, requestId) }
}

/**
 * Returns problem details (RFC 9457). The message of an error is sent only if its status is from 400 to 499, because
 * such an error is meant for the client. The message of any other error is never sent.
 */
export function problemDetails (error: Error, requestId?: string): Problem {
  const statusCode = (error as { statusCode?: unknown }).statusCode
  const status = typeof statusCode === 'number' && STATUS_CODES[statusCode] !== undefined && statusCode >= 400
    ? statusCode
    : 500
  const problem = { type: 'about:blank', title: STATUS_CODES[status]!, status, instance: requestId }
  return status < 500 ? { ...problem, detail: error.message } : problem
}
