import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import sse, {
  EventQueue,
  memoryLog,
  type AnyChannel,
  type AnyEvent,
  type Channel,
  type ChannelPosition,
  type ChannelOptions,
  type EventLog,
  type EventMap,
  type LogBatch,
  type LogEntry,
  type LogState,
  type LogRecord,
  type EventLogFactory,
  type Pace,
  type PublishEventOf,
  type ReceivedEventOf,
  type SubscribeOptions,
  type SystemEventReceived
} from '../../lib/index.ts'
import { assertType, type Equal } from './equal.ts'

// Channels. Compiled, never run.

const app = Fastify()
app.register(sse)
app.register(sse, { eventLog: memoryLog(), retry: 5 })
// @ts-expect-error an event log is created by a function
app.register(sse, { eventLog: 'memory' })

const events = { message: Type.String(), count: Type.Object({ n: Type.Integer() }), tags: Type.Array(Type.String()) }
type Events = typeof events
const otherEvents = { price: Type.Object({ symbol: Type.String(), tags: Type.Array(Type.String()) }) }
const counts = app.sse.channel('counts', { events })
const prices = app.sse.channel('prices', { events: otherEvents })
const all = app.sse.channel('all', { events: { ...events, ...otherEvents } })
const free = app.sse.channel('free')

// Get or create.

assertType<Equal<typeof free, Channel<EventMap>>>()
app.sse.channel('options', {
  events,
  history: { maxEvents: 10, maxBytes: 1_000, maxAge: Infinity },
  start: 'earliest',
  slowConsumer: {
    compactBy: event => {
      assertType<Equal<typeof event, ReceivedEventOf<Events>>>()
      return event.event === 'count' ? event.data.n : event.event
    }
  },
  pace: {
    every: 100,
    key: event => {
      assertType<Equal<typeof event, ReceivedEventOf<Events>>>()
      return event.event === 'count' ? event.data.n : undefined
    }
  },
  errorEvent: error => ({ event: 'message', data: error.message })
})
counts.subscribe({ pace: { every: 1, key: ({ event }) => event } })
counts.subscribe({ pace: null, map: event => event.event === 'count' ? event : undefined })
const pace: Pace<ReceivedEventOf<Events>> = { every: 5, key: ({ data }) => data }
counts.subscribe({ pace })
app.sse.channel('options', { events, slowConsumer: 'snapshot', pace })
// @ts-expect-error a pace has a key
counts.subscribe({ pace: { every: 5 } })
// @ts-expect-error a channel has a pace or none
app.sse.channel('options', { pace: null })
app.sse.channel('options', { events, history: { maxAge: 1 }, slowConsumer: 'skip', errorEvent: null })
app.sse.channel('options', { events, errorEvent: () => ({ event: 'error', data: { any: 'thing' } }) })
const kept: ChannelOptions<Events> = { events, history: undefined, slowConsumer: undefined }
app.sse.channel('options', kept)
// @ts-expect-error an error event is an event of the map, or `error`
app.sse.channel('options', { events, errorEvent: () => ({ event: 'failure', data: 1 }) })
// @ts-expect-error a name is text
app.sse.channel(5)
// @ts-expect-error a channel has a name
app.sse.channel()
// @ts-expect-error an unknown option
app.sse.channel('options', { capacity: 5 })
// @ts-expect-error an unknown history limit
app.sse.channel('options', { history: { size: 5 } })
// @ts-expect-error a limit is a number
app.sse.channel('options', { history: { maxAge: '5s' } })
// @ts-expect-error an unknown policy
app.sse.channel('options', { slowConsumer: 'drop' })
// @ts-expect-error start is 'earliest' or 'latest'
app.sse.channel('options', { start: 'middle' })
// @ts-expect-error a name without a schema
app.sse.channel('options', { events: { message: 'text' } })

// Publish.

counts.publish({ event: 'count', data: { n: 1 } })
counts.publish({ event: 'message', data: 'named' })
counts.publish({ data: 'unnamed' })
assertType<Equal<ReturnType<typeof counts.publish>, Promise<string>>>()
// @ts-expect-error data of the wrong type
counts.publish({ event: 'count', data: { n: 'one' } })
// @ts-expect-error an additional property
counts.publish({ event: 'count', data: { n: 1, m: 2 } })
// @ts-expect-error data of another event
counts.publish({ event: 'count', data: 'one' })
// @ts-expect-error a name that the map does not have
counts.publish({ event: 'cuont', data: { n: 1 } })
// @ts-expect-error a name without data
counts.publish({ event: 'count' })
// @ts-expect-error unnamed data of the wrong type
counts.publish({ data: 5 })
// @ts-expect-error if the map declares no message, an event needs its name
prices.publish({ data: { symbol: 'x', tags: [] } })
// @ts-expect-error the channel assigns the id
counts.publish({ event: 'count', data: { n: 1 }, id: 'mine' })
// @ts-expect-error a retry delay belongs to a stream
counts.publish({ event: 'count', data: { n: 1 }, retry: 5 })
// @ts-expect-error a comment is no event
counts.publish({ comment: 'still here' })
// @ts-expect-error a position is no event
counts.publish({ id: 'mine' })
// @ts-expect-error an event of the package itself
counts.publish({ event: 'sse.gap', data: { dropped: 1 } })
// @ts-expect-error no event at all
counts.publish('text')

declare const client: { query: (text: string) => Promise<unknown> }
declare const maybe: { query: (text: string) => Promise<unknown> } | undefined
export const publishing = {
  key: counts.publish({ event: 'count', data: { n: 1 } }, { key: 'one' }),
  client: counts.publish({ event: 'count', data: { n: 1 } }, { client }),
  both: counts.publish({ event: 'count', data: { n: 1 } }, { key: 'one', client }),
  perhaps: counts.publish({ event: 'count', data: { n: 1 } }, { client: maybe }),
  neither: counts.publish({ event: 'count', data: { n: 1 } }, undefined)
}
assertType<Equal<typeof publishing, {
  key: Promise<string>
  client: Promise<undefined>
  both: Promise<undefined>
  perhaps: Promise<string | undefined>
  neither: Promise<string>
}>>()
// @ts-expect-error a key is a string
counts.publish({ event: 'count', data: { n: 1 } }, { key: 1 })
// @ts-expect-error publish has no such option
counts.publish({ event: 'count', data: { n: 1 } }, { key: 'one', id: 'mine' })
// @ts-expect-error the event is checked with options, too
counts.publish({ event: 'count', data: { n: 'one' } }, { key: 'one' })

free.publish({ event: 'any', data: { any: 'thing' } })
free.publish({ data: null })
// @ts-expect-error not an event
free.publish('text')
// @ts-expect-error without data
free.publish({ event: 'any' })
// @ts-expect-error with an id
free.publish({ data: 1, id: 'mine' })

// A producer.

async function * produce (): AsyncGenerator<PublishEventOf<Events>> {
  yield { event: 'count', data: { n: 1 } }
  // @ts-expect-error in a typed generator, the error is at the yield
  yield { event: 'count', data: { n: 'one' } }
}
counts.publishFrom(produce())
counts.publishFrom(({ signal }) => {
  assertType<Equal<typeof signal, AbortSignal>>()
  return produce()
})
counts.publishFrom(async () => produce())
assertType<Equal<ReturnType<typeof counts.publishFrom>, Promise<void>>>()
assertType<Equal<ReturnType<typeof counts.end>, Promise<void>>>()
assertType<Equal<typeof counts.subscribers, number>>()
assertType<Equal<ReturnType<typeof counts.position>, Promise<ChannelPosition>>>()
assertType<Equal<ChannelPosition['id'], string>>()
counts.publishFrom(new EventQueue<Events, PublishEventOf<Events>>())
// @ts-expect-error a queue that accepts comments and ids, which a channel does not
counts.publishFrom(new EventQueue<Events>())
// @ts-expect-error events of another map
prices.publishFrom(produce())
// @ts-expect-error an event of the wrong type
counts.publishFrom([{ event: 'count', data: { n: 'one' } }])
// @ts-expect-error no source at all
counts.publishFrom('text')

// A typed route serves a channel of its own events.

app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(counts))
app.get('/', { schema: { sse: events } }, async (_request, reply) => reply.sse(() => counts))
app.get('/', { schema: { sse: events } }, async (_request, reply) => reply.sse(async () => [counts]))
app.get('/', { schema: { sse: events } },
  (_request, reply) =>
    reply.sse(counts.subscribe({ after: 'id', start: 'earliest', filter: event => event.event === 'count' })))
app.get('/', { schema: { sse: { ...events, ...otherEvents } } }, (_request, reply) => {
  reply.sse(counts)
  reply.sse([counts, prices, all])
  return reply.sse([counts.subscribe(), prices.subscribe({ filter: ({ data }) => data.symbol === 'x' })])
})
app.get('/', { schema: { sse: events } }, (_request, reply) => {
  // @ts-expect-error a channel of another map
  return reply.sse(prices)
})
app.get('/', { schema: { sse: events } }, (_request, reply) => {
  // @ts-expect-error a channel whose map has more events than the route
  return reply.sse(all)
})
app.get('/', { schema: { sse: events } }, (_request, reply) => {
  // @ts-expect-error a channel of any events
  return reply.sse(free)
})
app.get('/', { schema: { sse: events } }, (_request, reply) => {
  // @ts-expect-error one of several channels has another map
  return reply.sse([counts, prices])
})
app.get('/', { schema: { sse: events } }, (_request, reply) => {
  // @ts-expect-error returned by a function
  return reply.sse(() => prices)
})
app.get('/', { schema: { sse: events } }, (_request, reply) => {
  // @ts-expect-error a filter does not narrow the events for the compiler
  return reply.sse(all.subscribe({ filter: event => event.event === 'count' }))
})
const provided = app.withTypeProvider<TypeBoxTypeProvider>()
provided.get('/', { schema: { sse: events } }, (_request, reply) => {
  reply.sse([counts])
  // @ts-expect-error a channel of another map, with a type provider
  return reply.sse(prices)
})
app.route({
  method: 'GET',
  url: '/',
  schema: { sse: events },
  handler (_request, reply) {
    reply.sse(counts)
    // @ts-expect-error a channel of another map
    return reply.sse(prices)
  }
})

// A route without schema.sse serves any.
app.get('/', (_request, reply) => reply.sse(free))
app.get('/', (_request, reply) => reply.sse([counts, prices, free]))

// Subscriptions.

counts.subscribe({
  filter: event => {
    assertType<Equal<typeof event, ReceivedEventOf<Events>>>()
    return true
  }
})
free.subscribe({
  filter: event => {
    assertType<Equal<typeof event, { readonly event: string, readonly data: unknown, readonly id: string }>>()
    return true
  }
})
counts.subscribe({ signal: new AbortController().signal, after: undefined, map: undefined })
// @ts-expect-error a shared event is read-only
counts.subscribe({ filter: event => { event.event = 'count'; return true } })
// @ts-expect-error a promise is no result
counts.subscribe({ filter: async () => true })
// @ts-expect-error nor is a number
counts.subscribe({ filter: () => 1 })
// @ts-expect-error an event that the channel does not have
counts.subscribe({ filter: event => event.event === 'cuont' })
// @ts-expect-error the data before the name is narrowed
counts.subscribe({ filter: event => event.data.n > 1 })
// @ts-expect-error an id is text
counts.subscribe({ after: 5 })
// @ts-expect-error an unknown option
counts.subscribe({ from: 'id' })

// The result of a map has literal names, as a route requires, whether the map is inline or not.
app.get('/', { schema: { sse: events } }, (_request, reply) => {
  reply.sse(prices.subscribe({ map: ({ data }) => ({ event: 'count', data: { n: data.tags.length } }) }))
  const some = all.subscribe({
    map: event => event.event === 'price' ? { event: 'tags', data: ['a', ...event.data.tags] } : event
  })
  reply.sse(some)
  const few = prices.subscribe({
    map ({ data }) {
      if (data.symbol === '') return undefined
      return { event: 'tags', data: ['a', 'b'] }
    }
  })
  reply.sse([few, some])
  return reply.sse(prices.subscribe({ map: ({ data }) => data.symbol === '' ? null : { data: data.symbol } }))
})
app.get('/', { schema: { sse: events } }, (_request, reply) => {
  const wrong = prices.subscribe({ map: ({ data }) => ({ event: 'count', data: { n: data.symbol } }) })
  // @ts-expect-error the result must fit the route
  return reply.sse(wrong)
})
app.get('/', { schema: { sse: events } }, (_request, reply) => {
  const wrong = prices.subscribe({ map: ({ data }) => ({ event: 'cuont', data: { n: data.tags.length } }) })
  // @ts-expect-error the name must fit, too
  return reply.sse([counts, wrong])
})
// @ts-expect-error a map makes events
prices.subscribe({ map: ({ data }) => data.symbol })
// @ts-expect-error a map is synchronous
prices.subscribe({ map: async event => event })
// @ts-expect-error of events that the channel does not have
prices.subscribe({ map: event => event.event === 'count' ? event : undefined })

// Snapshots.
counts.subscribe({ snapshot: () => ({ event: 'count', data: { n: 1 } }) })
counts.subscribe({ snapshot: () => [{ data: 'one' }, { event: 'count', data: { n: 1 }, id: 'where' }] })
counts.subscribe({ snapshot: async () => ({ event: 'count', data: { n: 1 }, id: (await counts.position()).id }) })
counts.subscribe({ snapshot: () => null })
// @ts-expect-error data of the wrong type
counts.subscribe({ snapshot: () => ({ event: 'count', data: { n: 'one' } }) })
// @ts-expect-error an event that the channel does not have
counts.subscribe({ snapshot: () => ({ event: 'price', data: { symbol: 'x', tags: [] } }) })
// @ts-expect-error a position is text
counts.subscribe({ snapshot: () => ({ event: 'count', data: { n: 1 }, id: 1 }) })
// With a map of an explicit type, a snapshot may be any event of that type.
app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(prices.subscribe({
  map: ({ data }): PublishEventOf<Events> => ({ event: 'count', data: { n: data.tags.length } }),
  snapshot: async () => [{ data: 'the state' }, { event: 'tags', data: [] }]
})))
// The events of a map and of a snapshot may differ, in either order.
app.get('/', { schema: { sse: events } }, (_request, reply) => {
  reply.sse(
    prices.subscribe({
      map: ({ data }) => ({ event: 'count', data: { n: data.tags.length } }),
      snapshot: () => ({ event: 'tags', data: ['all'] })
    })
  )
  reply.sse(
    prices.subscribe({
      snapshot: async () => [{ data: 'the state' }, { event: 'tags', data: [], id: 'where' }],
      map: event => ({ event: 'count', data: { n: event.data.tags.length } })
    })
  )
  reply.sse(
    prices.subscribe({ snapshot: () => null, map: event => ({ event: 'count', data: { n: event.data.tags.length } }) })
  )
  const wrong = prices.subscribe({
    map: () => ({ event: 'count', data: { n: 1 } }),
    snapshot: () => ({ event: 'tags', data: [5] })
  })
  // @ts-expect-error both must fit the route
  return reply.sse(wrong)
})
// @ts-expect-error a snapshot consists of events
prices.subscribe({ map: ({ data }) => ({ data: data.symbol }), snapshot: () => 'the state' })

// Options in a variable.
const followed: SubscribeOptions<ReceivedEventOf<Events>, PublishEventOf<Events>> = {
  filter: event => event.event === 'count'
}
app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(counts.subscribe(followed)))
// @ts-expect-error options of another channel
prices.subscribe(followed)

// Loops.

const accept = (event: AnyEvent): AnyEvent => event

export async function loops (): Promise<void> {
  for await (const event of counts.subscribe()) {
    assertType<Equal<typeof event, ReceivedEventOf<Events> | SystemEventReceived<Events>>>()
    assertType<Equal<typeof event.id, string>>()
    switch (event.event) {
      case 'count':
        assertType<Equal<typeof event.data, { n: number }>>()
        break
      case 'message':
        assertType<Equal<typeof event.data, string>>()
        break
      case 'tags':
        assertType<Equal<typeof event.data, string[]>>()
        break
      case 'sse.gap':
        assertType<Equal<typeof event.data.dropped, number>>()
        break
      case 'error':
        assertType<Equal<typeof event.data, unknown>>()
        break
      case 'sse.reset':
        assertType<Equal<typeof event.data.reason, 'malformed' | 'unknown' | 'evicted' | 'ahead'>>()
        break
      default:
        assertType<Equal<typeof event, never>>()
    }
  }
  for await (const event of prices.subscribe({ map: ({ data }) => ({ event: 'size', data: data.tags.length }) })) {
    if (event.event === 'size') assertType<Equal<typeof event.data, number>>()
    // @ts-expect-error an event that the map does not return
    if (event.event === 'price') break
  }
  for await (const event of free.subscribe()) {
    accept(event)
    assertType<Equal<(typeof event)['event'], string>>()
    assertType<Equal<(typeof event)['data'], unknown>>()
    assertType<Equal<(typeof event)['id'], string>>()
  }
  for await (const event of prices.subscribe({
    map: ({ data }) => ({ event: 'size', data: data.tags.length }),
    snapshot: () => ({ event: 'state', data: 'all' })
  })) {
    if (event.event === 'size') assertType<Equal<typeof event.data, number>>()
    if (event.event === 'state') assertType<Equal<typeof event.data, string>>()
  }
  // @ts-expect-error a loop needs a subscription
  for await (const event of counts) accept(event)
}

const failing = app.sse.channel('failing', { events: { error: Type.Object({ code: Type.Integer() }) } })
export async function failures (): Promise<void> {
  for await (const event of failing.subscribe()) {
    if (event.event === 'error') assertType<Equal<typeof event.data, { code: number }>>()
  }
}

// Code that only observes channels need not know their events.
const allOfThem: AnyChannel[] = [counts, prices, free]
allOfThem.map(async channel => [channel.name, channel.subscribers, (await channel.position()).id, channel.end()])
app.get('/', (_request, reply) => reply.sse(allOfThem))

// A function that takes a channel declares its events.
const watch = (channel: Channel<Events>): unknown => channel
watch(counts)
// @ts-expect-error a channel of another map
watch(prices)
// @ts-expect-error a channel of any events
watch(free)

// A custom event log.
class OwnLog implements EventLog {
  append (record: LogRecord): { epoch: string, offset: number } {
    return { epoch: record.event, offset: 1 }
  }

  async read (after: number, limit: number): Promise<LogBatch> {
    return { epoch: 'e', newest: after + limit, ended: false, entries: [] }
  }

  state (): LogState {
    return { epoch: 'e', oldest: 1, newest: 0, ended: false }
  }

  tail (listener: (batch: LogBatch) => void): () => void {
    return () => listener({ epoch: 'e', newest: 0, ended: true, entries: [] satisfies LogEntry[] })
  }

  end (): void {}
  isIdle (): boolean { return true }
  close (): void {}
}
const own: EventLogFactory = (name, history) => {
  assertType<Equal<typeof name, string>>()
  assertType<Equal<typeof history.maxAge, number>>()
  return new OwnLog()
}
app.register(sse, { eventLog: own })
// @ts-expect-error a log without its methods
app.register(sse, { eventLog: () => ({}) })
