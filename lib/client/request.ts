import { StreamError } from './stream-error.ts'

/** What an attempt to connect is told of itself: 1, 2, 3 …, and where the stream stands. */
export interface Attempt { readonly attempt: number, readonly lastEventId: string }

/** A value, or what gives it for each attempt. */
export type PerAttempt<T> = T | ((attempt: Attempt) => T | Promise<T>)

/** The options of `fetch`. Headers and body may be functions: a token does not get old, and a body is made anew. */
export interface RequestOptions extends Omit<RequestInit, 'headers' | 'body' | 'window'> {
  headers?: PerAttempt<RequestInit['headers'] | undefined>
  body?: PerAttempt<RequestInit['body'] | undefined>
  /** Instead of the global one. */
  fetch?: (url: string | URL, init: RequestInit) => Promise<Response>
}

/** Asks for a stream (WHATWG HTML §9.2.2); undefined where the answer is that there is nothing more. Throws FST_SSE_STATUS and FST_SSE_CONTENT_TYPE, and what `fetch` throws. */
export async function request (url: PerAttempt<string | URL>, options: RequestOptions, attempt: Attempt, signal: AbortSignal): Promise<Response | undefined> {
  const { fetch = globalThis.fetch, headers: given, body, ...init } = options
  const headers = new Headers(await valueOf(given, attempt))
  // More than an EventSource takes: a server that has no room tells it with a status.
  if (!headers.has('accept')) headers.set('accept', 'text/event-stream, */*')
  // A header holds bytes: those of UTF-8, one per character.
  if (attempt.lastEventId !== '') headers.set('last-event-id', String.fromCharCode(...new TextEncoder().encode(attempt.lastEventId)))
  const response = await fetch(await valueOf(url, attempt), { cache: 'no-store', ...init, headers, signal, body: await valueOf(body, attempt) ?? null })
  const { status } = response
  const type = response.headers.get('content-type')
  if (status === 200 && response.body !== null && /^text\/event-stream *(;|$)/i.test(type ?? '')) return response
  // Nobody reads it: the connection is free again.
  response.body?.cancel().catch(() => {})
  if (status === 204) return undefined
  if (status !== 200) throw new StreamError('FST_SSE_STATUS', `The server answered with status ${status}`, { response })
  throw new StreamError('FST_SSE_CONTENT_TYPE', `The server answered with type ${type}`, { response })
}

function valueOf<T> (value: PerAttempt<T>, attempt: Attempt): T | Promise<T> {
  return typeof value === 'function' ? (value as (attempt: Attempt) => T | Promise<T>)(attempt) : value
}
