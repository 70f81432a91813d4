import { Type } from '@sinclair/typebox'
import {
  asData, EventQueue, type AnyEvent, type ControlEvent, type EventMap, type EventOf, type SourceContext,
  type SseSource
} from '../../lib/index.ts'
import { assertType, type Equal } from './equal.ts'

// The events of a map. Compiled, never run: each line under an @ts-expect-error must be an error.

export const events = {
  message: Type.String(),
  count: Type.Object({ n: Type.Integer(), note: Type.Optional(Type.String()) }),
  state: Type.Union([Type.Literal('on'), Type.Literal('off')])
}
type Event = EventOf<typeof events>

const accept = <E>(..._events: E[]): void => {}

// Every declared event, with its own data and no other.
accept<Event>(
  { event: 'count', data: { n: 1 } },
  { event: 'count', data: { n: 1, note: 'one' }, id: 7, retry: 100 },
  { event: 'count', data: { n: 1 }, id: 'a' },
  { event: 'state', data: 'on' }
)
// @ts-expect-error data of the wrong type
accept<Event>({ event: 'count', data: { n: 'one' } })
// @ts-expect-error a property is missing
accept<Event>({ event: 'count', data: {} })
// @ts-expect-error an additional property
accept<Event>({ event: 'count', data: { n: 1, m: 2 } })
// @ts-expect-error data of another event
accept<Event>({ event: 'count', data: 'on' })
// @ts-expect-error a value that the union does not have
accept<Event>({ event: 'state', data: 'maybe' })
// @ts-expect-error a name that the map does not have
accept<Event>({ event: 'cuont', data: { n: 1 } })
// @ts-expect-error a name without data
accept<Event>({ event: 'count' })
// @ts-expect-error undefined is no data
accept<Event>({ event: 'count', data: undefined })
// @ts-expect-error data without the name that it needs
accept<Event>({ data: { n: 1 } })
// @ts-expect-error neither a name nor data
accept<Event>({})
// @ts-expect-error no event at all
accept<Event>('text')
// @ts-expect-error an id is text or a number
accept<Event>({ event: 'state', data: 'on', id: true })
// @ts-expect-error a delay is a number
accept<Event>({ event: 'state', data: 'on', retry: '5' })

// The event `message` may omit its name.
accept<Event>({ data: 'hello' }, { event: 'message', data: 'hello' }, { event: undefined, data: 'hello' })
// @ts-expect-error its data is checked without the name, too
accept<Event>({ data: 5 })
// @ts-expect-error if the map declares no message, an event needs its name
accept<EventOf<Pick<typeof events, 'state'>>>({ data: 'on' })

// Control events are allowed with every map.
accept<Event>({ comment: 'still here' }, { retry: 500 }, { id: 'position' }, { id: 0, retry: 5 })
accept<ControlEvent>({ comment: 'still here' }, { retry: 500 }, { id: 'position' })
// @ts-expect-error a comment is text
accept<Event>({ comment: 5 })
// @ts-expect-error a comment has no other fields
accept<Event>({ comment: 'about', event: 'state', data: 'on' })

// A chunk of a foreign stream has an id and is no position, also in a variable of its own type.
interface Named {
  id: string
  created: number
}
class Answer {
  id = 'a'
}
export function foreign (
  chunk: { id: string, object: string, choices: [] },
  part: { type: 'text-delta', id: string, delta: string },
  named: Named,
  answer: Answer,
  content: { id: string, content: string },
  date: { id: string, date?: string },
  position: { id: string },
  delay: { retry: number }
): void {
  accept<AnyEvent>(position, delay)
  accept<Event>(position, delay)
  // @ts-expect-error it has other keys
  accept<ControlEvent>(chunk)
  // @ts-expect-error with any event
  accept<AnyEvent>(chunk)
  // @ts-expect-error with the events of a map
  accept<Event>(chunk)
  // @ts-expect-error also if all events are texts
  accept<AnyEvent>(part)
  // @ts-expect-error in an interface
  accept<AnyEvent>(named)
  // @ts-expect-error in a class
  accept<AnyEvent>(answer)
  // @ts-expect-error with the first letters of a field
  accept<AnyEvent>(content)
  // @ts-expect-error which may be absent
  accept<AnyEvent>(date)
}
// @ts-expect-error a misspelt field
accept<AnyEvent>({ evnt: 'x', id: 1 })
// @ts-expect-error an additional key, beside data
accept<AnyEvent>({ data: 1, evnt: 'x' })
// @ts-expect-error an additional key, beside data of a map
accept<Event>({ event: 'state', data: 'on', evnt: 'x' })

// Without a map, any event is allowed.
accept<AnyEvent>({ data: { any: 'thing' } }, { event: 'any', data: null, id: 1, retry: 2 }, { comment: 'c' })
// @ts-expect-error a name without data
accept<AnyEvent>({ event: 'any' })
// @ts-expect-error a name is text
accept<AnyEvent>({ event: 5, data: 1 })
// @ts-expect-error no event at all
accept<AnyEvent>('text')

// The data of one event, extracted from the union.
assertType<Equal<Extract<Event, { event: 'count' }>['data'], { n: number, note?: string }>>()
assertType<Equal<Extract<Event, { event: 'state' }>['data'], 'on' | 'off'>>()

// Generators.
export async function * counting (upTo: number): AsyncGenerator<Event> {
  for (let n = 1; n <= upTo; n++) yield { event: 'count', data: { n } }
  yield { data: 'done' }
  // @ts-expect-error in a typed generator, the error is at the yield
  yield { event: 'count', data: { n: 'one' } }
  // @ts-expect-error and so is a wrong name
  yield { event: 'cuont', data: { n: 1 } }
}

export function * countingAtOnce (): Generator<Event> {
  yield { event: 'count', data: { n: 1 } }
  // @ts-expect-error in a sync generator, too
  yield { event: 'state', data: 1 }
}

// A queue accepts the events of its map.
export function produce (): void {
  const queue = new EventQueue<typeof events>({ capacity: 1 })
  assertType<Equal<ReturnType<typeof queue.push>, Promise<boolean>>>()
  queue.push({ event: 'count', data: { n: 1 } })
  queue.push({ comment: 'still here' })
  // @ts-expect-error data of the wrong type
  queue.push({ event: 'count', data: { n: 'one' } })
  // @ts-expect-error a name that the map does not have
  queue.push({ event: 'cuont', data: { n: 1 } })
  // @ts-expect-error an unknown option
  const wrong = new EventQueue<typeof events>({ size: 1 })
  wrong.end()

  const free = new EventQueue()
  free.push({ event: 'any', data: 1 })
  // @ts-expect-error no event at all
  free.push('text')
}

// Sources.
const source = (given: SseSource<Event>): void => {
  assertType<Equal<typeof given, SseSource<Event>>>()
}
export function sources (
  queue: EventQueue<typeof events>,
  other: EventQueue<{ other: typeof events.count }>,
  web: ReadableStream<Event>
): void {
  source(counting(3))
  source(countingAtOnce())
  source([{ event: 'count', data: { n: 1 } }])
  source(new Set<Event>())
  source(queue)
  source(web)
  source(() => counting(3))
  source(async () => counting(3))
  source(({ signal, lastEventId }) => {
    assertType<Equal<typeof signal, AbortSignal>>()
    assertType<Equal<typeof lastEventId, string | undefined>>()
    return counting(Number(lastEventId ?? 0))
  })
  source(async function * ({ signal }: SourceContext): AsyncGenerator<Event> {
    while (!signal.aborted) yield { event: 'count', data: { n: 1 } }
  })
  // @ts-expect-error an event of the wrong type
  source([{ event: 'count', data: { n: 'one' } }])
  // @ts-expect-error a queue of another map
  source(other)
  // @ts-expect-error a function of a wrong source
  source(() => [{ event: 'cuont', data: { n: 1 } }])
  // @ts-expect-error a promise is no source, a function that returns one is
  source(Promise.resolve(counting(3)))
  // @ts-expect-error one event is no source
  source({ event: 'count', data: { n: 1 } })
  // @ts-expect-error text is iterable, but its characters are no events
  source('text')
  // @ts-expect-error nothing is no source
  source(undefined)
}

// Chunks become events.
export function chunks (
  model: AsyncIterable<{ id: string, object: string }>,
  counts: Iterable<{ n: number }>,
  web: ReadableStream<string>
): void {
  const counted = asData(counts)
  assertType<Equal<typeof counted, AsyncIterable<{ data: { n: number } }>>>()
  const free = (_source: SseSource<AnyEvent>): void => {}
  free(counted)
  free(asData(model))
  free(asData(async ({ signal, lastEventId }) => signal.aborted || lastEventId === undefined ? [] : model))
  // @ts-expect-error the chunks themselves are no events
  free(model)
  // @ts-expect-error nor are the chunks of a function
  free(() => model)
  source(asData(web))
  source(asData(counts, 'count'))
  source(asData(() => counts, 'count'))
  // @ts-expect-error chunks that the event does not have
  source(asData(counts))
  // @ts-expect-error a name that the map does not have
  source(asData(counts, 'cuont'))
  // @ts-expect-error a promise is no source, a function that returns one is
  asData(Promise.resolve(counts))
  // @ts-expect-error nor is a number
  asData(5)
}

// A map consists of schemas.
const map = (given: EventMap): EventMap => given
map(events)
map({})
// @ts-expect-error a name without a schema
map({ message: 'text' })
// @ts-expect-error no map
map([Type.String()])
