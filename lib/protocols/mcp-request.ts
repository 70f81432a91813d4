import type { FastifyRequest } from 'fastify'
import { problemDetails } from '../contract/problem.ts'
import { accepts } from '../stream/accept.ts'
import { errorHandler } from './error-response.ts'
import { CODE, isInitialize, isMessage, rejection, type JsonRpcMessage } from './mcp-messages.ts'
import type { ResolvedMcpOptions } from './mcp-options.ts'
import type { McpMessageInfo } from './mcp-session.ts'

// Visible ASCII. The slash separates the id of a session from those of its streams in the names of channels.
const SESSION_ID = /^[\x21-\x2e\x30-\x7e]{1,255}$/
// The versions whose servers have this transport. A server may choose a later one.
const VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05', '2024-10-07']
// As of the official SDK.
const MAX_BATCH = 100

/** The rejection of a session that is unknown, has ended, or belongs to another client. */
export const unknownSession = (): Error => rejection(404, 'Session not found', CODE.sessionNotFound)

/** Replies with the error as a response of JSON-RPC without a request. */
export const onError = errorHandler(error => {
  const { status, title, detail } = problemDetails(error)
  const { rpcCode } = error as { rpcCode?: number }
  const code = rpcCode ?? (status === 400 ? CODE.parse : status < 500 ? CODE.connectionClosed : CODE.internal)
  return { jsonrpc: '2.0', error: { code, message: detail ?? title }, id: null }
})

export const isSessionId = (id: unknown): id is string => typeof id === 'string' && SESSION_ID.test(id)

/** Checks the headers of a request before its body is read. */
export function checkHeaders (request: FastifyRequest, { allowedHosts, allowedOrigins }: ResolvedMcpOptions): void {
  const { method, headers: { host = '', origin, accept = '', 'content-type': contentType = '' } } = request
  if (allowedHosts?.includes(host) === false) throw rejection(403, `Invalid Host header: ${host}`)
  if (origin !== undefined && !allowedOrigins.includes(origin) && !allowedOrigins.includes('*')) {
    throw rejection(403, `Invalid Origin header: ${origin}`)
  }
  const types = { POST: ['application/json', 'text/event-stream'], GET: ['text/event-stream'] }[method] ?? []
  if (!types.every(type => accepts(accept, type))) {
    throw rejection(406, `Not Acceptable: Client must accept ${types.join(' and ')}`)
  }
  if (method === 'POST' && !/^application\/json *(;|$)/i.test(contentType)) {
    throw rejection(415, 'Unsupported Media Type: Content-Type must be application/json')
  }
}

/** Checks the version of the protocol. `chosen`: by the server; undefined if this node does not know the session. */
export function checkVersion ({ headers }: FastifyRequest, chosen: string | undefined): void {
  const version = headers['mcp-protocol-version']
  if (version === undefined || version === chosen || VERSIONS.includes(String(version))) return
  throw rejection(400, `Bad Request: Unsupported protocol version: ${String(version)}`)
}

/** Returns the messages in the body of a POST. */
export function messagesIn (body: unknown): JsonRpcMessage[] {
  const messages: unknown[] = Array.isArray(body) ? body : [body]
  if (messages.length > MAX_BATCH) {
    throw rejection(400, `Invalid Request: Batch must not exceed ${MAX_BATCH} messages`, CODE.invalidRequest)
  }
  if (messages.length === 0 || !messages.every(isMessage)) {
    throw rejection(400, 'Parse error: Invalid JSON-RPC message', CODE.parse)
  }
  if (messages.length > 1 && messages.some(isInitialize)) {
    throw rejection(400, 'Invalid Request: Only one initialization request is allowed', CODE.invalidRequest)
  }
  return messages
}

/** Returns the context of a message for the server. */
export function infoOf (request: FastifyRequest, { authInfo }: ResolvedMcpOptions): McpMessageInfo {
  const { headers, protocol, host, url } = request
  const base = `${protocol}://${host}`
  return {
    // A client may send any host.
    requestInfo: { headers, url: URL.canParse(url, base) ? new URL(url, base) : undefined },
    authInfo: authInfo?.(request)
  }
}
