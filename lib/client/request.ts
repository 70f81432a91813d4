import { call, callbackError, errorTexts, legible, quietly } from './callback.ts'
import { invalidReason } from './invalid-request.ts'
import { StreamError } from './stream-error.ts'

/** An attempt to connect: its number (1, 2, 3 …), and the position from which the stream resumes. */
export interface Attempt { readonly attempt: number, readonly lastEventId: string }

/** A value, or a function that returns it for each attempt. */
export type PerAttempt<T> = T | ((attempt: Attempt) => T | Promise<T>)

/** Sends a request, as the global `fetch` does. */
export type Fetch = (url: string | URL, init: RequestInit) => Promise<Response>

/**
 * The options of `fetch`. Headers and body may be functions: each attempt gets a fresh token and a new body. A
 * rejection of a function or of `fetch` with a value that cannot be read, such as a revoked proxy, is a mistake of the
 * program (FST_SSE_CALLBACK).
 */
export interface RequestOptions extends Omit<RequestInit, 'headers' | 'body' | 'cache' | 'window'> {
  /**
   * Default `no-store`. A `fetch` that rejects the field fails the stream with FST_SSE_REQUEST: pass `undefined` there.
   */
  cache?: 'default' | 'force-cache' | 'no-cache' | 'no-store' | 'only-if-cached' | 'reload' | undefined
  headers?: PerAttempt<RequestInit['headers'] | undefined>
  body?: PerAttempt<RequestInit['body'] | undefined>
  /** Replaces the global `fetch`. */
  fetch?: Fetch
}

// Bytes: Node's limit for all headers together; most servers accept less.
const LONGEST_ID = 16_384
// Headers that `fetch` itself removes for another origin, or that hold no secret of the program.
const PLAIN = /^(accept(-language)?|(proxy-)?authorization|cache-control|content-.*|cookie|last-event-id|user-agent)$/

/**
 * Requests a stream (WHATWG HTML §9.2.2). Returns undefined for 204: the server has no more events. Throws a
 * StreamError: FST_SSE_NETWORK if another attempt may succeed, FST_SSE_STATUS and FST_SSE_CONTENT_TYPE for a response
 * that is no stream, and for mistakes of the program FST_SSE_REQUEST, FST_SSE_CALLBACK, FST_SSE_RESPONSE,
 * FST_SSE_POSITION and FST_SSE_REDIRECT. When the signal aborts, it throws the error of `fetch`.
 */
export async function request (
  url: PerAttempt<string | URL>,
  options: RequestOptions,
  attempt: Attempt,
  signal: AbortSignal
): Promise<Response | undefined> {
  const { fetch = globalThis.fetch, headers: input, body, ...init } = options
  const headers = headersOf(await valueOf('headers()', input, attempt), attempt.lastEventId)
  const response = await fetchResponse(fetch, await valueOf('url()', url, attempt), {
    // A platform without a cache may reject the option.
    ...'cache' in Request.prototype && { cache: 'no-store' },
    ...init,
    headers,
    signal,
    body: await valueOf('body()', body, attempt) ?? null
  } as Init)
  const { status, body: stream } = response
  const type = response.headers.get('content-type')
  const isStream = status === 200 && /^(text\/event-stream|application\/(x-ndjson|jsonl)) *(;|$)/i.test(type ?? '')
  if (isStream && typeof stream?.getReader === 'function') return response
  // An unread body would keep the connection busy.
  quietly(() => stream?.cancel())
  if (isStream) {
    throw new StreamError('FST_SSE_RESPONSE',
      'The response has no body stream: pass a streaming fetch (React Native: expo/fetch)', { response })
  }
  if (status === 204) return undefined
  if (status !== 200) throw new StreamError('FST_SSE_STATUS', `The server answered with status ${status}`, { response })
  throw new StreamError('FST_SSE_CONTENT_TYPE', `The server answered with type ${type}`, { response })
}

type Init = Omit<RequestInit, 'headers'> & { headers: Headers }

async function fetchResponse (fetch: Fetch, url: string | URL, init: Init): Promise<Response> {
  try {
    // `fetch` would send these headers to the target of any redirect.
    const follows = init.redirect === undefined && [...init.headers.keys()].some(name => !PLAIN.test(name))
    const manual: RequestInit = follows ? { ...init, redirect: 'manual' } : init
    const send = async (url: string | URL, init: RequestInit): Promise<Response> => {
      const response: Partial<Response> | null | undefined = await call('fetch', () => fetch(url, init))
      const get = call('The response of fetch', () => response?.headers?.get, 'FST_SSE_RESPONSE')
      if (typeof get === 'function') return response as Response
      throw new StreamError('FST_SSE_RESPONSE', 'fetch returned no Response')
    }
    const response = await send(url, manual)
    if (!follows || (response.type !== 'opaqueredirect' && !response.headers.has('location'))) return response
    const { followRedirects } = await import('./redirect.ts')
    const last = await followRedirects(send, url, manual, response)
    if (typeof last !== 'string') return last
    throw new StreamError('FST_SSE_REDIRECT', `The redirect is not followed: ${last}`, { response })
  } catch (thrown) {
    const error = legible(thrown)
    if (error instanceof StreamError || init.signal!.aborted) throw error
    // The network does not reject with such an error, nor with a value that cannot be read.
    if (error instanceof ReferenceError) throw callbackError('fetch', error)
    const reason = invalidReason(error, url, init, fetch === globalThis.fetch)
    if (reason === undefined) throw networkError(error)
    throw new StreamError(/redirect/.test(reason) ? 'FST_SSE_REDIRECT' : 'FST_SSE_REQUEST',
      `fetch rejects the request: ${reason}`, { cause: error })
  }
}

/**
 * Returns FST_SSE_NETWORK for a failed or lost connection. In Node its cause has the reason: a port without a server, a
 * certificate.
 */
export function networkError (thrown: unknown): StreamError {
  const error = legible(thrown)
  const [message, reason, code] = errorTexts(error)
  return new StreamError('FST_SSE_NETWORK', `The connection failed: ${reason || code || message}`, { cause: error })
}

// A tab is the only control character that a header can hold.
const CONTROL = /[^\t -~\x80-\xff]/

function headersOf (input: RequestInit['headers'] | undefined, lastEventId: string): Headers {
  const headers = call('Option headers', () => new Headers(input), 'FST_SSE_REQUEST')
  // An EventSource sends shorter headers. A server with a lower limit responds with a status.
  if (!headers.has('accept')) headers.set('accept', 'text/event-stream, */*')
  if (lastEventId !== '') headers.set('last-event-id', headerOf(lastEventId))
  return headers
}

/**
 * Returns the id as the value of a header: the bytes of its UTF-8, one per character (RFC 9110 §5.5). Throws
 * FST_SSE_POSITION instead of changing the id, since a changed position would lose or repeat events.
 */
function headerOf (id: string): string {
  const bytes = String.fromCharCode(...new TextEncoder().encode(id.slice(0, LONGEST_ID)))
  if (id.length > LONGEST_ID || bytes.length > LONGEST_ID || CONTROL.test(bytes)) {
    throw new StreamError('FST_SSE_POSITION',
      `The last event id has control characters or more than ${LONGEST_ID} bytes`)
  }
  return bytes
}

/**
 * Returns the value for this attempt. An error that a function throws synchronously is a mistake, and so is a rejection
 * by a wrong access, or with a value that cannot be read. Any other rejection is a failure of the network.
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
    const isMistake = error instanceof ReferenceError ||
      (error instanceof TypeError && error.cause === undefined && attempt.attempt === 1)
    throw callbackError(name, error, isMistake ? 'FST_SSE_CALLBACK' : 'FST_SSE_NETWORK')
  }
}
