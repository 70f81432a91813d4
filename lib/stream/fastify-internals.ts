import type { OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'

/**
 * What Fastify keeps on a reply under symbols of its own, by their descriptions. A Fastify that keeps it no more has no such
 * symbol: then nothing is known, and whoever asks goes the ordinary way.
 */
const SYMBOLS = { error: 'fastify.reply.isError', context: 'fastify.context', headers: 'fastify.reply.headers', trailers: 'fastify.reply.trailers', controller: 'fastify.logController' }

// Each process has one Fastify, or hardly more: the symbol found last is tried first.
const found = new Map<string, symbol>()

function symbolOf (reply: object, description: string): symbol | undefined {
  const known = found.get(description)
  if (known !== undefined && known in reply) return known
  for (let level = reply; level !== null; level = Object.getPrototypeOf(level) as object) {
    const symbol = Object.getOwnPropertySymbols(level).find(symbol => symbol.description === description)
    if (symbol === undefined) continue
    found.set(description, symbol)
    return symbol
  }
  return undefined
}

const marks = (reply: object): Record<symbol, unknown> => reply as Record<symbol, unknown>

function valueOf (reply: object, description: string): unknown {
  const symbol = symbolOf(reply, description)
  return symbol === undefined ? undefined : marks(reply)[symbol]
}

/** Fastify marks the reply of a handler that threw, whatever it threw. The mark would turn the stream's body into the error. */
export function clearErrorMark (reply: FastifyReply): boolean {
  const symbol = symbolOf(reply, SYMBOLS.error)
  if (symbol === undefined || marks(reply)[symbol] !== true) return false
  marks(reply)[symbol] = false
  return true
}

/** Whether `reply.send(stream)` would do no more than write the head and pipe: no onSend hook is to see the body, no trailer follows it. */
export function canWriteHeadDirectly (reply: FastifyReply): boolean {
  const context = valueOf(reply, SYMBOLS.context) as { onSend?: unknown } | undefined
  return context?.onSend === null && valueOf(reply, SYMBOLS.trailers) === null && !reply.sent && !reply.raw.headersSent
}

/** Whether Fastify logs the end of this request: `logController` or `disableRequestLogging` decides. */
export function logsRequest ({ server, request }: FastifyReply): boolean {
  const controller = valueOf(server, SYMBOLS.controller) as { isLogDisabled: (request: FastifyRequest) => boolean } | undefined
  if (controller !== undefined) return !controller.isLogDisabled(request)
  // An older Fastify without `logController`.
  const { disableRequestLogging: disabled } = server.initialConfig
  return typeof disabled === 'function' ? !disabled(request) : disabled !== true
}

/** What was set on the reply, for `writeHead`, which adds what was set on the response. */
export function headersOf (reply: FastifyReply): OutgoingHttpHeaders {
  return (valueOf(reply, SYMBOLS.headers) ?? reply.getHeaders()) as OutgoingHttpHeaders
}
