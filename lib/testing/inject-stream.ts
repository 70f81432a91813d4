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
import { toHeaders, InjectTransport, type InjectApp, type InjectTransportOptions } from './inject-transport.ts'
import { Deadline } from './deadline.ts'

interface InjectRequestOptions extends InjectTransportOptions, Pick<InjectOptions, 'method' | 'payload' | 'body'> {
  url: string | URL
  /** The headers of `inject`, or a function that returns them for each attempt. */
  headers?: PerAttempt<InjectOptions['headers']>
  /** The limit of each wait in milliseconds: for the head, and for events. Default 2000. */
  timeout?: number
}

// Unlike the client, a test stream reconnects only on request, and an injected connection is never lost silently.
const DEFAULTS = { reconnect: false, inactivityTimeout: 0 }

type ClientOption = 'lastEventId' | 'reconnect' | 'retryDelay' | 'maxRetryDelay' | 'maxAttempts' | 'inactivityTimeout'
  | 'maxEventBytes' | 'onError' | 'onStateChange' | 'signal'

/** The options of `inject` and of the client. The default of `reconnect` is false for any method. */
export interface InjectStreamOptions<M extends EventMap>
  extends InjectRequestOptions, Pick<ConnectOptions<M>, ClientOption | 'events' | 'validate'> {}

/** Options without a map: every event is received, its data as text. */
export interface RawInjectStreamOptions
  extends InjectRequestOptions, Pick<RawConnectOptions, ClientOption | 'events' | 'validate'> {}

/**
 * Requests a stream of an app, without a port. Resolves when the head has arrived. Rejects with the client's
 * StreamError if the response is no stream: the error has its status, its headers and, as `data`, its body. Tests of
 * other responses use `app.inject`.
 */
export function injectStream<M extends EventMap> (
  app: InjectApp,
  options: InjectStreamOptions<M>
): Promise<InjectedStream<ClientEventOf<M>>>
export function injectStream (
  app: InjectApp,
  options: RawInjectStreamOptions | string
): Promise<InjectedStream<RawEvent>>
export function injectStream (app: InjectApp, options: AnyOptions | string): Promise<object> {
  return open(app, typeof options === 'string' ? { url: options } : options)
}

type AnyOptions = InjectStreamOptions<EventMap> | RawInjectStreamOptions

async function open (app: InjectApp, options: AnyOptions): Promise<InjectedStream<ReceivedEvent>> {
  const {
    url, events, validate, headers, payload, body: input = payload, timeout = 2_000, onStateChange, signal,
    onError, ...rest
  } = options
  const { body, type } = bodyOf(input)
  const name = `${rest.method?.toUpperCase() ?? 'GET'} ${String(url)}`
  const transport = new InjectTransport(app, rest)
  const head = new Deadline(`${name}: the head of a response`, timeout)
  const controller = new AbortController()
  let text = ''
  const consumed = new ConsumedPosition(String(url), {
    ...DEFAULTS,
    ...rest,
    ...(body === undefined ? {} : { body }),
    headers: async attempt => {
      const result = toHeaders(typeof headers === 'function' ? await headers(attempt) : headers)
      if (type !== undefined && !result.has('content-type')) result.set('content-type', type)
      return result
    },
    fetch: async (target, init) => {
      const response = await transport.fetch(target, init)
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
    transport,
    consumed,
    timeout,
    onStateChange,
    abort: () => controller.abort(),
    reopen: lastEventId => open(app, { ...options, lastEventId })
  })
  if (signal != null) onAbort(stream, signal, () => stream.close())
  try {
    const { error } = await head.for(Promise.race([transport.opened.then(() => OPEN), stream.closed]))
    if (error?.code === 'FST_SSE_STATUS') {
      throw new StreamError(error.code, `${name}: ${error.message}: ${text}`, {
        data: parsed(text),
        response: { status: error.status!, headers: error.headers! } as Response
      })
    }
    if (error !== undefined) throw error
    if (transport.head === undefined) throw head.error('before the stream was closed')
  } catch (error) {
    stream.close()
    throw error
  } finally {
    head.over()
  }
  // A closed app accepts no reconnection.
  if (rest.reconnect === true) {
    for (const { signal } of registriesOf(app)) {
      onAbort(stream, signal, () => {
        transport.read.then(() => stream.close())
      })
    }
  }
  return stream
}

const OPEN = { error: undefined }

function onAbort (stream: InjectedStream<ReceivedEvent>, signal: AbortSignal, callback: () => void): void {
  if (signal.aborted) callback()
  signal.addEventListener('abort', callback)
  stream.closed.then(() => signal.removeEventListener('abort', callback))
}

function parsed (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Converts a payload of `inject` to a body of `fetch`, and the type that it implies. */
export function bodyOf (payload: InjectOptions['payload']): { body?: NonNullable<RequestInit['body']>, type?: string } {
  if (payload === undefined) return {}
  // Bytes: `fetch` would set the type text/plain for a string, and `inject` does not.
  if (typeof payload === 'string') return { body: Buffer.from(payload) }
  if (payload instanceof Uint8Array || payload instanceof FormData || Symbol.asyncIterator in payload) {
    return { body: payload as NonNullable<RequestInit['body']> }
  }
  return { body: Buffer.from(JSON.stringify(payload)), type: 'application/json' }
}
