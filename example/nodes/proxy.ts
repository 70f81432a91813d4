import { request as send, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

/**
 * Proxies requests without a body to the ports of 127.0.0.1 in turn. If a port does not answer, the next one is tried.
 * The response is streamed. When either side disconnects, the other is disconnected, too.
 */
export function roundRobin (ports: () => readonly number[]): Handler {
  let turn = 0
  return (request, response) => {
    const current = ports()
    const first = current.length === 0 ? 0 : turn++ % current.length
    forward(request, response, [...current.slice(first), ...current.slice(0, first)])
  }
}

function forward (request: IncomingMessage, response: ServerResponse, [port, ...others]: readonly number[]): void {
  if (port === undefined) {
    response.writeHead(502, { 'content-type': 'text/plain' }).end('No node answers\n')
    return
  }
  const upstream = send({
    host: '127.0.0.1',
    port,
    method: request.method,
    path: request.url,
    headers: endToEnd(request.headers, 'content-length', 'expect'),
    // A kept-alive connection could lead to a node that was killed in the meantime.
    agent: false
  })
  const abort = (): void => { upstream.destroy() }
  response.once('close', abort)
  upstream.once('response', answer => {
    response.writeHead(answer.statusCode!, answer.statusMessage, endToEnd(answer.headers))
    // Sends the head now, not with the first event.
    response.flushHeaders()
    // If the upstream response breaks off, so does this one: a clean end would make it look complete.
    pipeline(answer, response, () => {})
  })
  upstream.on('error', () => {
    response.off('close', abort)
    if (!response.headersSent && !response.destroyed) forward(request, response, others)
  })
  upstream.end()
}

// Hop-by-hop headers (RFC 9110 §7.6.1).
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']

function endToEnd (headers: IncomingHttpHeaders, ...without: string[]): IncomingHttpHeaders {
  const listed = headers.connection?.toLowerCase().split(/\s*,\s*/) ?? []
  const removed = new Set([...HOP_BY_HOP, ...listed, ...without])
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !removed.has(name)))
}
