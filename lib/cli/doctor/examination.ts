import tls from 'node:tls'
import type { Target } from '../target.ts'
import { exchange, isStream, type ExchangeOptions, type Exchange } from './exchange.ts'

/** The options of an examination. */
export interface ExamineOptions {
  readonly target: Target
  readonly origin: URL | undefined
  readonly browserOrigin: string | undefined
  readonly seconds: number
  readonly signal: AbortSignal
}

/** The exchanges of an examination. */
export interface Examination {
  readonly seconds: number
  /** The protocol that TLS selects for a client that prefers HTTP/2; undefined without TLS. */
  readonly alpn: string | undefined
  readonly base: Exchange
  /** The same request, accepting compression. */
  readonly compressed: Exchange
  /** The same request to the origin, without proxies. */
  readonly origin: Exchange | undefined
  readonly head: Exchange
  /** A reconnection, with the last id if there was one. */
  readonly back: Exchange | undefined
  readonly page: Page | undefined
}

/** The responses for a page of another origin. */
export interface Page { readonly origin: string, readonly answer: Exchange, readonly preflight: Exchange }

// The limit of a wait for a response that is due at once. Seconds.
const SOON = 5
// The headers of an EventSource.
const STREAM = { accept: 'text/event-stream', 'cache-control': 'no-cache', 'accept-encoding': 'identity' }

/** Sends all requests of an examination, concurrently where possible. */
export async function examine (
  { target: { url, headers }, origin, browserOrigin, seconds, signal }: ExamineOptions
): Promise<Examination> {
  const alpn = url.protocol === 'https:' ? await offeredBy(url, Math.min(SOON, seconds), signal) : undefined
  const common = { url, multiplexed: alpn === 'h2', seconds, signal, headers: { ...STREAM, ...headers } }
  const short = { ...common, seconds: Math.min(SOON, seconds) }
  const [base, compressed, direct, head, page] = await Promise.all([
    exchange(common),
    exchange({ ...common, headers: { ...common.headers, 'accept-encoding': 'gzip, br' } }),
    origin && exchange({ ...common, url: origin, multiplexed: false }),
    exchange({ ...short, method: 'HEAD' }),
    browserOrigin === undefined ? undefined : requestAs(browserOrigin, short)
  ])
  const back = isStream(base) && !signal.aborted ? await reconnectAfter(base, common) : undefined
  return { seconds, alpn, base, compressed, origin: direct, head, back, page }
}

/**
 * Reconnects as a client that lost its connection. After a cut, it waits as long again, to see whether the next one is
 * cut too.
 */
function reconnectAfter (base: Exchange, options: ExchangeOptions): Promise<Exchange> {
  const { arrivals: { lastEventId }, end } = base
  const position = lastEventId === '' ? {} : { 'last-event-id': Buffer.from(lastEventId).toString('latin1') }
  const headers = { ...options.headers, ...position }
  if (end.how === 'cut') return exchange({ ...options, headers, seconds: end.at / 1_000 * 1.5 + 1 })
  return exchange({
    ...options,
    headers,
    seconds: Math.min(SOON, options.seconds),
    enough: ({ arrivals: { events } }) => events.length > 0
  })
}

/** Sends the preflight and the request of `fetch` in a page. */
async function requestAs (origin: string, { headers, ...options }: ExchangeOptions): Promise<Page> {
  const untilHead = { enough: ({ head }: Exchange) => head !== undefined }
  const [answer, preflight] = await Promise.all([
    exchange({ ...options, ...untilHead, headers: { ...headers, origin } }),
    // A preflight has no credentials, and none of the user's headers.
    exchange({
      ...options,
      ...untilHead,
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'GET',
        'access-control-request-headers': 'authorization,last-event-id'
      }
    })
  ])
  return { origin, answer, preflight }
}

/** Returns the protocol that a browser would use; undefined if it is unknown. */
export function offeredBy ({ hostname, port }: URL, seconds: number, signal: AbortSignal): Promise<string | undefined> {
  return new Promise(resolve => {
    const host = hostname.replace(/^\[|\]$/g, '')
    const socket = tls.connect({
      host,
      port: Number(port || 443),
      ALPNProtocols: ['h2', 'http/1.1'],
      ...isAddress(host) ? {} : { servername: host }
    })
    const finish = (protocol?: string): void => {
      signal.removeEventListener('abort', stop)
      socket.destroy()
      resolve(protocol)
    }
    const stop = (): void => finish()
    signal.addEventListener('abort', stop)
    socket.setTimeout(seconds * 1_000, stop)
    socket.on('error', stop)
    socket.on('secureConnect',
      () => finish(socket.alpnProtocol === false || socket.alpnProtocol === null ? 'none' : socket.alpnProtocol))
  })
}

const isAddress = (host: string): boolean => /^[\d.]+$|:/.test(host)
