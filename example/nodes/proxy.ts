import { request as ask, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

/**
 * Passes requests without a body on: each to the next of the ports of 127.0.0.1 that are there now, and to the one after that when it does
 * not answer. What comes back goes through as it comes. When either side leaves, so does the other.
 */
export function roundRobin (ports: () => readonly number[]): Handler {
  let turn = 0
  return (request, response) => {
    const living = ports()
    const first = living.length === 0 ? 0 : turn++ % living.length
    pass(request, response, [...living.slice(first), ...living.slice(0, first)])
  }
}

function pass (request: IncomingMessage, response: ServerResponse, [port, ...others]: readonly number[]): void {
  if (port === undefined) {
    response.writeHead(502, { 'content-type': 'text/plain' }).end('No node answers\n')
    return
  }
  const upstream = ask({
    host: '127.0.0.1',
    port,
    method: request.method,
    path: request.url,
    headers: onward(request.headers, 'content-length', 'expect'),
    // A connection that was kept could be one to a node that was killed since.
    agent: false
  })
  const leave = (): void => { upstream.destroy() }
  response.once('close', leave)
  upstream.once('response', answer => {
    response.writeHead(answer.statusCode!, answer.statusMessage, onward(answer.headers))
    // Now, and not with the first event.
    response.flushHeaders()
    // An answer that breaks off breaks the response off: an end would say that it was all.
    pipeline(answer, response, () => {})
  })
  upstream.on('error', () => {
    response.off('close', leave)
    if (!response.headersSent && !response.destroyed) pass(request, response, others)
  })
  upstream.end()
}

// What is said from one hop to the next.
const HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']

function onward (headers: IncomingHttpHeaders, ...without: string[]): IncomingHttpHeaders {
  const named = headers.connection?.toLowerCase().split(/\s*,\s*/) ?? []
  const left = new Set([...HOP, ...named, ...without])
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !left.has(name)))
}
