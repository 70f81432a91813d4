import { isUtf8 } from 'node:buffer'
import type { FastifyRequest } from 'fastify'

const ASCII = /^[\u0020-\u007e]*$/
const BYTES = /^[\u0000-\u00ff]*$/ // eslint-disable-line no-control-regex

/**
 * Returns the last event id of a request: the header `Last-Event-ID`, else the query parameter `lastEventId`, for
 * clients that cannot set a header. A browser sends the id as UTF-8 (WHATWG HTML §9.2.3), and so does the client of
 * this package. Node decodes every header as latin1. Another client on `fetch` or on Node's own client sends latin1.
 * Bytes that are no UTF-8 are therefore latin1.
 */
export function decodeLastEventId (request: FastifyRequest): string | undefined {
  const header = request.raw.headers['last-event-id']
  if (typeof header === 'string') {
    if (ASCII.test(header) || !BYTES.test(header)) return header
    const bytes = Buffer.from(header, 'latin1')
    return isUtf8(bytes) ? bytes.toString('utf8') : header
  }
  const parameter = (request.query as { lastEventId?: unknown } | undefined)?.lastEventId
  const value: unknown = Array.isArray(parameter) ? parameter[0] : parameter
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
}
