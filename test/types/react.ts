import { Type } from '@sinclair/typebox'
import type { ClientEventOf, RawEvent, StreamError, StreamState } from '../../lib/client.ts'
import { useStream, type StreamSnapshot, type StreamUrl } from '../../lib/client/react.ts'
import { validate } from '../../lib/client/validate.ts'
import { assertType, type Equal } from './equal.ts'

// The hook for React. Compiled, never run.

const events = { count: Type.Object({ n: Type.Integer() }), note: Type.String() }
type Events = typeof events

// Without `reduce` the state is the last event.

const last = useStream('/', { events })
assertType<Equal<typeof last, StreamSnapshot<ClientEventOf<Events> | undefined>>>()
assertType<Equal<typeof last.status, StreamState>>()
assertType<Equal<typeof last.error, StreamError | undefined>>()
const { state } = last
if (state?.event === 'count') assertType<Equal<typeof state.data, { n: number }>>()
const raw = useStream('/')
assertType<Equal<typeof raw, StreamSnapshot<RawEvent | undefined>>>()
// @ts-expect-error a snapshot is read-only
raw.state = undefined

// With `reduce` the state has the type of the initial state.

const sum = useStream('/', {
  events,
  validate,
  reduce: (sum, event) => event.event === 'count' ? sum + event.data.n : sum,
  initialState: 0
})
assertType<Equal<typeof sum, StreamSnapshot<number>>>()
const notes = useStream('/', { events, reduce: (notes: string[], { event }) => [...notes, event], initialState: [] })
assertType<Equal<typeof notes, StreamSnapshot<string[]>>>()
const texts = useStream('/', { reduce: (text, { data }) => text + data, initialState: '' })
assertType<Equal<typeof texts, StreamSnapshot<string>>>()

// The type of a map with encodings.

const formed = useStream<Events>('/', { events: { count: 'json', note: 'text' } })
assertType<Equal<typeof formed, typeof last>>()
const counted = useStream<Events, number>('/', {
  events: { count: 'json', note: 'text' },
  reduce: (sum, event) => event.event === 'note' ? sum + event.data.length : sum,
  initialState: 0
})
assertType<Equal<typeof counted, StreamSnapshot<number>>>()
// @ts-expect-error an object has the encoding json
useStream<Events>('/', { events: { count: 'text', note: 'text' } })

export { sum, notes, texts, formed, counted }

// Options.

const url: StreamUrl = ({ lastEventId }) => `/?after=${lastEventId}`
useStream(url, { events, key: 5, share: 'orders', headers: () => ({ authorization: 'x' }), onError: () => true })
useStream(null, { events, key: 'a' })
useStream(undefined)
// @ts-expect-error the URL is required
useStream()
// @ts-expect-error a key is text or a number
useStream('/', { key: {} })
// @ts-expect-error the initial state is missing
useStream('/', { events, reduce: (state: number) => state })
// @ts-expect-error an initial state without reduce
useStream('/', { events, initialState: 0 })
// @ts-expect-error the result is no state
useStream('/', { events, reduce: (state: number) => String(state), initialState: 0 })
// @ts-expect-error an event that the map does not declare
useStream('/', { events, reduce: (state: number, event) => event.event === 'cuont' ? 1 : state, initialState: 0 })
// @ts-expect-error there is no schema to validate by
useStream('/', { validate })
