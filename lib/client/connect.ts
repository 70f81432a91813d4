import type { EventMap } from '../contract/event-types.ts'
import { call } from './callback.ts'
import { checkOptions, reconnects } from './check-options.ts'
import { Connection, type ConnectionOptions } from './connection.ts'
import {
  decoderOf, type ClientEventOf, type Decode, type EncodingsOf, type RawEvent,
  type Validate
} from './encoding.ts'
import { EventStream, type ReceivedEvent } from './event-stream.ts'
import { onPageEvent } from './page-event.ts'
import type { PerAttempt } from './request.ts'
import type { StreamError } from './stream-error.ts'
import type { Message, StreamState } from './stream-reader.ts'

export interface ConnectOptions<M extends EventMap> extends ConnectionOptions {
  /**
   * The event map of the route; or, for `connect<typeof events>`, the encoding of each event. The client skips
   * undeclared events.
   */
  events: M | EncodingsOf<M>
  /**
   * The `validate` of `fastify-typed-sse-client/validate`, or of an entry point below it for other kinds of schemas:
   * checks each event by its schema, and fails with FST_SSE_INVALID_EVENT. Default: no check, since the server has
   * checked the event.
   */
  validate?: Validate
  /**
   * Whether all tabs of this origin with the same URL, or with the same name, use one connection: over HTTP/1.1 a
   * browser has six per host. A tab that opens later receives later events, so `lastEventId` counts for the first tab.
   * Each tab buffers its unread events. Without Web Locks (a page over plain HTTP) or BroadcastChannel, each tab has
   * its own connection.
   */
  share?: boolean | string
  /** Called with each change of `stream.state`. */
  onStateChange?: (state: StreamState) => void
}

/** Options without a map: every event is received, its data as text. */
export interface RawConnectOptions extends Omit<ConnectOptions<EventMap>, 'events' | 'validate'> {
  events?: undefined
  validate?: undefined
}

/**
 * Connects to a stream of Server-Sent Events (WHATWG HTML §9.2) and stays connected: after a lost connection the next
 * one resumes after the last event. Does not throw: the loop over the stream, `closed` and `onError` report failures.
 */
export function connect<M extends EventMap> (
  url: PerAttempt<string | URL>,
  options: ConnectOptions<M>
): EventStream<ClientEventOf<M>>
export function connect (url: PerAttempt<string | URL>, options?: RawConnectOptions): EventStream<RawEvent>
export function connect (
  url: PerAttempt<string | URL>,
  options: Omit<RawConnectOptions, 'events' | 'validate'> & {
    events?: object | undefined
    validate?: Validate | undefined
  } = {}
): object {
  const invalid = checkOptions(url, options)
  if (invalid !== undefined) {
    const { onStateChange } = Object(options) as RawConnectOptions
    return new EventStream(failing(invalid, options), () => {},
      typeof onStateChange === 'function' ? onStateChange : undefined)
  }
  const { events, validate, share = false, onStateChange, signal, ...rest } = options
  const decode = decoderOf(events, validate)
  const controller = new AbortController()
  const source = share === false
    ? new Connection(url, rest, decode, controller.signal)
    : sharedSource(share, url, rest, decode, controller.signal)
  const stream = new EventStream(source, () => {
    signal?.removeEventListener('abort', close)
    controller.abort()
  }, onStateChange)
  const close = (): void => stream.close()
  if (signal?.aborted === true) close()
  signal?.addEventListener('abort', close)
  return stream
}

/** Returns a source that sends no request and fails with the error. */
async function * failing (error: StreamError, options: unknown): AsyncGenerator<never, void> {
  const { onError } = Object(options) as Partial<ConnectionOptions>
  if (typeof onError === 'function') await onError(error, { attempt: 1, delay: undefined })
  throw error
}

/** Returns a source that shares its connection with other tabs. Each tab decodes the messages by its own map. */
async function * sharedSource (
  share: true | string,
  url: PerAttempt<string | URL>,
  options: ConnectionOptions,
  decode: Decode,
  signal: AbortSignal
): AsyncGenerator<Array<ReceivedEvent | StreamState>, void> {
  const { nameOf, shared } = await import('./shared.ts')
  const name = call('The URL', () => nameOf(share, url), 'FST_SSE_REQUEST')
  const open = (lastEventId: string, signal: AbortSignal): Connection<Message> =>
    new Connection(url, { ...options, lastEventId }, message => message, signal)
  yield * shared(name, options.lastEventId ?? '', open, decode, signal, reconnects(options) ? onPageEvent : undefined)
}
