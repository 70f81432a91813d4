import http, { type IncomingHttpHeaders } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'

export interface Outgoing {
  readonly url: URL
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
}

/** The head of a response. */
export interface ExchangeHead {
  readonly status: number
  readonly version: string
  readonly headers: IncomingHttpHeaders
}

/**
 * How a response ended. `complete`: with its end mark or length. `closed`: with the connection, as a response without
 * either does. `cut`: the connection ended before the end mark. `left`: the examination was over. `failed`: there was
 * no response.
 */
export type EndReason = 'complete' | 'closed' | 'cut' | 'left' | 'failed'

/** Receives the parts of a response. */
export interface ResponseHandlers {
  readonly connected: () => void
  readonly head: (head: ExchangeHead) => void
  readonly data: (bytes: Buffer) => void
  readonly over: (how: EndReason, error?: Error) => void
}

/** Sends a request over a new connection. Returns a function that aborts it. */
export type Send = (outgoing: Outgoing, handlers: ResponseHandlers) => () => void

export const sendHttp1: Send = ({ url, method, headers }, handlers) => {
  const isSecure = url.protocol === 'https:'
  const { Agent, request } = isSecure ? https : http
  // Without keepAlive, Node sends `Connection: close`.
  const agent = new Agent({ keepAlive: true })
  const sent = request(url, { method, headers, agent })
  sent.on('socket', socket => socket.on(isSecure ? 'secureConnect' : 'connect', handlers.connected))
  sent.on('response', response => {
    const { statusCode = 0, httpVersion, headers } = response
    handlers.head({ status: statusCode, version: httpVersion, headers })
    const framed = 'transfer-encoding' in headers || 'content-length' in headers || method === 'HEAD' ||
      [204, 304].includes(statusCode)
    response.on('data', handlers.data)
    response.on('end', () => handlers.over(framed ? 'complete' : 'closed'))
    response.on('error', error => handlers.over('cut', error))
  })
  sent.on('error', error => handlers.over('failed', error))
  sent.end()
  return () => {
    sent.destroy()
    agent.destroy()
  }
}

// HTTP/2 forbids the headers of a connection (RFC 9113 §8.2.2).
const CONNECTION_HEADERS = ['connection', 'host', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding',
  'upgrade']

export const sendHttp2: Send = ({ url, method, headers }, handlers) => {
  const session = http2.connect(url)
  session.on('connect', handlers.connected)
  // The stream's error has this one as its cause.
  session.on('error', () => {})
  const kept = Object.entries(headers).filter(([name]) => !CONNECTION_HEADERS.includes(name))
  const stream = session.request({ ...Object.fromEntries(kept), ':method': method, ':path': url.pathname + url.search },
    { endStream: true })
  let broken: EndReason = 'failed'
  let failure: Error | undefined
  stream.on('response', ({ ':status': status = 0, ...headers }) => {
    broken = 'cut'
    handlers.head({ status, version: '2', headers })
  })
  stream.on('data', handlers.data)
  stream.on('error', error => {
    failure = error.cause instanceof Error ? error.cause : error
  })
  stream.on('close',
    () =>
      handlers.over(stream.aborted || stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR ? broken : 'complete',
        failure))
  return () => {
    stream.destroy()
    session.destroy()
  }
}
