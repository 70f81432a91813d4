import { isUtf8 } from 'node:buffer'
import type { FastifyRequest } from 'fastify'

const ASCII = /^[\u0020-\u007e]*$/
const BYTES = /^[\u0000-\u00ff]*$/ // eslint-disable-line no-control-regex

/**
 * Where a returning client stopped: the header, else the query parameter, which is for clients that cannot set one.
 * A browser sends the id as UTF-8 (WHATWG HTML §9.2.3), Node reads every header as latin1. What is built on `fetch` or on Node's own
 * client sends latin1, and can send no other characters: what is no UTF-8 was meant so.
 */
export function decodeLastEventId (request: FastifyRequest): string | undefined {
  const header = request.raw.headers['last-event-id']
  if (typeof header === 'string') {
    if (ASCII.test(header) || !BYTES.test(header)) return header
    const bytes = Buffer.from(header, 'latin1')
    return isUtf8(bytes) ? bytes.toString('utf8') : header
  }
  const given = (request.query as { lastEventId?: unknown } | undefined)?.lastEventId
  const value: unknown = Array.isArray(given) ? given[0] : given
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
}
