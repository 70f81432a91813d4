import http, { type IncomingHttpHeaders } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'

export interface Outgoing { readonly url: URL, readonly method: string, readonly headers: Readonly<Record<string, string>> }

/** What an answer begins with. */
export interface ExchangeHead { readonly status: number, readonly version: string, readonly headers: IncomingHttpHeaders }

/**
 * How an answer was over. `complete`: it was said that this was all. `closed`: the connection ended, and nothing else could have told it.
 * `cut`: the connection ended, and something else should have told it. `left`: we had seen enough. `failed`: there was no answer.
 */
export type EndReason = 'complete' | 'closed' | 'cut' | 'left' | 'failed'

/** What a protocol tells as it goes. */
export interface ResponseHandlers {
  readonly connected: () => void
  readonly head: (head: ExchangeHead) => void
  readonly data: (bytes: Buffer) => void
  readonly over: (how: EndReason, error?: Error) => void
}

/** Sends a request over a connection of its own; answers with what breaks it off. */
export type Send = (outgoing: Outgoing, told: ResponseHandlers) => () => void

export const sendHttp1: Send = ({ url, method, headers }, told) => {
  const isSecure = url.protocol === 'https:'
  const { Agent, request } = isSecure ? https : http
  // Without one, Node would ask for `Connection: close`, and get it.
  const agent = new Agent({ keepAlive: true })
  const sent = request(url, { method, headers, agent })
  sent.on('socket', socket => socket.on(isSecure ? 'secureConnect' : 'connect', told.connected))
  sent.on('response', response => {
    const { statusCode = 0, httpVersion, headers } = response
    told.head({ status: statusCode, version: httpVersion, headers })
    const framed = 'transfer-encoding' in headers || 'content-length' in headers || method === 'HEAD' || [204, 304].includes(statusCode)
    response.on('data', told.data)
    response.on('end', () => told.over(framed ? 'complete' : 'closed'))
    response.on('error', error => told.over('cut', error))
  })
  sent.on('error', error => told.over('failed', error))
  sent.end()
  return () => {
    sent.destroy()
    agent.destroy()
  }
}

// What belongs to one connection has no place in HTTP/2 (RFC 9113 §8.2.2).
const OF_CONNECTIONS = ['connection', 'host', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade']

export const sendHttp2: Send = ({ url, method, headers }, told) => {
  const session = http2.connect(url)
  session.on('connect', told.connected)
  // Its stream has it as the cause of its own.
  session.on('error', () => {})
  const kept = Object.entries(headers).filter(([name]) => !OF_CONNECTIONS.includes(name))
  const stream = session.request({ ...Object.fromEntries(kept), ':method': method, ':path': url.pathname + url.search }, { endStream: true })
  let broken: EndReason = 'failed'
  let failure: Error | undefined
  stream.on('response', ({ ':status': status = 0, ...headers }) => {
    broken = 'cut'
    told.head({ status, version: '2', headers })
  })
  stream.on('data', told.data)
  stream.on('error', error => { failure = error.cause instanceof Error ? error.cause : error })
  stream.on('close', () => told.over(stream.aborted || stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR ? broken : 'complete', failure))
  return () => {
    stream.destroy()
    session.destroy()
  }
}
