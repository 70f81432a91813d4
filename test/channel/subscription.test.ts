import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { describe } from '../../lib/errors.ts'
import { Feed } from '../../lib/channel/feed.ts'
import type { ResolvedSubscription } from '../../lib/channel/resolved-subscription.ts'
import { resolveChannel } from '../../lib/channel/settings.ts'
import { Subscription, type SubscribedChannel } from '../../lib/channel/subscription.ts'
import { kSubscribed, asChannelSources } from '../../lib/source/source.ts'
import { numbered, RemoteLog } from '../setup/remote-log.ts'

const logger = { error: () => {} } as unknown as FastifyBaseLogger

function make () {
  const log = new RemoteLog()
  const feed = new Feed(resolveChannel('news', {}), log, logger)
  return { log, feed, epoch: log.now.epoch, publish: (n: number) => log.append(numbered(n)) }
}

/** A channel without members. */
const channelOf = (feed: () => Feed, start: 'latest' | 'earliest' = 'latest'): SubscribedChannel =>
  ({ start, get: () => ({ feed: feed() }), presence: () => ({ members: undefined }) })

const resolve = (input: object, start: 'latest' | 'earliest' = 'latest'): ResolvedSubscription =>
  new Subscription(channelOf(() => make().feed, start), input)[kSubscribed]

t.test('missing options have their defaults, and the start is that of the channel', async t => {
  for (const input of [{}, {
    after: undefined,
    start: undefined,
    filter: undefined,
    map: undefined,
    snapshot: undefined,
    signal: undefined,
    as: undefined
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
    [{ pace: 100 }, "Option 'pace' must be an object { every, key }, or null, got 100 (number)"],
    [{ pace: { every: 100 } }, "Option 'pace.key' must be a function, got undefined"],
    [{ signal: new AbortController() }, "Option 'signal' must be an AbortSignal, got an object (AbortController)"],
    [{ signal: new EventTarget() }, "Option 'signal' must be an AbortSignal, got an object (EventTarget)"],
    [{ signal: { aborted: false } }, "Option 'signal' must be an AbortSignal, got an object (Object)"],
    ...[7, null, '', 'a'.repeat(257), 'a\n', '\ud800'].map((as): [unknown, string] => [
      { as },
      `Option 'as' must be a string of 1 to 256 characters without control characters, got ${describe(as)}`
    ]),
    ...['from', 'toString', 'constructor', '__proto__'].map((name): [unknown, string] => [
      JSON.parse(`{ "${name}": 1 }`),
      `Option '${name}' must be one of after, start, filter, map, snapshot, pace, signal, as, got an unknown option`
    ])
  ]
  for (const [input, message] of rows) {
    t.throws(() => resolve(input as object), { code: 'FST_SSE_OPTION', message })
  }
})

t.test('the active channel is resolved at each use, not before', async t => {
  const feeds = [make().feed, make().feed]
  let resolved = 0
  const subscription = new Subscription(channelOf(() => feeds[resolved++]!), {})
  t.equal(resolved, 0)
  t.equal(asChannelSources(subscription)?.[0], subscription)
  t.equal(resolved, 0, 'nor to detect the kind of the source')
  t.equal(subscription[kSubscribed].feed, feeds[0])
  t.equal(subscription[kSubscribed].feed, feeds[1])
})

t.test('a subscription has the pace of its channel, its own one, or none', async t => {
  const key = (): number => 1
  const paced = new Feed(resolveChannel('news', { pace: { every: 5, key } }), new RemoteLog(), logger)
  const paceOf = (input: object, feed = paced): unknown =>
    new Subscription(channelOf(() => feed), input)[kSubscribed].pace
  t.strictSame(paceOf({}), { every: 5, key })
  t.strictSame(paceOf({ pace: { every: 6, key } }), { every: 6, key })
  t.equal(paceOf({ pace: null }), undefined)
  t.equal(paceOf({}, make().feed), undefined)
  t.strictSame(paceOf({ pace: { every: 6, key } }, make().feed), { every: 6, key })
})

t.test('each loop reads independently', async t => {
  const { feed, epoch, publish } = make()
  publish(1)
  publish(2)
  const subscription = new Subscription(channelOf(() => feed), { after: `${epoch}-1` })
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
  const subscription = new Subscription(channelOf(() => make().feed), input)
  input.start = 'latest'
  input.after = 'other'
  t.match(subscription[kSubscribed], { after: undefined, projection: { start: 'earliest' } })
})

t.test('the default snapshot of a channel applies to a subscription without `start` and `snapshot`', async t => {
  const [all, own] = [() => null, () => null]
  const snapshotOf = (input: object): unknown =>
    new Subscription({ ...channelOf(() => make().feed), snapshot: all }, input)[kSubscribed].projection.snapshot
  t.equal(snapshotOf({}), all)
  t.equal(snapshotOf({ snapshot: own }), own)
  t.equal(snapshotOf({ start: 'earliest', snapshot: own }), own)
  t.equal(snapshotOf({ start: 'earliest' }), undefined)
  t.equal(snapshotOf({ start: 'latest' }), undefined)
})

t.test('a member is joined at the call of `join`, by the presence of that moment', async t => {
  const joined: string[] = []
  const leave = (): void => {}
  const members = {
    join: (member: string) => {
      joined.push(member)
      return leave
    }
  }
  const presences = [{ members: undefined }, { members }, { members: undefined }]
  const channel = { ...channelOf(() => make().feed), presence: () => presences.shift()! }
  const { join } = new Subscription(channel, { as: 'a' })[kSubscribed]
  t.strictSame(joined, [])
  t.equal(join!(), leave)
  t.strictSame(joined, ['a'])
  join!()()
  t.strictSame(joined, ['a'], 'while the server closes')
  t.notOk('join' in new Subscription(channel, {})[kSubscribed])
})

t.test('a channel of a server that closes throws', async t => {
  const closed = new Subscription({ ...channelOf(() => make().feed), get: () => undefined }, {})
  t.throws(() => closed[kSubscribed], { code: 'FST_SSE_CLOSING' })
})
