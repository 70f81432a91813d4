import { FST_SSE_MCP } from '../errors.ts'
import { withTexts } from '../schema/texts.ts'
import { isOptions } from '../validate-options.ts'
import { openObject } from './open-object.ts'

/** The id of a request. */
export type JsonRpcId = string | number

/** A message of MCP: a request, a notification or a response. The messages of the official SDK have this type. */
export interface JsonRpcMessage {
  jsonrpc: '2.0'
  id?: JsonRpcId | undefined
  method?: string | undefined
  params?: object | undefined
  result?: object | undefined
  error?: object | undefined
}

/** A message that expects a response. */
export type JsonRpcRequest = JsonRpcMessage & { id: JsonRpcId, method: string }

/**
 * The events of MCP: a message of JSON-RPC, or an empty text, which carries the first position of a stream. For
 * `schema.sse`, and for the channels of a session.
 */
export const mcpEvents = { message: withTexts(openObject<JsonRpcMessage>({ jsonrpc: { const: '2.0' } }), '') }
export type McpEvents = typeof mcpEvents

/** The event before all others, with a position alone: a client that lost its connection can resume from it. */
export const PRIMING = { data: '' } as const

// The first version of the protocol whose clients read an event without data. Versions are dates.
const PRIMED_SINCE = '2025-11-25'

const isId = (id: unknown): id is JsonRpcId => typeof id === 'string' || Number.isSafeInteger(id)

/** Whether a value from a client is a message. */
export function isMessage (value: unknown): value is JsonRpcMessage {
  if (!isOptions(value) || value.jsonrpc !== '2.0') return false
  const { id, method, params, result, error } = value
  if (method === undefined) return (id === undefined || isId(id)) && (isOptions(result) || isOptions(error))
  return typeof method === 'string' && (id === undefined || isId(id)) && (params === undefined || isOptions(params))
}

/** Whether a message expects a response. */
export const isRequest = (message: JsonRpcMessage): message is JsonRpcRequest =>
  message.method !== undefined && message.id !== undefined

export const isInitialize = (message: JsonRpcMessage): boolean => isRequest(message) && message.method === 'initialize'

/** Whether a client of this version of the protocol reads an event without data. */
export const isPrimed = (version: unknown): boolean => typeof version === 'string' && version >= PRIMED_SINCE

/** Whether the client of an `initialize` request reads an event without data. */
export const readsPriming = ({ params }: JsonRpcMessage): boolean =>
  isPrimed((params as { protocolVersion?: unknown } | undefined)?.protocolVersion)

/** Returns the request that a notification cancels: the server sends no response to it. */
export function cancelledBy ({ method, params }: JsonRpcMessage): JsonRpcId | undefined {
  const id = (params as { requestId?: unknown } | undefined)?.requestId
  return method === 'notifications/cancelled' && isId(id) ? id : undefined
}

/** Codes of JSON-RPC, and those of the official SDK. */
export const CODE = {
  connectionClosed: -32_000,
  sessionNotFound: -32_001,
  invalidRequest: -32_600,
  internal: -32_603,
  parse: -32_700
}

/** Returns an error with an HTTP status and a code of JSON-RPC. */
export function rejection (status: number, message: string, rpcCode: number = CODE.connectionClosed): Error {
  return Object.assign(new FST_SSE_MCP(message), { statusCode: status, rpcCode })
}

/** Returns a response that fails its request. */
export const failure = (id: JsonRpcId, code: number, message: string): JsonRpcMessage =>
  ({ jsonrpc: '2.0', id, error: { code, message } })

// A channel's name has at most 512 characters.
const MAX_ID = 200

/** Returns the end of the id of a stream: its request, so that every node can answer it after this one has stopped. */
export function suffixOf (messages: readonly JsonRpcMessage[]): string {
  const [id, ...others] = messages.filter(isRequest).map(({ id }) => encodeURIComponent(JSON.stringify(id)))
  return id === undefined || others.length > 0 || id.length > MAX_ID ? '' : `/${id}`
}

/** Returns the request of a stream, if the name of its channel has it. */
export function requestIn (channel: string): JsonRpcId | undefined {
  // The name of the endpoint may have a slash, but no colon.
  const [,, id] = channel.slice(channel.indexOf(':')).split('/')
  return id === undefined ? undefined : JSON.parse(decodeURIComponent(id))
}
