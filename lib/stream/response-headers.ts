import { validateHeaderName, validateHeaderValue, type OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply } from 'fastify'
import { FST_SSE_HEADER, FST_SSE_TYPE } from '../errors.ts'
import { logSafely } from '../log-safely.ts'

/** The content type of Server-Sent Events. */
export const EVENT_STREAM_TYPE = 'text/event-stream; charset=utf-8'
const IS_TYPE = /^text\/event-stream[\t ]*(;|$)/i

const NO_TRANSFORM = 'no-cache, no-transform'
/** The headers of every stream beside its type, unless the handler or a hook has set others. */
const HEADERS = Object.entries({
  // no-transform: a compressing proxy holds events back until its block is full.
  'cache-control': NO_TRANSFORM,
  // nginx, and proxies that copy this feature, buffer a response without this header.
  'x-accel-buffering': 'no'
})

/** Sets the headers that the handler and the hooks have not set. */
export function setHead (reply: FastifyReply, type = EVENT_STREAM_TYPE): void {
  if (!reply.hasHeader('content-type')) reply.header('content-type', type)
  for (const [name, value] of HEADERS) {
    if (!reply.hasHeader(name)) reply.header(name, value)
  }
}

// The headers that the coding of a reply has set.
const coded = new WeakMap<FastifyReply, string[]>()

/** Sets the coding of a stream. `ownCaching`: whether the handler has set no `Cache-Control`. */
export function setCoding (reply: FastifyReply, coding: string, ownCaching: boolean): void {
  const names = ['content-encoding']
  coded.set(reply, names)
  setLate(reply, 'content-encoding', coding)
  if (!ownCaching || reply.getHeader('cache-control') !== NO_TRANSFORM) return
  // An intermediary may remove the coding for a client that needs it removed.
  setLate(reply, 'cache-control', 'no-cache')
  names.push('cache-control')
}

/** Adds a field to the `Vary` of a reply (RFC 9110 §12.5.5). `late`: after Fastify has passed its headers on. */
export function addVary (reply: FastifyReply, field: string, late = false): void {
  const vary = [reply.getHeader('vary') ?? []].flat().join(', ')
  const fields = vary.toLowerCase().split(',').map(each => each.trim())
  if (fields.includes('*') || fields.includes(field.toLowerCase())) return
  const value = vary === '' ? field : `${vary}, ${field}`
  late ? setLate(reply, 'vary', value) : reply.header('vary', value)
}

/** Sets a header after the hooks. Where Fastify pipes a body, it has passed its headers on to the response. */
function setLate (reply: FastifyReply, name: string, value: string): void {
  reply.header(name, value)
  if (reply.raw.hasHeader('content-type')) reply.raw.setHeader(name, value)
}

/**
 * Returns the headers of the reply for `writeHead`, which adds those that were set on the response, as they were
 * spelled there.
 */
export function replyHeaders (reply: FastifyReply): OutgoingHttpHeaders {
  const { raw } = reply
  const headers = reply.getHeaders() as OutgoingHttpHeaders
  for (const name of raw.getHeaderNames()) {
    if (headers[name] === raw.getHeader(name)) delete headers[name]
  }
  return headers
}

/** Checks the headers of a stream before its head is sent. */
export function checkHead (reply: FastifyReply, expected = EVENT_STREAM_TYPE): void {
  dropFraming(reply)
  const type = reply.getHeader('content-type')
  if (type !== expected && !IS_TYPE.test(String(type))) {
    warn(reply, 'content-type', new FST_SSE_TYPE(String(type)), 'sse stream of another type')
  }
}

/**
 * Drops headers about the length of the body, since a stream has none. A client that trusts them reads the later bytes
 * as the next response, or rejects the stream (RFC 9112 §6.3, RFC 9113 §8.1.1). Over HTTP/1.0 there are no chunks (RFC
 * 9112 §6.1), and so no trailers.
 */
export function dropFraming (reply: FastifyReply): void {
  const { httpVersion } = reply.request.raw
  if (reply.hasHeader('content-length')) drop(reply, 'content-length')
  const encoding = reply.getHeader('transfer-encoding')
  if (encoding !== undefined && (httpVersion !== '1.1' || String(encoding).toLowerCase() !== 'chunked')) {
    drop(reply, 'transfer-encoding')
  }
  if (httpVersion === '1.0' && reply.hasHeader('trailer')) drop(reply, 'trailer')
}

function drop (reply: FastifyReply, name: string): void {
  const { raw, request } = reply
  const value = String(reply.getHeader(name))
  // This removes it from the response, too.
  reply.removeHeader(name)
  // Node sends no chunks after this header was removed: the connection would end with the stream.
  if (name === 'transfer-encoding' && request.raw.httpVersion === '1.1') raw.setHeader(name, 'chunked')
  // Fastify sets `chunked` and `trailer` itself for its trailers.
  if (value !== 'chunked' && name !== 'trailer') {
    warn(reply, name, new FST_SSE_HEADER(name, value), 'sse header dropped')
  }
}

/**
 * Clears a head that was not sent, so that the error response in its place has neither its status text and headers,
 * nor the header that made it fail.
 */
export function clearHead (reply: FastifyReply): void {
  const { raw, request } = reply
  if (raw.headersSent) return
  if (request.raw.httpVersionMajor === 1) raw.statusMessage = ''
  reply.removeHeader('content-type')
  for (const [name, value] of HEADERS) {
    if (reply.getHeader(name) === value) reply.removeHeader(name)
  }
  for (const name of coded.get(reply) ?? []) reply.removeHeader(name)
  coded.delete(reply)
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (!canBeSent(name, value)) reply.removeHeader(name)
  }
}

/** Throws Node's error for a header that cannot be sent. After the hooks, only Fastify would catch it. */
export function assertHead (reply: FastifyReply): void {
  for (const [name, value] of Object.entries(reply.getHeaders())) assertHeader(name, value)
}

function assertHeader (name: string, value: unknown): void {
  validateHeaderName(name)
  for (const each of Array.isArray(value) ? value : [value]) validateHeaderValue(name, each as string)
}

function canBeSent (name: string, value: unknown): boolean {
  try {
    assertHeader(name, value)
    return true
  } catch {
    return false
  }
}

// Once for each route, since all its requests would log the same line.
const warned = new WeakMap<object, Set<string>>()

function warn (reply: FastifyReply, header: string, err: Error, text: string): void {
  const { config } = reply.request.routeOptions
  const known = warned.get(config) ?? new Set()
  warned.set(config, known)
  if (known.has(header)) return
  known.add(header)
  logSafely(reply.log, 'warn', { err }, text)
}
