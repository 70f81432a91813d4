import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { Feed } from '../../lib/channel/feed.ts'
import type { ResolvedSubscription } from '../../lib/channel/subscriber.ts'
import { resolveChannel } from '../../lib/channel/settings.ts'
import { Subscription } from '../../lib/channel/subscription.ts'
import { kSubscribed, asChannelSources } from '../../lib/source/source.ts'
import { numbered, RemoteLog } from '../setup/remote-log.ts'

const logger = { error: () => {} } as unknown as FastifyBaseLogger

function make () {
  const log = new RemoteLog()
  const feed = new Feed(resolveChannel('news', {}), log, logger)
  return { log, feed, epoch: log.now.epoch, publish: (n: number) => log.append(numbered(n)) }
}

const resolve = (input: object, start: 'latest' | 'earliest' = 'latest'): ResolvedSubscription =>
  new Subscription(() => make().feed, start, input)[kSubscribed]

t.test('missing options have their defaults, and the start is that of the channel', async t => {
  for (const input of [{}, {
    after: undefined,
    start: undefined,
    filter: undefined,
    map: undefined,
    snapshot: undefined,
    signal: undefined
  }]) {
    for (const start of ['latest', 'earliest'] as const) {
      const { projection, after, signal } = resolve(input, start)
      t.strictSame({ projection, after, signal }, {
        projection: { filter: undefined, map: undefined, snapshot: undefined, start },
        after: undefined,
        signal: undefined
      })
    }
  }
})

t.test('valid options are used unchanged', async t => {
  const { signal } = new AbortController()
  const projection = { filter: () => true, map: () => undefined, snapshot: () => null, start: 'earliest' as const }
  const subscribed = resolve({ ...projection, after: '', signal })
  t.strictSame(subscribed.projection, projection)
  t.equal(subscribed.signal, signal)
  t.equal(subscribed.after, '')
  t.equal(resolve({ start: 'latest' }, 'earliest').projection.start, 'latest')
})

t.test('a bad option throws an error with its name, the expected and the actual value', async t => {
  const rows: Array<[input: unknown, message: string]> = [
    [null, "Option 'options' must be an object, got null"],
    [5, "Option 'options' must be an object, got 5 (number)"],
    ['id', "Option 'options' must be an object, got \"id\" (string)"],
    [() => true, "Option 'options' must be an object, got a function"],
    [{ after: 5 }, "Option 'after' must be an event id, got 5 (number)"],
    [{ after: null }, "Option 'after' must be an event id, got null"],
    [{ start: 'first' }, "Option 'start' must be 'latest' or 'earliest', got \"first\" (string)"],
    [{ filter: 'count' }, "Option 'filter' must be a function, got \"count\" (string)"],
    [{ map: null }, "Option 'map' must be a function, got null"],
    [{ snapshot: { data: 1 } }, "Option 'snapshot' must be a function, got an object (Object)"],
    [{ signal: new AbortController() }, "Option 'signal' must be an AbortSignal, got an object (AbortController)"],
    [{ signal: new EventTarget() }, "Option 'signal' must be an AbortSignal, got an object (EventTarget)"],
    [{ signal: { aborted: false } }, "Option 'signal' must be an AbortSignal, got an object (Object)"],
    ...['from', 'toString', 'constructor', '__proto__'].map((name): [unknown, string] => [
      JSON.parse(`{ "${name}": 1 }`),
      `Option '${name}' must be one of after, start, filter, map, snapshot, signal, got an unknown option`
    ])
  ]
  for (const [input, message] of rows) t.throws(() => resolve(input as object), { code: 'FST_SSE_OPTION', message })
})

t.test('the active channel is resolved at each use, not before', async t => {
  const feeds = [make().feed, make().feed]
  let resolved = 0
  const subscription = new Subscription(() => feeds[resolved++]!, 'latest', {})
  t.equal(resolved, 0)
  t.equal(asChannelSources(subscription)?.[0], subscription)
  t.equal(resolved, 0, 'nor to detect the kind of the source')
  t.equal(subscription[kSubscribed].feed, feeds[0])
  t.equal(subscription[kSubscribed].feed, feeds[1])
})

t.test('each loop reads independently', async t => {
  const { feed, epoch, publish } = make()
  publish(1)
  publish(2)
  const subscription = new Subscription(() => feed, 'latest', { after: `${epoch}-1` })
  for (let times = 0; times < 2; times++) {
    const loop = subscription[Symbol.asyncIterator]()
    t.strictSame(await loop.next(), { done: false, value: { event: 'message', data: 2, id: `${epoch}-2` } })
    t.equal(feed.readers, 1)
    await loop.return!()
    t.equal(feed.readers, 0)
  }
})

t.test('later changes of the options object have no effect', async t => {
  const input: { after?: string, start: 'earliest' | 'latest' } = { start: 'earliest' }
  const subscription = new Subscription(() => make().feed, 'latest', input)
  input.start = 'latest'
  input.after = 'other'
  t.match(subscription[kSubscribed], { after: undefined, projection: { start: 'earliest' } })
})
