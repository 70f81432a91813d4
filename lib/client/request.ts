import { call, failureIn, legible, quietly, reasonOf } from './callback.ts'
import { refusalOf } from './refusal.ts'
import { StreamError } from './stream-error.ts'

/** What an attempt to connect is told of itself: 1, 2, 3 …, and where the stream stands. */
export interface Attempt { readonly attempt: number, readonly lastEventId: string }

/** A value, or what gives it for each attempt. */
export type PerAttempt<T> = T | ((attempt: Attempt) => T | Promise<T>)

/** Sends a request, as the global `fetch` does. */
export type Fetch = (url: string | URL, init: RequestInit) => Promise<Response>

/**
 * The options of `fetch`. Headers and body may be functions: a token does not get old, and a body is made anew. A
 * rejection of a function or of `fetch` with a value that cannot be read, such as a revoked proxy, is a mistake of the
 * program (FST_SSE_CALLBACK).
 */
export interface RequestOptions extends Omit<RequestInit, 'headers' | 'body' | 'cache' | 'window'> {
  /** Default `no-store`. A `fetch` that refuses the field fails the stream with FST_SSE_REQUEST: pass `undefined` there. */
  cache?: RequestInit['cache'] | undefined
  headers?: PerAttempt<RequestInit['headers'] | undefined>
  body?: PerAttempt<RequestInit['body'] | undefined>
  /** Instead of the global one. */
  fetch?: Fetch
}

// Bytes: Node's limit for all headers together; most servers take less.
const LONGEST_ID = 16_384
// Headers that `fetch` itself removes for another origin, or that hold no secret of the program.
const PLAIN = /^(accept(-language)?|(proxy-)?authorization|cache-control|content-.*|cookie|last-event-id|user-agent)$/

/**
 * Asks for a stream (WHATWG HTML §9.2.2); undefined where the server has no more. Throws a StreamError: FST_SSE_NETWORK
 * where another attempt may succeed, FST_SSE_STATUS and FST_SSE_CONTENT_TYPE for an answer that is no stream, and for
 * mistakes of the program FST_SSE_REQUEST, FST_SSE_CALLBACK, FST_SSE_RESPONSE, FST_SSE_POSITION and FST_SSE_REDIRECT.
 * When the signal aborts, it throws the error of `fetch`.
 */
export async function request (url: PerAttempt<string | URL>, options: RequestOptions, attempt: Attempt, signal: AbortSignal): Promise<Response | undefined> {
  const { fetch = globalThis.fetch, headers: given, body, ...init } = options
  const headers = headersOf(await valueOf('headers()', given, attempt), attempt.lastEventId)
  const response = await answerOf(fetch, await valueOf('url()', url, attempt), {
    // A platform without a cache may refuse the option.
    ...'cache' in Request.prototype && { cache: 'no-store' },
    ...init,
    headers,
    signal,
    body: await valueOf('body()', body, attempt) ?? null
  } as Init)
  const { status, body: stream } = response
  const type = response.headers.get('content-type')
  const isStream = status === 200 && /^text\/event-stream *(;|$)/i.test(type ?? '')
  if (isStream && typeof stream?.getReader === 'function') return response
  // An unread body would keep the connection busy.
  quietly(() => stream?.cancel())
  if (isStream) throw new StreamError('FST_SSE_RESPONSE', 'The response has no streaming body: pass a fetch with streaming bodies (React Native: expo/fetch)', { response })
  if (status === 204) return undefined
  if (status !== 200) throw new StreamError('FST_SSE_STATUS', `The server answered with status ${status}`, { response })
  throw new StreamError('FST_SSE_CONTENT_TYPE', `The server answered with type ${type}`, { response })
}

type Init = Omit<RequestInit, 'headers'> & { headers: Headers }

async function answerOf (fetch: Fetch, url: string | URL, init: Init): Promise<Response> {
  try {
    // `fetch` would send these headers to the target of any redirect.
    const follows = init.redirect === undefined && [...init.headers.keys()].some(name => !PLAIN.test(name))
    const asked: RequestInit = follows ? { ...init, redirect: 'manual' } : init
    const send = async (url: string | URL, init: RequestInit): Promise<Response> => {
      const response: Partial<Response> | null | undefined = await call('fetch', () => fetch(url, init))
      const get = call('The response of fetch', () => response?.headers?.get, 'FST_SSE_RESPONSE')
      if (typeof get === 'function') return response as Response
      throw new StreamError('FST_SSE_RESPONSE', 'fetch returned no Response')
    }
    const response = await send(url, asked)
    if (!follows || (response.type !== 'opaqueredirect' && !response.headers.has('location'))) return response
    const { follow } = await import('./redirect.ts')
    const last = await follow(send, url, asked, response)
    if (typeof last !== 'string') return last
    throw new StreamError('FST_SSE_REDIRECT', `The redirect is not followed: ${last}`, { response })
  } catch (thrown) {
    const error = legible(thrown)
    if (error instanceof StreamError || init.signal!.aborted) throw error
    // The network rejects with no such error, nor with a value that cannot be read.
    if (error instanceof ReferenceError) throw failureIn('fetch', error)
    const refusal = refusalOf(error, url, init, fetch === globalThis.fetch)
    if (refusal === undefined) throw networkError(error)
    throw new StreamError(/redirect/.test(refusal) ? 'FST_SSE_REDIRECT' : 'FST_SSE_REQUEST', `fetch refuses the request: ${refusal}`, { cause: error })
  }
}

/**
 * The error of a lost connection, or of none. In Node its cause has the reason: a port without a server, a certificate.
 */
export function networkError (thrown: unknown): StreamError {
  const error = legible(thrown)
  const [message, why, code] = reasonOf(error)
  return new StreamError('FST_SSE_NETWORK', `The connection failed: ${why || code || message}`, { cause: error })
}

// A tab is the only control character that a header can hold.
const isControl = (character: string): boolean => (character < ' ' && character !== '\t') || character === '\x7f'

function headersOf (given: RequestInit['headers'] | undefined, lastEventId: string): Headers {
  const headers = call('Option headers', () => new Headers(given), 'FST_SSE_REQUEST')
  // An EventSource sends less. A server with a lower limit answers with a status.
  if (!headers.has('accept')) headers.set('accept', 'text/event-stream, */*')
  if (lastEventId !== '') headers.set('last-event-id', positionOf(lastEventId))
  return headers
}

/**
 * A header holds the bytes of UTF-8, one per character (RFC 9110 §5.5). A changed position would lose or repeat events.
 */
function positionOf (id: string): string {
  const bytes = String.fromCharCode(...new TextEncoder().encode(id.slice(0, LONGEST_ID)))
  if (id.length > LONGEST_ID || bytes.length > LONGEST_ID || [...bytes].some(isControl)) {
    throw new StreamError('FST_SSE_POSITION', `No header can carry the last event id: it has control characters, or more than ${LONGEST_ID} bytes`)
  }
  return bytes
}

/**
 * An error that a function throws at once is a mistake, and so is a rejection by a wrong access, or with a value that
 * cannot be read; any other rejection is a failure of the network.
 */
async function valueOf<T> (name: string, value: PerAttempt<T>, attempt: Attempt): Promise<T> {
  if (typeof value !== 'function') return value
  const pending = call(name, () => (value as (attempt: Attempt) => T | Promise<T>)(attempt))
  try {
    return await pending
  } catch (thrown) {
    const error = legible(thrown)
    // A failed request for a token is a TypeError too: with a cause in Node, without one in a page, after the first
    // attempt.
    const isMistake = error instanceof ReferenceError || (error instanceof TypeError && error.cause === undefined && attempt.attempt === 1)
    throw failureIn(name, error, isMistake ? 'FST_SSE_CALLBACK' : 'FST_SSE_NETWORK')
  }
}
