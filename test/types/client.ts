import { Type } from '@sinclair/typebox'
import {
  connect, StreamError, type Attempt, type ClientEventOf, type CloseResult, type ConnectOptions,
  type EventStream, type EncodingsOf, type RawEvent, type StreamErrorCode, type StreamState
} from '../../lib/client.ts'
import { validate } from '../../lib/client/validate.ts'
import type { SystemEventReceived } from '../../lib/index.ts'
import { assertType, type Equal } from './equal.ts'

// The client. Compiled, never run.

const events = {
  message: Type.String(),
  count: Type.Object({ n: Type.Integer(), note: Type.Optional(Type.String()) }),
  state: Type.Union([Type.Literal('on'), Type.Literal('off')]),
  maybe: Type.Union([Type.String(), Type.Null()])
}
type Events = typeof events

const accept = (..._values: unknown[]): void => {}

// The events are a union, discriminated by the name.

const stream = connect('/orders', { events })
assertType<Equal<typeof stream, EventStream<ClientEventOf<Events>>>>()
for await (const event of stream) {
  assertType<Equal<typeof event.id, string>>()
  assertType<Equal<typeof event.event, 'message' | 'count' | 'state' | 'maybe' | 'sse.reset' | 'sse.gap'>>()
  if (event.event === 'message') assertType<Equal<typeof event.data, string>>()
  if (event.event === 'count') assertType<Equal<typeof event.data, { n: number, note?: string }>>()
  if (event.event === 'state') assertType<Equal<typeof event.data, 'on' | 'off'>>()
  if (event.event === 'maybe') assertType<Equal<typeof event.data, string | null>>()
  if (event.event === 'sse.reset') {
    assertType<
      Equal<typeof event.data,
        { reason: 'malformed' | 'unknown' | 'evicted' | 'ahead', oldest: number, newest: number, channel?: string }>
    >()
  }
  if (event.event === 'sse.gap') assertType<Equal<typeof event.data, { dropped: number, channel?: string }>>()
  // @ts-expect-error an event that the map does not declare
  if (event.event === 'cuont') break
  // @ts-expect-error data of another event
  if (event.event === 'message') accept(event.data.n)
  // @ts-expect-error received events are read-only
  event.id = ''
}
type Failure = Extract<SystemEventReceived, { event: 'error' }>
assertType<Equal<Extract<ClientEventOf<Events>, { event: 'error' }>, never>>()
assertType<Equal<Extract<ClientEventOf<Events>, Failure>, never>>()

// A listener gets the events of its name.

const off = stream.on('count', event => {
  assertType<
    Equal<typeof event, { readonly event: 'count', readonly data: { n: number, note?: string }, readonly id: string }>
  >()
})
assertType<Equal<typeof off, () => void>>()
off()
stream.on('message', ({ data }) => assertType<Equal<typeof data, string>>())
stream.on('sse.gap', ({ data }) => assertType<Equal<typeof data.dropped, number>>())
// @ts-expect-error a name that the map does not have
stream.on('cuont', () => {})
// @ts-expect-error data of another event
stream.on('count', ({ data }) => data.length)
// @ts-expect-error without a map for it, the error event of the server is no event
stream.on('error', () => {})
// @ts-expect-error no listener
stream.on('count')

// An error that the map declares is an event.

for await (const event of connect('/', { events: { error: Type.Object({ why: Type.String() }) } })) {
  if (event.event === 'error') assertType<Equal<typeof event.data, { why: string }>>()
}

// The properties of a stream.

assertType<Equal<typeof stream.state, StreamState>>()
assertType<Equal<StreamState, 'connecting' | 'replaying' | 'live' | 'closed'>>()
assertType<Equal<typeof stream.closed, Promise<CloseResult>>>()
const closed = await stream.closed
if (closed.reason === 'error') assertType<Equal<typeof closed.error, StreamError>>()
else assertType<Equal<typeof closed.reason, 'complete' | 'closed'>>()
assertType<Equal<StreamError['code'], StreamErrorCode>>()
// @ts-expect-error the position is read-only
stream.state = 'live'

// Without a map every event is text.

const raw = connect(new URL('http://there/'))
assertType<Equal<typeof raw, EventStream<RawEvent>>>()
for await (const event of raw) {
  assertType<Equal<typeof event, RawEvent>>()
  accept(event.event.length, event.data.length, event.id.length)
}
raw.on('anything', ({ data }) => assertType<Equal<typeof data, string>>())
connect('/', { lastEventId: '5' })
// @ts-expect-error there is no schema to validate by
connect('/', { validate })

// Encodings replace a map if only its type is imported.

const forms = { message: 'text', count: 'json', state: 'text', maybe: 'json' } as const
assertType<
  Equal<EncodingsOf<Events>,
    { readonly message: 'text', readonly count: 'json', readonly state: 'text', readonly maybe: 'json' }>
>()
const formed = connect<Events>('/', { events: forms })
assertType<Equal<typeof formed, typeof stream>>()
formed.close()
connect<Events>('/', { events: { message: 'text', count: 'json', state: 'text', maybe: 'json' } })
// @ts-expect-error a text event has the encoding text
connect<Events>('/', { events: { ...forms, message: 'json' } })
// @ts-expect-error an object has the encoding json
connect<Events>('/', { events: { ...forms, count: 'text' } })
// @ts-expect-error null is no text
connect<Events>('/', { events: { ...forms, maybe: 'text' } })
// @ts-expect-error an event is missing
connect<Events>('/', { events: { message: 'text', count: 'json', state: 'text' } })
// @ts-expect-error an event too many
connect<Events>('/', { events: { ...forms, other: 'json' } })
// @ts-expect-error an unknown encoding
connect<Events>('/', { events: { ...forms, count: 'xml' } })
// @ts-expect-error the events of another map
connect<Events>('/', { events: { message: Type.String() } })

// Options.

const options: ConnectOptions<Events> = {
  events,
  validate,
  share: 'orders',
  onStateChange: state => { assertType<Equal<typeof state, StreamState>>() },
  onError: async (error, next) => {
    assertType<Equal<typeof error, StreamError>>()
    assertType<Equal<typeof next, { attempt: number, delay: number | undefined }>>()
    assertType<Equal<typeof error.headers, Headers | undefined>>()
    return error.status === 401
  },
  method: 'POST',
  headers: async attempt => {
    assertType<Equal<typeof attempt, Attempt>>()
    return { authorization: `Bearer ${attempt.attempt}` }
  },
  body: ({ lastEventId }) => JSON.stringify({ after: lastEventId }),
  fetch: (url, init) => fetch(url, init),
  signal: AbortSignal.timeout(5_000),
  credentials: 'include',
  lastEventId: '5',
  reconnect: true,
  retryDelay: 1,
  maxRetryDelay: 1,
  maxAttempts: 1,
  inactivityTimeout: 0,
  maxEventBytes: 1
}
connect(async ({ lastEventId }) => `/orders?after=${lastEventId}`, options)
connect('/', { fetch })
connect('/', { headers: [['a', 'b']], onError: () => {} })
connect('/', { headers: new Headers(), onError: () => false })
// @ts-expect-error the URL is required
connect()
// @ts-expect-error an unknown option
connect('/', { retries: 5 })
// @ts-expect-error a time is a number
connect('/', { retryDelay: '5s' })
// @ts-expect-error a result is true, false or undefined
connect('/', { onError: () => 'again' })
// @ts-expect-error a header is text
connect('/', { headers: () => ({ a: 5 }) })
// @ts-expect-error a name without a schema
connect('/', { events: { a: 5 } })
