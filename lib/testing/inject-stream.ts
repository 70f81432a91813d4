import type { InjectOptions } from 'fastify'
import type { ConnectOptions, RawConnectOptions } from '../client/connect.ts'
import type { ReceivedEvent } from '../client/event-stream.ts'
import { decoderOf, type ClientEventOf, type RawEvent } from '../client/encoding.ts'
import type { PerAttempt } from '../client/request.ts'
import { StreamError } from '../client/stream-error.ts'
import type { EventMap } from '../contract/event-types.ts'
import { registriesOf } from '../server/app-registry.ts'
import { ConsumedPosition } from './consumed-position.ts'
import { InjectedStream } from './injected-stream.ts'
import { headersOf, InjectTransport, type InjectApp, type InjectTransportOptions } from './inject-transport.ts'
import { Deadline } from './deadline.ts'

interface RequestOptions extends InjectTransportOptions, Pick<InjectOptions, 'method' | 'payload' | 'body'> {
  url: string | URL
  /** As `inject` takes them; or what gives them for each attempt. */
  headers?: PerAttempt<InjectOptions['headers']>
  /** Milliseconds that each wait may take, that for the head and those of the stream. Default 2000. */
  timeout?: number
}

// What does not hold here: a response that ends is not asked for again unless the test says so, and no connection is dead without an end.
const DEFAULTS = { reconnect: false, inactivityTimeout: 0 }

type ClientOption = 'lastEventId' | 'reconnect' | 'retryDelay' | 'maxRetryDelay' | 'maxAttempts' | 'inactivityTimeout' | 'maxEventBytes' | 'onError' | 'onStateChange' | 'signal'

/** `inject`'s options, and the client's; but `reconnect` is false unless it is set, for any method. */
export interface InjectStreamOptions<M extends EventMap> extends RequestOptions, Pick<ConnectOptions<M>, ClientOption | 'events' | 'validate'> {}

/** Without a map every event is given, its data as the text that it is. */
export interface RawInjectStreamOptions extends RequestOptions, Pick<RawConnectOptions, ClientOption | 'events' | 'validate'> {}

/**
 * Asks an app for a stream, without a port. Resolves when the head is there. An answer that is no stream rejects with the client's
 * StreamError, which has its status, its headers and, as `data`, its body: a test that asks for a stream wants one, and for another answer
 * there is `app.inject`.
 */
export function injectStream<M extends EventMap> (app: InjectApp, options: InjectStreamOptions<M>): Promise<InjectedStream<ClientEventOf<M>>>
export function injectStream (app: InjectApp, options: RawInjectStreamOptions | string): Promise<InjectedStream<RawEvent>>
export function injectStream (app: InjectApp, options: AnyOptions | string): Promise<object> {
  return open(app, typeof options === 'string' ? { url: options } : options)
}

type AnyOptions = InjectStreamOptions<EventMap> | RawInjectStreamOptions

async function open (app: InjectApp, options: AnyOptions): Promise<InjectedStream<ReceivedEvent>> {
  const { url, events, validate, headers, payload, body: sent = payload, timeout = 2_000, onStateChange: onStateChange, signal, onError, ...rest } = options
  const { body, type } = bodyOf(sent)
  const name = `${rest.method?.toUpperCase() ?? 'GET'} ${String(url)}`
  const line = new InjectTransport(app, rest)
  const head = new Deadline(`${name}: the head of a response`, timeout)
  const controller = new AbortController()
  let text = ''
  const handover = new ConsumedPosition(String(url), {
    ...DEFAULTS,
    ...rest,
    ...(body === undefined ? {} : { body }),
    headers: async attempt => {
      const made = headersOf(typeof headers === 'function' ? await headers(attempt) : headers)
      if (type !== undefined && !made.has('content-type')) made.set('content-type', type)
      return made
    },
    fetch: async (target, init) => {
      const response = await line.fetch(target, init)
      if (response.ok) return response
      text = await response.text()
      return new Response(text || null, response)
    },
    onError: (error, next) => {
      head.note(error.message)
      return onError?.(error, next)
    }
  }, decoderOf(events, validate), controller.signal)
  const stream = new InjectedStream({
    name,
    transport: line,
    consumed: handover,
    timeout,
    onStateChange,
    leave: () => controller.abort(),
    again: lastEventId => open(app, { ...options, lastEventId })
  })
  if (signal != null) leaveWith(stream, signal, () => stream.close())
  try {
    const { error } = await head.for(Promise.race([line.opened.then(() => OPEN), stream.closed]))
    if (error?.code === 'FST_SSE_STATUS') throw new StreamError(error.code, `${name}: ${error.message}: ${text}`, { data: parsed(text), response: { status: error.status!, headers: error.headers! } as Response })
    if (error !== undefined) throw error
    if (line.head === undefined) throw head.error('before the stream was closed')
  } catch (error) {
    stream.close()
    throw error
  } finally {
    head.over()
  }
  // When the app is closed, nobody is there to come back to.
  if (rest.reconnect === true) {
    for (const { signal } of registriesOf(app)) leaveWith(stream, signal, () => { line.read.then(() => stream.close()) })
  }
  return stream
}

const OPEN = { error: undefined }

function leaveWith (stream: InjectedStream<ReceivedEvent>, signal: AbortSignal, leave: () => void): void {
  if (signal.aborted) leave()
  signal.addEventListener('abort', leave)
  stream.closed.then(() => signal.removeEventListener('abort', leave))
}

function parsed (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** What a request sends, as `fetch` takes it, and its type where the payload says nothing of it. */
export function bodyOf (payload: InjectOptions['payload']): { body?: NonNullable<RequestInit['body']>, type?: string } {
  if (payload === undefined) return {}
  // Bytes: `fetch` would call a string text/plain, which `inject` does not.
  if (typeof payload === 'string') return { body: Buffer.from(payload) }
  if (payload instanceof Uint8Array || payload instanceof FormData || Symbol.asyncIterator in payload) return { body: payload as NonNullable<RequestInit['body']> }
  return { body: Buffer.from(JSON.stringify(payload)), type: 'application/json' }
}
