import { createBrotliDecompress, createUnzip, constants, type BrotliDecompress, type Gunzip } from 'node:zlib'
import { Arrivals } from './arrivals.ts'
import { sendHttp1, sendHttp2, type EndReason, type ExchangeHead, type ResponseHandlers } from './transport.ts'

/** The request of an exchange, and how long to read its response. */
export interface ExchangeOptions {
  readonly url: URL
  readonly method?: string
  readonly headers: Readonly<Record<string, string>>
  /** Over HTTP/2. */
  readonly multiplexed: boolean
  readonly seconds: number
  readonly signal: AbortSignal
  /** Returns whether the exchange may end. */
  readonly enough?: (exchange: Exchange) => boolean
}

/** A request and its response, with times in milliseconds after the request. */
export interface Exchange {
  readonly url: URL
  /** The URLs that redirected. */
  readonly redirects: readonly URL[]
  readonly arrivals: Arrivals
  /** The time of the request, by the clock of this process. */
  readonly start: number
  /** The time of the connection. */
  connected?: number
  head?: ExchangeHead & { at: number }
  end: { at: number, how: EndReason, error?: Error }
}

/** Returns whether the response is a stream. */
export function isStream ({ head }: Exchange): boolean {
  return head?.status === 200 && /^text\/event-stream *(;|$)/i.test(head.headers['content-type'] ?? '')
}

const REDIRECTS = [301, 302, 303, 307, 308]
const MAX_REDIRECTS = 5

/**
 * Sends the request and reads until the response ends, or the options end the exchange. Does not throw: a failure is a
 * result.
 */
export async function exchange (options: ExchangeOptions, redirects: readonly URL[] = []): Promise<Exchange> {
  const result = await send(options, redirects)
  const next = redirectTarget(result)
  if (next === undefined || redirects.length === MAX_REDIRECTS) return result
  return exchange({
    ...options,
    url: next,
    headers: next.origin === options.url.origin ? options.headers : safeHeaders(options.headers)
  }, [...redirects,
    options.url])
}

// A header of the user may be a secret: another origin gets only a browser's own headers and the position.
const SAFE = /^(accept|access-control-request-|cache-control$|last-event-id$|origin$)/

function safeHeaders (headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => SAFE.test(name)))
}

function redirectTarget ({ url, head }: Exchange): URL | undefined {
  const { location } = head?.headers ?? {}
  if (location === undefined || !REDIRECTS.includes(head!.status) || !URL.canParse(location, url)) return undefined
  const target = new URL(location, url)
  return target.protocol === 'http:' || target.protocol === 'https:' ? target : undefined
}

function send (
  { url, method = 'GET', headers, multiplexed, seconds, signal, enough = () => false }: ExchangeOptions,
  redirects: readonly URL[]
): Promise<Exchange> {
  const start = performance.now()
  const now = (): number => performance.now() - start
  const arrivals = new Arrivals()
  const result: Exchange = { url, redirects, arrivals, start, end: { at: 0, how: 'left' } }
  return new Promise(resolve => {
    let abort = (): void => {}
    let isOver = false
    const finish = (how: EndReason, error?: Error): void => {
      if (isOver) return
      isOver = true
      result.end = { at: now(), how, ...error === undefined ? {} : { error } }
      clearTimeout(timer)
      signal.removeEventListener('abort', stop)
      abort()
      resolve(result)
    }
    const stop = (): void => finish('left')
    const timer = setTimeout(stop, seconds * 1_000)
    signal.addEventListener('abort', stop)
    const read = (bytes: Buffer): void => {
      if (isOver) return
      try {
        arrivals.feed(bytes, now())
      } catch (error) {
        finish('cut', error as Error)
      }
      if (arrivals.full || enough(result)) stop()
    }
    let decoder: Decoder | undefined
    const handlers: ResponseHandlers = {
      connected: () => { result.connected = now() },
      head: head => {
        result.head = { ...head, at: now() }
        decoder = decoderOf(String(head.headers['content-encoding'] ?? ''))
        // The compressed data of a broken stream is invalid.
        decoder?.on('data', read).on('error', () => {})
        if (redirectTarget(result) !== undefined || enough(result)) stop()
      },
      data: bytes => { decoder === undefined ? read(bytes) : decoder.write(bytes) },
      // The decoder's last bytes arrived before the end.
      over: (how, error) => {
        if (decoder === undefined || decoder.destroyed) finish(how, error)
        else decoder.once('close', () => finish(how, error)).end()
      }
    }
    if (signal.aborted) return stop()
    try {
      abort = (multiplexed && url.protocol === 'https:' ? sendHttp2 : sendHttp1)({ url, method, headers }, handlers)
    } catch (error) {
      // No header can carry an id with a control character.
      finish('failed', error as Error)
    }
  })
}

type Decoder = Gunzip | BrotliDecompress

/** Returns a decoder that flushes at once, since the compressed data may never end. */
function decoderOf (encoding: string): Decoder | undefined {
  if (/^(x-)?gzip$|^deflate$/i.test(encoding)) {
    return createUnzip({ flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH })
  }
  return /^br$/i.test(encoding)
    ? createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH, finishFlush: constants.BROTLI_OPERATION_FLUSH })
    : undefined
}
