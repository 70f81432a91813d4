import { createBrotliDecompress, createUnzip, constants, type BrotliDecompress, type Gunzip } from 'node:zlib'
import { Arrivals } from './arrivals.ts'
import { sendHttp1, sendHttp2, type EndReason, type ExchangeHead, type ResponseHandlers } from './transport.ts'

/** What to ask, and how long to look at the answer. */
export interface ExchangeOptions {
  readonly url: URL
  readonly method?: string
  readonly headers: Readonly<Record<string, string>>
  /** Over HTTP/2. */
  readonly multiplexed: boolean
  readonly seconds: number
  readonly signal: AbortSignal
  /** Whether what came is enough. */
  readonly enough?: (exchange: Exchange) => boolean
}

/** A request and its answer, and when the parts of it came: milliseconds after the request. */
export interface Exchange {
  readonly url: URL
  /** Where it was sent away. */
  readonly redirects: readonly URL[]
  readonly arrivals: Arrivals
  /** When the request was sent, by the clock of this process. */
  readonly start: number
  /** When there was a connection. */
  connected?: number
  head?: ExchangeHead & { at: number }
  end: { at: number, how: EndReason, error?: Error }
}

/** Whether there is a stream to look at. */
export function isStream ({ head }: Exchange): boolean {
  return head?.status === 200 && /^text\/event-stream *(;|$)/i.test(head.headers['content-type'] ?? '')
}

const REDIRECTS = [301, 302, 303, 307, 308]
const FARTHEST = 5

/** Asks, and looks until it is over, or long enough. It does not throw: what fails is an answer, too. */
export async function exchange (asking: ExchangeOptions, redirects: readonly URL[] = []): Promise<Exchange> {
  const seen = await send(asking, redirects)
  const next = redirectTarget(seen)
  if (next === undefined || redirects.length === FARTHEST) return seen
  return exchange({ ...asking, url: next, headers: next.origin === asking.url.origin ? asking.headers : harmless(asking.headers) }, [...redirects, asking.url])
}

// A header of the user may be a secret: another origin gets only a browser's own headers and the position.
const HARMLESS = /^(accept|access-control-request-|cache-control$|last-event-id$|origin$)/

function harmless (headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => HARMLESS.test(name)))
}

function redirectTarget ({ url, head }: Exchange): URL | undefined {
  const { location } = head?.headers ?? {}
  if (location === undefined || !REDIRECTS.includes(head!.status) || !URL.canParse(location, url)) return undefined
  const place = new URL(location, url)
  return place.protocol === 'http:' || place.protocol === 'https:' ? place : undefined
}

function send ({ url, method = 'GET', headers, multiplexed, seconds, signal, enough = () => false }: ExchangeOptions, redirects: readonly URL[]): Promise<Exchange> {
  const start = performance.now()
  const now = (): number => performance.now() - start
  const arrivals = new Arrivals()
  const seen: Exchange = { url, redirects, arrivals, start, end: { at: 0, how: 'left' } }
  return new Promise(resolve => {
    let leave = (): void => {}
    let over = false
    const finish = (how: EndReason, error?: Error): void => {
      if (over) return
      over = true
      seen.end = { at: now(), how, ...error === undefined ? {} : { error } }
      clearTimeout(timer)
      signal.removeEventListener('abort', stop)
      leave()
      resolve(seen)
    }
    const stop = (): void => finish('left')
    const timer = setTimeout(stop, seconds * 1_000)
    signal.addEventListener('abort', stop)
    const read = (bytes: Buffer): void => {
      if (over) return
      try {
        arrivals.feed(bytes, now())
      } catch (error) {
        finish('cut', error as Error)
      }
      if (arrivals.full || enough(seen)) stop()
    }
    let decoder: Decoder | undefined
    const told: ResponseHandlers = {
      connected: () => { seen.connected = now() },
      head: head => {
        seen.head = { ...head, at: now() }
        decoder = decoderOf(String(head.headers['content-encoding'] ?? ''))
        // A stream that breaks off is no valid one.
        decoder?.on('data', read).on('error', () => {})
        if (redirectTarget(seen) !== undefined || enough(seen)) stop()
      },
      data: bytes => { decoder === undefined ? read(bytes) : decoder.write(bytes) },
      // What it still holds came before the end.
      over: (how, error) => {
        if (decoder === undefined || decoder.destroyed) finish(how, error)
        else decoder.once('close', () => finish(how, error)).end()
      }
    }
    if (signal.aborted) return stop()
    try {
      leave = (multiplexed && url.protocol === 'https:' ? sendHttp2 : sendHttp1)({ url, method, headers }, told)
    } catch (error) {
      // An id with a control in it makes no header.
      finish('failed', error as Error)
    }
  })
}

type Decoder = Gunzip | BrotliDecompress

/** What was compressed is read as soon as it can be: the end of it may never come. */
function decoderOf (encoding: string): Decoder | undefined {
  if (/^(x-)?gzip$|^deflate$/i.test(encoding)) return createUnzip({ flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH })
  return /^br$/i.test(encoding) ? createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH, finishFlush: constants.BROTLI_OPERATION_FLUSH }) : undefined
}
