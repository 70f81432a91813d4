import tls from 'node:tls'
import type { Target } from '../target.ts'
import { exchange, isStream, type ExchangeOptions, type Exchange } from './exchange.ts'

/** What to look at. */
export interface ExamineOptions {
  readonly target: Target
  readonly origin: URL | undefined
  readonly browserOrigin: string | undefined
  readonly seconds: number
  readonly signal: AbortSignal
}

/** All that was seen. */
export interface Examination {
  readonly seconds: number
  /** What TLS offers to those who ask for HTTP/2 first; undefined without TLS. */
  readonly alpn: string | undefined
  readonly base: Exchange
  /** The same, for one who takes compressed answers. */
  readonly compressed: Exchange
  /** The same, without what is between. */
  readonly origin: Exchange | undefined
  readonly head: Exchange
  /** One that comes back, with the last id where there was one. */
  readonly back: Exchange | undefined
  readonly page: Page | undefined
}

/** What a page of another origin gets. */
export interface Page { readonly origin: string, readonly answer: Exchange, readonly preflight: Exchange }

// What must be there at once is waited for a little.
const SOON = 5
// As an EventSource asks.
const STREAM = { accept: 'text/event-stream', 'cache-control': 'no-cache', 'accept-encoding': 'identity' }

/** Asks all that there is to ask, at the same time where that can be. */
export async function examine ({ target: { url, headers }, origin, browserOrigin, seconds, signal }: ExamineOptions): Promise<Examination> {
  const alpn = url.protocol === 'https:' ? await offeredBy(url, Math.min(SOON, seconds), signal) : undefined
  const common = { url, multiplexed: alpn === 'h2', seconds, signal, headers: { ...STREAM, ...headers } }
  const short = { ...common, seconds: Math.min(SOON, seconds) }
  const [base, compressed, direct, head, page] = await Promise.all([
    exchange(common),
    exchange({ ...common, headers: { ...common.headers, 'accept-encoding': 'gzip, br' } }),
    origin && exchange({ ...common, url: origin, multiplexed: false }),
    exchange({ ...short, method: 'HEAD' }),
    browserOrigin === undefined ? undefined : askAs(browserOrigin, short)
  ])
  const back = isStream(base) && !signal.aborted ? await returnTo(base, common) : undefined
  return { seconds, alpn, base, compressed, origin: direct, head, back, page }
}

/** As a client that lost its connection. Where that was cut it looks for as long, to see whether it is again. */
function returnTo (base: Exchange, asking: ExchangeOptions): Promise<Exchange> {
  const { arrivals: { lastEventId }, end } = base
  const position = lastEventId === '' ? {} : { 'last-event-id': Buffer.from(lastEventId).toString('latin1') }
  const headers = { ...asking.headers, ...position }
  if (end.how === 'cut') return exchange({ ...asking, headers, seconds: end.at / 1_000 * 1.5 + 1 })
  return exchange({ ...asking, headers, seconds: Math.min(SOON, asking.seconds), enough: ({ arrivals: { events } }) => events.length > 0 })
}

/** As `fetch` in a page, before and while it streams. */
async function askAs (origin: string, { headers, ...asking }: ExchangeOptions): Promise<Page> {
  const seen = { enough: ({ head }: Exchange) => head !== undefined }
  const [answer, preflight] = await Promise.all([
    exchange({ ...asking, ...seen, headers: { ...headers, origin } }),
    // A preflight never has credentials, and what it asks for is nothing that was given to us.
    exchange({ ...asking, ...seen, method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization,last-event-id' } })
  ])
  return { origin, answer, preflight }
}

/** The protocol that a browser would speak; undefined where it cannot be known. */
export function offeredBy ({ hostname, port }: URL, seconds: number, signal: AbortSignal): Promise<string | undefined> {
  return new Promise(resolve => {
    const host = hostname.replace(/^\[|\]$/g, '')
    const socket = tls.connect({ host, port: Number(port || 443), ALPNProtocols: ['h2', 'http/1.1'], ...isAddress(host) ? {} : { servername: host } })
    const over = (protocol?: string): void => {
      signal.removeEventListener('abort', stop)
      socket.destroy()
      resolve(protocol)
    }
    const stop = (): void => over()
    signal.addEventListener('abort', stop)
    socket.setTimeout(seconds * 1_000, stop)
    socket.on('error', stop)
    socket.on('secureConnect', () => over(socket.alpnProtocol === false || socket.alpnProtocol === null ? 'none' : socket.alpnProtocol))
  })
}

const isAddress = (host: string): boolean => /^[\d.]+$|:/.test(host)
