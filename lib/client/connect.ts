import type { EventMap } from '../contract/event-types.ts'
import { call } from './callback.ts'
import { Connection, type ConnectionOptions } from './connection.ts'
import { EventStream, type ReceivedEvent } from './event-stream.ts'
import { encodingsOf, type ClientEventOf, type Encoding, type EncodingsOf, type RawEvent } from './encoding.ts'
import { comesBack, misuseOf } from './misuse.ts'
import { onPageEvent } from './page-event.ts'
import type { Message, StreamState } from './stream-reader.ts'
import type { PerAttempt } from './request.ts'
import { StreamError } from './stream-error.ts'

/** Says what is wrong with the data of an event, if anything is. */
export type Validate = (schema: unknown, data: unknown) => string | undefined

export interface ConnectOptions<M extends EventMap> extends ConnectionOptions {
  /** The event map of the route; or, for `connect<typeof events>`, the form of each event. What it does not declare is passed over. */
  events: M | EncodingsOf<M>
  /** The `validate` of `fastify-typed-sse/client/validate`: what comes is checked, and FST_SSE_INVALID_EVENT what does not fit. Default: the server has done it. */
  validate?: Validate
  /**
   * All tabs of this origin with the same URL, or the same name where one is given, use one connection: over HTTP/1.1 a browser has six per host.
   * A tab that comes later gets what comes from then on, so `lastEventId` counts for the first. No tab waits for another: what one has not
   * taken yet is in its memory. Where there are no Web Locks (a page that came over plain http) or no BroadcastChannel, each tab has its own.
   */
  share?: boolean | string
  /** Called with each change of `stream.state`. */
  onStateChange?: (state: StreamState) => void
}

/** Without a map every event is given, its data as the text that it is. */
export interface RawConnectOptions extends Omit<ConnectOptions<EventMap>, 'events' | 'validate'> { events?: undefined, validate?: undefined }

/**
 * Connects to a stream of Server-Sent Events (WHATWG HTML §9.2) and stays connected: what is lost with a connection comes with the next.
 * Does not throw; what fails is told by the loop over the stream, `closed` and `onError`.
 */
export function connect<M extends EventMap> (url: PerAttempt<string | URL>, options: ConnectOptions<M>): EventStream<ClientEventOf<M>>
export function connect (url: PerAttempt<string | URL>, options?: RawConnectOptions): EventStream<RawEvent>
export function connect (url: PerAttempt<string | URL>, options: Omit<RawConnectOptions, 'events' | 'validate'> & { events?: object | undefined, validate?: Validate | undefined } = {}): object {
  const misuse = misuseOf(url, options)
  if (misuse !== undefined) {
    const { onStateChange: onStateChange } = Object(options) as RawConnectOptions
    return new EventStream(failing(misuse, options), () => {}, typeof onStateChange === 'function' ? onStateChange : undefined)
  }
  const { events, validate, share = false, onStateChange: onStateChange, signal, ...rest } = options
  const read = readerOf(events, validate)
  const controller = new AbortController()
  const source = share === false ? new Connection(url, rest, read, controller.signal) : together(share, url, rest, read, controller.signal)
  const stream = new EventStream(source, () => {
    signal?.removeEventListener('abort', close)
    controller.abort()
  }, onStateChange)
  const close = (): void => stream.close()
  if (signal?.aborted === true) close()
  signal?.addEventListener('abort', close)
  return stream
}

type Read = (message: Message) => ReceivedEvent | undefined
type Events = EventMap | Readonly<Record<string, Encoding>>

/** Sends no request, and fails with the error. */
async function * failing (misuse: StreamError, options: unknown): AsyncGenerator<never, void> {
  const { onError } = Object(options) as Partial<ConnectionOptions>
  if (typeof onError === 'function') await onError(misuse, { attempt: 1, delay: undefined })
  throw misuse
}

/** As they come, from whichever tab; each reads them by its own map. */
async function * together (share: true | string, url: PerAttempt<string | URL>, options: ConnectionOptions, read: Read, signal: AbortSignal): AsyncGenerator<Array<ReceivedEvent | StreamState>, void> {
  const { nameOf, shared } = await import('./shared.ts')
  const name = call('The URL', () => nameOf(share, url), 'FST_SSE_REQUEST')
  const open = (lastEventId: string, signal: AbortSignal): Connection<Message> => new Connection(url, { ...options, lastEventId }, message => message, signal)
  yield * shared(name, options.lastEventId ?? '', open, read, signal, comesBack(options) ? onPageEvent : undefined)
}

/** Makes events of messages: by the map, or as they are. */
export function readerOf (events: object | undefined, validate: Validate | undefined): Read {
  const forms = events === undefined ? undefined : encodingsOf(events as Events)
  return ({ event, data, id }) => {
    const form = forms?.get(event)
    if (event === 'error' && form === undefined) throw failureOf(data)
    if (forms === undefined) return { event, data, id }
    if (form === undefined) return undefined
    const value = form === 'text' ? data : parsed(event, data)
    const schema = (events as Events)[event]
    const fault = typeof schema === 'object' ? call('validate()', () => validate?.(schema, value)) : undefined
    if (fault !== undefined) throw new StreamError('FST_SSE_INVALID_EVENT', `Event '${event}' does not fit: ${fault}`, { data: value })
    return { event, data: value, id }
  }
}

function parsed (event: string, data: string): unknown {
  try {
    return JSON.parse(data)
  } catch (cause) {
    throw new StreamError('FST_SSE_INVALID_EVENT', `Event '${event}' is not JSON`, { data, cause })
  }
}

/** The event `error` that no map declares: the server failed, and says so (RFC 9457). */
function failureOf (data: string): StreamError {
  let problem: unknown = data
  try {
    problem = JSON.parse(data)
  } catch {}
  const { detail, title } = Object(problem) as { detail?: unknown, title?: unknown }
  const text = [detail, title].find(part => typeof part === 'string') ?? data
  return new StreamError('FST_SSE_SERVER_ERROR', `The server failed: ${text}`, { data: problem })
}
