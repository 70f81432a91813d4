import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import type { FrameBatch } from '../../lib/channel/frame-batch.ts'
import { Feed } from '../../lib/channel/feed.ts'
import type { ResolvedSubscription } from '../../lib/channel/resolved-subscription.ts'
import { Subscriber } from '../../lib/channel/subscriber.ts'
import type { SubscriberSink } from '../../lib/channel/subscriber-context.ts'
import { resolveChannel, type ChannelOptions } from '../../lib/channel/settings.ts'
import { freeContract } from '../../lib/contract/contract.ts'
import { ALL } from '../setup/test-subscriber.ts'
import { dice, numbered, RemoteLog, type Dice } from '../setup/remote-log.ts'
import { Track } from '../setup/track.ts'
import { within } from '../setup/within.ts'

const logger = { error: () => {} } as unknown as FastifyBaseLogger

interface TestChannel {
  log: RemoteLog
  feed: Feed
  publish: (...numbers: number[]) => Promise<unknown>
  id: (offset: number) => string
  frame: (n: number) => string
}

function channel (name: string, options: ChannelOptions = {}, dice?: Dice): TestChannel {
  const log = new RemoteLog(options.history, dice)
  const id = (offset: number): string => `${log.now.epoch}-${offset}`
  return {
    log,
    feed: new Feed(resolveChannel(name, options), log, logger),
    publish: (...numbers) => Promise.all(numbers.map(n => log.append(numbered(n)))),
    id,
    frame: n => `id: ${id(n)}\ndata: ${n}\n\n`
  }
}

const subscribe = (
  { feed }: TestChannel,
  received: Partial<Omit<ResolvedSubscription, 'feed' | 'projection'>> & {
    projection?: Partial<ResolvedSubscription['projection']>
  } = {}
): ResolvedSubscription => ({
  feed,
  after: undefined,
  signal: undefined,
  ...received,
  projection: { ...ALL, ...received.projection }
})

const LIVE = ': live\n'
const REPLAY = ': replay\n'
/** The frame after the history. */
const CAUGHT_UP = ': live\n\n'
/** The frame of a position without an event. */
const at = (id: string): string => `event: sse.position\nid: ${id}\ndata: \n\n`

/** Records the output in order: frames, events as objects with the frames before them, and the outcome. */
class TestSink implements SubscriberSink {
  readonly received: unknown[] = []
  room = Infinity
  hasRoom (): boolean {
    return this.room > 0
  }

  writeFrames = (frames: string | FrameBatch, events: number): void => {
    this.room--
    const text = typeof frames === 'string' ? frames : frames.text
    if (events !==
      text.split('\n\n').filter(frame => frame.includes('data: ') && !frame.includes('event: sse.position')).length) {
      throw new Error(`${events} events were announced`)
    }
    this.received.push(text)
  }

  write (event: unknown, before: string): boolean {
    this.room--
    this.received.push(...(before === '' ? [] : [before]), event)
    return true
  }

  respondNoContent (): void {
    this.received.push('nothing')
  }

  channelEnded (): void {
    this.received.push('ended')
  }

  fellBehind (channel: string): void {
    this.received.push(`lagging ${channel}`)
  }

  complete (): void {
    this.received.push('done')
  }

  fail (error: unknown): void {
    this.received.push(error)
  }
}

async function start (
  subscribed: ResolvedSubscription[],
  lastEventId?: string
): Promise<{ subscriber: Subscriber, sink: TestSink, received: unknown[] }> {
  const sink = new TestSink()
  const subscriber = new Subscriber(subscribed, sink)
  subscriber.start(lastEventId)
  await turn()
  return { subscriber, sink, received: sink.received }
}

t.test('a stream starts with its position, and a new client continues with the next event', async t => {
  const news = channel('news')
  news.publish(1)
  const { received, subscriber } = await start([subscribe(news)])
  news.publish(2)
  await turn()
  t.strictSame(received, [LIVE, { id: news.id(1) }, news.frame(2)])
  t.equal(subscriber.lastEventId, news.id(2))
})

t.test('R2: Last-Event-ID precedes after as the start, and an empty id is none', async t => {
  const news = channel('news')
  news.publish(1, 2, 3)
  const cases: Array<[string | undefined, string | undefined, number]> = [
    [undefined, undefined, 3],
    ['', undefined, 3],
    [undefined, '', 3],
    [news.id(1), undefined, 1],
    [undefined, news.id(2), 2],
    [news.id(1), news.id(2), 1],
    ['', news.id(2), 2]
  ]
  for (const [lastEventId, after, position] of cases) {
    const { received, subscriber } = await start([subscribe(news, { after })], lastEventId)
    const history = [1, 2, 3].slice(position).map(news.frame)
    t.strictSame(received, [
      ...(history.length === 0
        ? [LIVE, { id: news.id(3) }]
        : [REPLAY, { id: news.id(position) }, ...history, CAUGHT_UP])
    ], `${lastEventId} ${after}`)
    subscriber.stop()
  }
})

t.test('R3: a stream whose position cannot be resumed starts with sse.reset, with the reason and the new position', async t => {
  const news = channel('news', { history: { maxEvents: 2 } })
  news.publish(1, 2, 3)
  const cases: Array<[string, string]> = [['nonsense', 'malformed'], ['x'.repeat(1_048_576), 'malformed'], ['f-1',
    'unknown'], [news.id(0), 'evicted'], [news.id(4), 'ahead']]
  for (const [id, reason] of cases) {
    for (const way of ['Last-Event-ID', 'after']) {
      const { received, subscriber } = await start([subscribe(news, { after: way === 'after' ? id : undefined })],
        way === 'after' ? undefined : id)
      t.strictSame(received, [LIVE, { event: 'sse.reset', data: { reason, oldest: 2, newest: 3 }, id: news.id(3) }])
      subscriber.stop()
    }
  }
})

t.test('only the last event before the logs has the position', async t => {
  const news = channel('news')
  news.publish(1)
  const snapshot = (): unknown => [{ data: 'a', id: 'mine' }, 'no event', { data: 'b' }]
  const { received } = await start([subscribe(news, { projection: { snapshot } })], 'nonsense')
  t.strictSame(received, [
    LIVE,
    { event: 'sse.reset', data: { reason: 'malformed', oldest: 1, newest: 1 }, id: undefined },
    { data: 'a', id: undefined },
    'no event',
    { data: 'b', id: news.id(1) }
  ])
  t.strictSame((await start([subscribe(news, { projection: { snapshot: () => 'no event' } })])).received, [LIVE,
    'no event'])
})

t.test('R6: several channels have one id, which resumes all of them', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  orders.publish(1)
  const { received, subscriber } = await start([subscribe(orders), subscribe(alerts)])
  alerts.publish(1)
  await turn()
  orders.publish(2)
  await turn()
  t.strictSame(received, [
    LIVE,
    { id: `${orders.id(1)}.${alerts.id(0)}` },
    `id: ${orders.id(1)}.${alerts.id(1)}\ndata: 1\n\n`,
    `id: ${orders.id(2)}.${alerts.id(1)}\ndata: 2\n\n`
  ])
  subscriber.stop()
  orders.publish(3)
  alerts.publish(2)
  // In another order, and with a channel that is not subscribed any more.
  const back = await start([subscribe(orders), subscribe(alerts)], `lost-7.${alerts.id(1)}.${orders.id(2)}`)
  t.strictSame(back.received, [
    REPLAY,
    { id: `${orders.id(2)}.${alerts.id(1)}` },
    `id: ${orders.id(3)}.${alerts.id(1)}\ndata: 3\n\n`,
    `id: ${orders.id(3)}.${alerts.id(2)}\ndata: 2\n\n`,
    CAUGHT_UP
  ])
})

t.test('R6: an id of another channel opens nothing, and sse.reset names the channel', async t => {
  const [orders, secrets] = [channel('orders'), channel('secrets')]
  orders.publish(1)
  secrets.publish(1, 2)
  const { received } = await start([subscribe(orders)], secrets.id(0))
  t.strictSame(received, [LIVE, {
    event: 'sse.reset',
    data: { reason: 'unknown', oldest: 1, newest: 1 },
    id: orders.id(1)
  }])
  const two = await start([subscribe(orders), subscribe(secrets)], `${orders.id(0)}.other-2`)
  const id = `${orders.id(0)}.${secrets.id(2)}`
  t.strictSame(two.received, [
    REPLAY,
    { event: 'sse.reset', data: { reason: 'unknown', oldest: 1, newest: 2, channel: 'secrets' }, id },
    `id: ${orders.id(1)}.${secrets.id(2)}\ndata: 1\n\n`,
    CAUGHT_UP
  ])
})

for (const late of [false, true]) {
  t.test(`R3: a channel without a part of the id is new to the client; a part for none of the channels may belong to any${late ? ', with logs that answer late' : ''}`, async t => {
    const options = late ? [1, 2, 3].map(dice) : []
    const [orders, alerts, notes] = ['orders', 'alerts', 'notes'].map((name, index) =>
      channel(name, {}, options[index])
    )
    for (const each of [orders!, alerts!, notes!]) await each.publish(1, 2)
    const [o, a, n] = [orders!, alerts!, notes!]
    const opened = async (subscribed: ResolvedSubscription[], asked: string, until: string): Promise<unknown[]> => {
      const { received, subscriber } = await start(subscribed, asked)
      while (!received.some(each => (each as { id?: string }).id === until)) await turn()
      subscriber.stop()
      return received.slice(0, 1 + received.findIndex(each => (each as { id?: string }).id === until))
    }
    const grown = `${o.id(1)}.${a.id(2)}`
    const reset = (channel: string, reason = 'unknown'): object => ({
      event: 'sse.reset',
      data: { reason, oldest: 1, newest: 2, channel }
    })
    t.strictSame(await opened([subscribe(o), subscribe(a)], o.id(1), grown), [REPLAY, { id: grown }], 'grown')
    t.strictSame(await opened([subscribe(o), subscribe(a)], `${o.id(1)}.lost-5`, grown), [REPLAY, {
      ...reset('alerts'),
      id: grown
    }], 'another channel, or the lost history of this one')
    const both = `${o.id(1)}.${a.id(2)}.${n.id(2)}`
    t.strictSame(await opened([subscribe(o), subscribe(a), subscribe(n)], `${o.id(1)}.lost-5`, both), [REPLAY, {
      ...reset('alerts'),
      id: undefined
    }, { ...reset('notes'), id: both }], 'shrunk and grown at once')
    t.strictSame(await opened([subscribe(o), subscribe(a)], `${o.id(1)}.${a.id(2)}.${n.id(2)}`, grown), [REPLAY, {
      id: grown
    }], 'shrunk')
    t.strictSame(await opened([subscribe(o), subscribe(a)], o.id(3), `${o.id(2)}.${a.id(2)}`), [LIVE, {
      ...reset('orders', 'ahead'),
      id: `${o.id(2)}.${a.id(2)}`
    }], 'a known epoch that cannot be resumed is a reset')
    t.strictSame(await opened([subscribe(o), subscribe(a)], '?', `${o.id(2)}.${a.id(2)}`), [LIVE, {
      ...reset('orders', 'malformed'),
      id: undefined
    }, { ...reset('alerts', 'malformed'), id: `${o.id(2)}.${a.id(2)}` }], 'a malformed id may belong to any channel')
    t.strictSame(await opened([subscribe(a)], o.id(1), a.id(2)), [LIVE, {
      event: 'sse.reset',
      data: { reason: 'unknown', oldest: 1, newest: 2 },
      id: a.id(2)
    }], 'alone')
    const first = `${o.id(1)}.${a.id(0)}`
    t.strictSame(await opened([subscribe(o), subscribe(a, { projection: { start: 'earliest' } })], o.id(1), first), [
      REPLAY,
      { id: first }
    ], 'the start of its subscription')
    t.strictSame(
      await opened([subscribe(o), subscribe(a, { projection: { snapshot: () => ({ data: 'all' }) } })], o.id(1), grown),
      [REPLAY, { data: 'all', id: grown }],
      'with the snapshot'
    )
    await o.log.end()
    t.strictSame(await opened([subscribe(o), subscribe(a)], o.id(2), `${o.id(2)}.${a.id(2)}`), [LIVE, {
      id: `${o.id(2)}.${a.id(2)}`
    }], 'its old channel has ended')
    t.equal(o.feed.readers + a.feed.readers + n.feed.readers, 0)
  })
}

t.test('R3: a stream of 63 channels may reconnect for 64', async t => {
  const all = Array.from({ length: 64 }, (_, index) => channel(`channel ${index}`))
  const had = all.slice(0, 63).map(({ id }) => id(0)).join('.')
  const { received } = await start(all.map(each => subscribe(each)), had)
  t.strictSame(received, [LIVE, { id: `${had}.${all[63]!.id(0)}` }])
})

t.test('R6: the snapshot of a channel without a part of the id may end the subscriber', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  const controller = new AbortController()
  const { received } = await start([
    subscribe(orders, { signal: controller.signal, projection: { snapshot: () => controller.abort() } }),
    subscribe(alerts, { projection: { snapshot: () => t.fail('the snapshot was called') } })
  ])
  t.strictSame(received, ['done'])
  t.strictSame([orders.feed.readers, alerts.feed.readers], [0, 0])
})

t.test('R5: with several channels a gap names its channel, with the id of all', async t => {
  const [orders, alerts] = [channel('orders', { slowConsumer: 'skip', history: { maxEvents: 1 } }), channel('alerts')]
  const { received, subscriber, sink } = await start([subscribe(orders), subscribe(alerts)])
  sink.room = 0
  orders.publish(1, 2, 3)
  await turn()
  sink.room = Infinity
  subscriber.pull()
  await turn()
  t.strictSame(received.slice(2), [{
    event: 'sse.gap',
    data: { dropped: 3, channel: 'orders' },
    id: `${orders.id(3)}.${alerts.id(0)}`
  }])
})

t.test('R3: with several channels a new epoch is announced for its channel only, with the id of all', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  alerts.publish(1)
  const { received } = await start([subscribe(orders), subscribe(alerts)])
  orders.log.lose()
  await turn()
  alerts.publish(2)
  await turn()
  const id = `${orders.id(0)}.${alerts.id(1)}`
  t.strictSame(received.slice(2), [
    { event: 'sse.reset', data: { reason: 'unknown', oldest: 1, newest: 0, channel: 'orders' }, id },
    `id: ${orders.id(0)}.${alerts.id(2)}\ndata: 2\n\n`
  ])
})

t.test('R7: a subscriber ends with the last of its channels', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  const { received } = await start([subscribe(orders), subscribe(alerts)])
  orders.log.end()
  await turn()
  alerts.publish(1)
  await turn()
  alerts.log.end()
  await turn()
  t.strictSame(received.slice(2), [`id: ${orders.id(0)}.${alerts.id(1)}\ndata: 1\n\n`, 'ended'])
  t.strictSame([orders.feed.readers, alerts.feed.readers], [0, 0])
})

t.test('R7: if no channel has anything to send, the answer is 204 and nothing else', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  orders.publish(1)
  orders.log.end()
  t.strictSame((await start([subscribe(orders)], orders.id(1))).received, ['nothing'])
  t.strictSame((await start([subscribe(orders)])).received, ['nothing'])
  t.strictSame((await start([subscribe(orders)], orders.id(0))).received, [REPLAY, { id: orders.id(0) },
    orders.frame(1), 'ended'])
  const both = await start([subscribe(orders), subscribe(alerts)], orders.id(1))
  t.strictSame(both.received, [LIVE, { id: `${orders.id(1)}.${alerts.id(0)}` }])
  t.strictSame([orders.feed.readers, alerts.feed.readers], [0, 1])
})

t.test('R5: a reader whose next entry was evicted ends the subscriber', async t => {
  const [orders, alerts] = [channel('orders', { history: { maxEvents: 1 } }), channel('alerts')]
  const { received, subscriber, sink } = await start([subscribe(orders), subscribe(alerts)])
  sink.room = 0
  orders.publish(1, 2)
  alerts.publish(1)
  await turn()
  sink.room = Infinity
  subscriber.pull()
  await turn()
  alerts.publish(2)
  await turn()
  t.equal(received.at(-1), 'lagging orders')
  t.strictSame(received.filter(each => String(each).includes('data: 2')), [])
  t.strictSame([orders.feed.readers, alerts.feed.readers], [0, 0])
})

t.test('R5: a client with room for one event at a time receives every channel in turn', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  const { received, subscriber, sink } = await start([subscribe(orders), subscribe(alerts)])
  sink.room = 0
  orders.publish(1, 2, 3, 4)
  alerts.publish(11, 12)
  for (let n = 0; n < 4; n++) {
    await turn()
    sink.room = 1
    subscriber.pull()
  }
  const data = received.slice(2).map(frame => /data: (\d+)/.exec(String(frame))?.[1])
  t.strictSame(data.filter(n => Number(n) < 10), ['1', '2'])
  t.strictSame(data.filter(n => Number(n) > 10), ['11', '12'])
})

t.test('R3: the position of dropped events is sent before they leave the history by age', async t => {
  const [orders, alerts, notes] = [channel('orders', { history: { maxAge: 40_000 } }),
    channel('alerts', { history: { maxAge: Infinity } }), channel('notes', { history: { maxAge: 60_000 } })]
  const none = { projection: { filter: () => false } }
  const { received, subscriber } = await start([subscribe(orders, none), subscribe(alerts, none),
    subscribe(notes, none)])
  subscriber.tick(1_000)
  notes.publish(1)
  await turn()
  subscriber.tick(20_000)
  t.equal(received.length, 2)
  subscriber.tick(21_000)
  t.strictSame(received.slice(2), [{ id: `${orders.id(0)}.${alerts.id(0)}.${notes.id(1)}` }],
    'half of the shortest age after the last tick with a reported position')
  for (const time of [22_000, 90_000]) subscriber.tick(time)
  orders.publish(1)
  await turn()
  subscriber.tick(100_000)
  t.equal(received.length, 3)
  subscriber.tick(110_000)
  t.strictSame(received.slice(3), [{ id: `${orders.id(1)}.${alerts.id(0)}.${notes.id(1)}` }])
  const endless = await start([subscribe(alerts, none)])
  alerts.publish(1)
  await turn()
  for (const time of [0, 1e12]) endless.subscriber.tick(time)
  t.equal(endless.received.length, 2, 'without an age there is no deadline')
})

t.test('the position of dropped events is returned once, on request', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  const { received, subscriber } = await start([subscribe(orders, { projection: { filter: () => false } }),
    subscribe(alerts)])
  t.equal(subscriber.checkpoint(), '')
  orders.publish(1, 2)
  await turn()
  t.equal(subscriber.checkpoint(), at(`${orders.id(2)}.${alerts.id(0)}`))
  t.equal(subscriber.checkpoint(), '')
  t.equal(received.length, 2)
})

t.test('before the start there is no position', async t => {
  const news = channel('news')
  const sink = new TestSink()
  const subscriber = new Subscriber([subscribe(news, { projection: { snapshot: () => new Promise(() => {}) } })], sink)
  t.equal(subscriber.lastEventId, undefined)
  subscriber.start(undefined)
  subscriber.pull()
  t.equal(subscriber.lastEventId, undefined)
  t.equal(subscriber.checkpoint(), '')
  subscriber.stop()
  t.equal(news.feed.readers, 0)
})

t.test('L3: a snapshot that resolves after the end is ignored', async t => {
  const news = channel('news')
  for (const outcome of ['state', 'failure']) {
    let settle!: () => void
    const sink = new TestSink()
    const subscriber = new Subscriber([
      subscribe(news, {
        projection: {
          snapshot: () =>
            new Promise((resolve, reject) => {
              settle = outcome === 'state' ? () => resolve({ data: 1 }) : () => reject(new Error('late'))
            })
        }
      })
    ], sink)
    subscriber.start(undefined)
    subscriber.stop()
    settle()
    await turn()
    t.strictSame(sink.received, [])
  }
})

t.test('R2: events published during a snapshot are sent after it', async t => {
  const news = channel('news')
  let settle!: (state: unknown) => void
  const { received } = await start([subscribe(news, {
    projection: {
      snapshot: () =>
        new Promise(resolve => {
          settle = resolve
        })
    }
  })])
  news.publish(1, 2)
  await turn()
  t.strictSame(received, [])
  settle({ data: 'state', id: news.id(1) })
  await turn()
  t.strictSame(received, [REPLAY, { data: 'state', id: news.id(1) }, news.frame(2), CAUGHT_UP])
})

for (const [way, snapshot] of Object.entries({
  'at once': () => {
    throw new Error('no state')
  },
  late: async () => {
    throw new Error('no state')
  }
})) {
  t.test(`a snapshot that throws ${way} ends only its subscriber`, async t => {
    const news = channel('news')
    const [other, { received }] = [await start([subscribe(news)]),
      await start([subscribe(news, { projection: { snapshot } })])]
    t.match(received, [{ message: 'no state' }])
    t.equal(received.length, 1)
    t.equal(news.feed.readers, 1)
    news.publish(1)
    await turn()
    t.strictSame(other.received, [LIVE, { id: news.id(0) }, news.frame(1)])
  })
}

t.test('several snapshots that fail, at once and late, end their subscriber with one error, and nothing else', async t => {
  const rejections: unknown[] = []
  const heard = (reason: unknown): void => {
    rejections.push(reason)
  }
  process.on('unhandledRejection', heard)
  t.teardown(() => {
    process.removeListener('unhandledRejection', heard)
  })
  const late = async (): Promise<never> => {
    throw new Error('late')
  }
  const now = (): never => {
    throw new Error('at once')
  }
  for (const snapshots of [[late, now], [now, late], [late, late], [now, now]]) {
    const channels = snapshots.map((_, index) => channel(String(index)))
    const { received } = await start(
      snapshots.map((snapshot, index) => subscribe(channels[index]!, { projection: { snapshot } }))
    )
    await turn()
    t.equal(received.length, 1)
    t.strictSame(channels.map(({ feed }) => feed.readers), [0, 0])
  }
  t.strictSame(rejections, [])
})

t.test('a rejected event ends the subscriber with the error, before the log is read', async t => {
  const news = channel('news')
  const sink = new TestSink()
  const error = new Error('no good')
  news.publish(1)
  const subscriber = new Subscriber([
    subscribe(news, { projection: { start: 'earliest', snapshot: () => [{ data: 'bad' }, { data: 'more' }] } })
  ], sink)
  sink.write = event => {
    sink.received.push(event)
    subscriber.rejectEvent(error)
    subscriber.rejectEvent(new Error('again'))
    return false
  }
  subscriber.start(undefined)
  await turn()
  t.strictSame(sink.received, [{ data: 'bad', id: undefined }, error])
  t.equal(news.feed.readers, 0)
})

t.test('the signal of a subscription ends the subscriber: before the start, after it, and not after the end', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  t.strictSame((await start([subscribe(orders), subscribe(alerts, { signal: AbortSignal.abort() })])).received, [
    'done'
  ])
  t.strictSame([orders.feed.readers, alerts.feed.readers], [0, 0])

  const controller = new AbortController()
  const { received } = await start([subscribe(orders), subscribe(alerts, { signal: controller.signal })])
  controller.abort()
  orders.publish(1)
  await turn()
  t.strictSame(received.slice(2), ['done'])
  t.strictSame([orders.feed.readers, alerts.feed.readers], [0, 0])

  const late = new AbortController()
  const stopped = await start([subscribe(orders, { signal: late.signal })])
  stopped.subscriber.stop()
  stopped.subscriber.stop()
  late.abort()
  t.equal(stopped.received.length, 2)
})

t.test('a channel that is closed in this process ends the subscriber', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  const { received } = await start([subscribe(orders), subscribe(alerts)])
  orders.feed.close()
  alerts.feed.close()
  t.strictSame(received.slice(2), ['done'])
  t.equal(alerts.feed.readers, 0)
})

t.test('a sink without frames receives events as objects', async t => {
  const news = channel('news')
  const received: unknown[] = []
  const never = () => t.fail('it has not ended')
  const sink: SubscriberSink = {
    hasRoom: () => true,
    write: event => received.push(event) > 0,
    respondNoContent: never,
    channelEnded: never,
    fellBehind: never,
    complete: never,
    fail: never
  }
  new Subscriber([subscribe(news)], sink).start(undefined)
  news.publish(1)
  await turn()
  t.strictSame(received, [{ id: news.id(0) }, { event: 'message', data: 1, id: news.id(1) }])
})

t.test('a stream has up to 64 channels, each of them once', async t => {
  const channels = Array.from({ length: 65 }, (_, index) => channel(`channel ${index}`))
  const all = channels.map(each => subscribe(each))
  t.throws(() => new Subscriber(all, new TestSink()), {
    code: 'FST_SSE_CHANNELS',
    message: 'A stream must subscribe to 1 to 64 different channels, got 65'
  })
  t.throws(() => new Subscriber([all[0]!, all[1]!, subscribe(channels[0]!)], new TestSink()), {
    code: 'FST_SSE_CHANNELS',
    message: 'A stream must subscribe to 1 to 64 different channels, got one of them twice'
  })
  t.ok(channels.every(({ feed }) => feed.readers === 0))

  for (const { publish } of channels) publish(1)
  const first = await start(all.slice(0, 64))
  for (const { publish } of channels) publish(2)
  await turn()
  const back = await start(all.slice(0, 64), first.subscriber.lastEventId)
  t.strictSame(back.received, [LIVE, { id: channels.slice(0, 64).map(({ id }) => id(2)).join('.') }])
})

t.test('R9: `: replay` until the last channel has reached its end for the first time, and no mark afterwards', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  orders.publish(1)
  alerts.publish(1, 2)
  const sink = new TestSink()
  const id = (o: number, a: number): string => `${orders.id(o)}.${alerts.id(a)}`
  const subscriber = new Subscriber([subscribe(orders, { projection: { start: 'earliest' } }),
    subscribe(alerts, { projection: { start: 'earliest' } })], sink)
  // The start position, an order, and one alert.
  sink.room = 3
  subscriber.start(undefined)
  await turn()
  orders.publish(2)
  await turn()
  sink.room = 1
  subscriber.pull()
  await turn()
  sink.room = Infinity
  subscriber.pull()
  await turn()
  const [mark, startFrame, ...rest] = sink.received
  t.strictSame([mark, startFrame], [REPLAY, { id: id(0, 0) }])
  const marked = rest.indexOf(CAUGHT_UP)
  t.strictSame(rest.slice(0, marked).map(frame => /data: \d/.exec(String(frame))?.[0]).sort(), ['data: 1', 'data: 1',
    'data: 2', 'data: 2'])
  t.equal(marked, rest.length - 1)
  sink.room = 0
  orders.publish(3)
  await turn()
  sink.room = Infinity
  subscriber.pull()
  await turn()
  t.strictSame(sink.received.slice(marked + 3), [`id: ${id(3, 2)}\ndata: 3\n\n`],
    'a reader that falls behind later sends no mark')
})

t.test('R9: the mark waits for room, as an event does', async t => {
  const news = channel('news')
  news.publish(1)
  const sink = new TestSink()
  sink.room = 2
  const subscriber = new Subscriber([subscribe(news, { projection: { start: 'earliest' } })], sink)
  subscriber.start(undefined)
  await turn()
  news.publish(2)
  await turn()
  t.strictSame(sink.received, [REPLAY, { id: news.id(0) }, news.frame(1)])
  sink.room = Infinity
  subscriber.pull()
  await turn()
  t.strictSame(sink.received.slice(3), [news.frame(2), CAUGHT_UP])
})

t.test('R9: an ended channel has reached its end; if all have ended, nothing else is sent', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  orders.publish(1)
  orders.log.end()
  const { received } = await start([subscribe(alerts), subscribe(orders, { projection: { start: 'earliest' } })])
  t.strictSame(received, [REPLAY, { id: `${alerts.id(0)}.${orders.id(0)}` },
    `id: ${alerts.id(0)}.${orders.id(1)}\ndata: 1\n\n`, CAUGHT_UP])
})

t.test('R9: events published before the start was sent are history, and the mark comes with the first event of a snapshot', async t => {
  const news = channel('news')
  let settle!: (state: unknown) => void
  const { received } = await start([subscribe(news, {
    projection: {
      snapshot: () =>
        new Promise(resolve => {
          settle = resolve
        })
    }
  })])
  news.publish(1)
  settle([{ data: 'a' }, { data: 'b' }])
  await turn()
  t.strictSame(received, [REPLAY, { data: 'a', id: undefined }, { data: 'b', id: news.id(0) }, news.frame(1),
    CAUGHT_UP])
})

t.test('R9: the mark and the position are sent even if the first event, or every event, is rejected and skipped', async t => {
  const news = channel('news')
  for (const [refused, rest] of [
    [['a'], [LIVE, { data: 'b', id: news.id(0) }]],
    [['b'], [LIVE, { data: 'a', id: undefined }, { id: news.id(0) }]],
    [['a', 'b'], [LIVE, { id: news.id(0) }]]
  ] as const) {
    const sink = new TestSink()
    const taken = sink.write.bind(sink)
    sink.write = (event, before) =>
      !(refused as readonly unknown[]).includes((event as { data?: unknown }).data) && taken(event, before)
    const subscriber = new Subscriber([
      subscribe(news, { projection: { snapshot: () => [{ data: 'a' }, { data: 'b' }] } })
    ], sink)
    subscriber.start(undefined)
    t.strictSame(sink.received, rest)
    subscriber.stop()
  }
})

t.test('R9: an event advances one position by one, also with several channels; the position of dropped events is sent before it', async t => {
  const [orders, alerts] = [channel('orders', { slowConsumer: 'skip', history: { maxEvents: 3 } }), channel('alerts')]
  const [o, a] = [orders.log.now.epoch, alerts.log.now.epoch]
  const id = (orders: number, alerts: number): string => `${o}-${orders}.${a}-${alerts}`
  const even = { filter: ({ data }: { data: unknown }) => Number(data) % 2 === 0 }
  const { received, subscriber, sink } = await start([subscribe(orders, { projection: even }),
    subscribe(alerts, { projection: even })])
  alerts.publish(1)
  await turn()
  orders.publish(1, 2)
  await turn()
  alerts.publish(2, 3)
  await turn()
  sink.room = 0
  orders.publish(4, 6, 8, 10)
  await turn()
  sink.room = Infinity
  subscriber.pull()
  await turn()
  alerts.publish(5)
  await turn()
  orders.log.lose()
  await turn()
  t.strictSame(received.slice(2), [
    `${at(id(1, 1))}id: ${id(2, 1)}\ndata: 2\n\n`,
    `id: ${id(2, 2)}\ndata: 2\n\n`,
    { id: id(2, 3) },
    { event: 'sse.gap', data: { dropped: 4, channel: 'orders' }, id: id(6, 3) },
    { id: id(6, 4) },
    {
      event: 'sse.reset',
      data: { reason: 'unknown', oldest: 1, newest: 0, channel: 'orders' },
      id: `${orders.id(0)}.${a}-4`
    }
  ])
})

t.test('R9: a rejected event that is skipped counts as dropped; one that ends the stream does not', async t => {
  const news = channel('news')
  const sink = new TestSink()
  const taken = sink.write.bind(sink)
  let ends = ''
  sink.write = (event, before) => {
    const { data } = event as { data?: unknown }
    if (data === 'last') ends = subscriber.checkpoint()
    return data !== 'bad' && data !== 'last' && taken(event, before)
  }
  const map = ({ data }: { data: unknown }): unknown =>
    data === 1 ? undefined : { data: data === 2 ? 'bad' : data === 4 ? 'last' : data }
  const subscriber = new Subscriber([subscribe(news, { projection: { map } })], sink)
  subscriber.start(undefined)
  news.publish(1, 2, 3, 4)
  await turn()
  t.equal(ends, '', 'a reconnecting client receives it again')
  t.strictSame(sink.received.slice(2), [at(news.id(2)), { data: 3, id: news.id(3) }, { id: news.id(4) }],
    'at once: the lag of the client is unknown')
  t.equal(subscriber.checkpoint(), '')
  subscriber.stop()
})

/** A stream without a socket: records the bytes that it would write. */
class WireSink extends TestSink {
  text = ''
  events = 0
  outcome: unknown

  override writeFrames = (frames: string | FrameBatch, events: number): void => {
    this.room--
    this.events += events
    this.text += typeof frames === 'string' ? frames : frames.text
  }

  override write (event: unknown, before: string): boolean {
    this.room--
    const { data } = event as { data?: unknown }
    // Data that the route's schema rejects, on a route that skips it.
    if (data === 'bad') return false
    if (data !== undefined) this.events++
    this.text += before + freeContract.frame(event)
    return true
  }

  override respondNoContent (): void {
    this.outcome = 'nothing'
  }

  override channelEnded (): void {
    this.outcome = 'ended'
  }

  override fellBehind (): void {
    this.outcome = 'lagging'
  }

  override fail (error: unknown): void {
    this.outcome = error
  }
}

type Step = { do: 'publish' | 'grant' | 'turns', channel: number, count: number } | {
  do: 'leave' | 'lose'
  channel: number
}

const steps: fc.Arbitrary<Step[]> = fc.array(fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      channel: fc.nat(1),
      count: fc.integer({ min: 1, max: 12 })
    })
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('grant' as const, 'turns' as const),
      channel: fc.nat(1),
      count: fc.integer({ min: 0, max: 9 })
    })
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('leave' as const, 'lose' as const), channel: fc.nat(1) }) }
), { maxLength: 40 })

// Which of five consecutive numbers are for this subscriber, and which of these the route rejects.
const projections = fc.record({
  selected: fc.integer({ min: 0, max: 31 }),
  bad: fc.integer({ min: 0, max: 31 }),
  way: fc.constantFrom('plain', 'filter', 'map', 'both'),
  start: fc.constantFrom('latest' as const, 'earliest' as const),
  state: fc.boolean()
})
type Way = typeof projections extends fc.Arbitrary<infer W> ? W : never
const has = (bits: number, n: unknown): boolean => (bits & (1 << (Number(n) % 5))) > 0
const passes = ({ selected, bad, way }: Way, n: number): boolean =>
  way === 'plain' || (has(selected, n) && (way === 'filter' || !has(bad, n)))

function selectionOf ({ selected, bad, way, start, state }: Way): Partial<ResolvedSubscription['projection']> {
  const filter = ({ data }: { data: unknown }): boolean => has(selected, data)
  const map = ({ data }: { data: unknown }): unknown =>
    has(selected, data) ? { data: has(bad, data) ? 'bad' : data } : undefined
  return {
    start,
    ...((way === 'filter' || way === 'both') && { filter }),
    ...((way === 'map' || way === 'both') && { map }),
    ...(state && { snapshot: () => [{ event: 'state', data: 1 }, { event: 'state', data: 2 }] })
  }
}

for (const slow of ['disconnect', 'skip', 'snapshot', 'latest'] as const) {
  t.test(`R9: '${slow}': with any filters and maps, any readers and logs, a client that counts can prove that nothing is missing`, async t => {
    await fc.assert(
      fc.asyncProperty(steps, fc.array(projections, { minLength: 1, maxLength: 2 }), fc.integer({ min: 1, max: 30 }),
        fc.option(fc.integer()), async (steps, ways, events, seed) => {
          const feeds = ways.map((_, index) => {
            const log = new RemoteLog({ maxEvents: events }, seed === null ? undefined : dice(seed + index))
            const latest = ({ data }: { data: unknown }): unknown => Number(data) % 3
            return {
              log,
              feed: new Feed(
                resolveChannel(`channel ${index}`, {
                  slowConsumer: slow === 'latest' ? { compactBy: latest } : slow,
                  history: { maxEvents: events }
                }),
                log,
                logger
              )
            }
          })
          /** The published numbers by epoch: the number at each offset. */
          const truth = new Map<string, number[]>()
          const underWay: unknown[] = []
          let number = 0
          const publish = async (log: RemoteLog, n: number): Promise<void> => {
            const { epoch, offset } = await log.append(numbered(n))
            truth.set(epoch, Object.assign(truth.get(epoch) ?? [], { [offset]: n }))
          }
          const streams: Array<{ sink: WireSink, subscriber: Subscriber, asked: string | undefined }> = []
          const connect = (asked: string | undefined): void => {
            const sink = new WireSink()
            const subscriber = new Subscriber(
              ways.map((way, index) => ({
                feed: feeds[index]!.feed,
                after: undefined,
                signal: undefined,
                projection: { ...ALL, ...selectionOf(way) }
              })
              ),
              sink
            )
            streams.push({ sink, subscriber, asked })
            subscriber.start(asked)
          }
          connect(undefined)
          for (const step of steps) {
            const { log } = feeds[step.channel % feeds.length]!
            const { sink, subscriber } = streams.at(-1)!
            if (step.do === 'publish') {
              for (let count = step.count; count > 0; count--) underWay.push(publish(log, ++number))
            } else if (step.do === 'grant') {
              sink.room = step.count
              subscriber.pull()
            } else if (step.do === 'turns') {
              for (let count = step.count; count > 0; count--) await turn()
            } else if (step.do === 'lose') {
              underWay.push(log.lose())
            } else {
              subscriber.stop()
              connect(new Track(sink.text).id || undefined)
            }
          }
          await Promise.all(underWay)
          const { sink, subscriber } = streams.at(-1)!
          sink.room = Infinity
          subscriber.pull()
          for (const { log } of feeds) await log.end()
          await within('the end', (async () => {
            while (sink.outcome === undefined) {
              await turn()
              subscriber.pull()
            }
          })())
          for (const { sink, asked } of streams) {
            const track = new Track(sink.text + (sink === streams.at(-1)!.sink ? subscriber.checkpoint() : ''))
            if (track.first === undefined) continue
            const reports = track.events.length + (sink.text.match(/^event: (state|sse\.(?:reset|gap))$/gm)?.length ?? 0)
            if (sink.events !== reports) throw new Error(`${sink.events} events were counted, and ${reports} received`)
            if (asked !== undefined && track.resets === 0 && !sink.text.includes('event: sse.gap') &&
            track.first !== asked) throw new Error(`it asked for ${asked} and got ${track.first}`)
            // Every event for the subscriber was received, or counted as dropped.
            const begun = new Map(track.first.split('.').map(part => part.split('-') as [string, string]))
            let missing = 0
            for (const [index, { log }] of feeds.entries()) {
              for (const [epoch, reached] of track.position) {
                const first = begun.get(epoch)
                if (first === undefined || epoch !== log.now.epoch) continue
                const received = new Map(track.events.filter(each =>
                  each.epoch === epoch
                ).map(({ offset, data }) => [offset, data]))
                for (let offset = Number(first) + 1; offset <= reached; offset++) {
                  const n = truth.get(epoch)![offset]!
                  const selected = passes(ways[index]!, n)
                  if (received.has(offset) && (!selected || received.get(offset) !== String(n))) {
                    throw new Error(`${received.get(offset)} received at ${offset}, where ${n} was`)
                  }
                  // A later event of its key replaces an event that is not received.
                  const merged = slow === 'latest' && truth.get(epoch)!.slice(offset + 1).some(m => m % 3 === n % 3)
                  if (selected && !received.has(offset) && !merged) missing++
                }
              }
            }
            if (missing > track.dropped) throw new Error(`${missing} are missing, and ${track.dropped} were dropped`)
          }
        }),
      { numRuns: 150 }
    )
    t.pass('for any interleaving')
  })
}

const histories = fc.oneof(
  fc.record({ maxEvents: fc.integer({ min: 0, max: 12 }) }),
  fc.record({ maxBytes: fc.integer({ min: 0, max: 120 }) }),
  fc.record({ maxAge: fc.integer({ min: 1, max: 7_999 }) })
)

t.test('R3: a client that has all of its events resumes after any number of events for others', async t => {
  const turns = fc.array(
    fc.record({
      channel: fc.nat(1),
      count: fc.integer({ min: 1, max: 30 }),
      selected: fc.nat(40),
      size: fc.integer({ min: 0, max: 30 })
    }),
    { minLength: 1, maxLength: 12 }
  )
  await fc.assert(
    fc.asyncProperty(turns, fc.array(histories, { minLength: 1, maxLength: 2 }), fc.boolean(),
      async (turns, histories, maps) => {
        const channels = histories.map((history, index) => channel(`channel ${index}`, { history }))
        const wants = ({ data }: { data: unknown }): boolean => String(data).startsWith('selected')
        const projection = maps
          ? { map: (event: { data: unknown }) => wants(event) ? { data: event.data } : undefined }
          : { filter: wants }
        const sink = new WireSink()
        const subscriber = new Subscriber(channels.map(each => subscribe(each, { projection })), sink)
        subscriber.start(undefined)
        for (const { channel, count, selected, size } of turns) {
          const { log } = channels[channel % channels.length]!
          for (let n = 0; n < count; n++) {
            log.append({
              event: 'message',
              data: `${n === selected ? 'selected' : ''}${'€'.repeat(size)}`,
              json: false
            })
          }
          await turn()
          const reports = new Track(sink.text).position
          for (const [index, { log: { now } }] of channels.entries()) {
            if (reports.get(now.epoch)! < now.oldest - 1) {
              throw new Error(
                `${now.oldest} is the oldest, and ${reports.get(now.epoch)} was reports`
              )
            }
            // Short-lived events are evicted before the next tick.
            if ('age' in histories[index]! && reports.get(now.epoch) !== now.newest) {
              throw new Error(
                'the position was not reported before its events expired'
              )
            }
          }
        }
        subscriber.stop()
      }),
    { numRuns: 300 }
  )
  t.pass('for any bounds')
})

t.test('members join when the channels have answered and the stream is open, and leave once with its stop', async t => {
  const news = channel('news', {}, dice(3))
  await news.publish(1)
  const rows: Array<[isOpen: boolean | undefined, steps: Array<'answer' | 'open' | 'stop'>, joined: number]> = [
    [undefined, ['answer'], 1],
    [false, ['answer'], 0],
    [false, ['open'], 0],
    [false, ['answer', 'open'], 1],
    [false, ['open', 'answer'], 1],
    [false, ['answer', 'stop', 'open'], 0],
    [false, ['open', 'stop', 'answer'], 0]
  ]
  for (const [isOpen, steps, expected] of rows) {
    const sink = Object.assign(new TestSink(), { isOpen })
    const seen: string[] = []
    const join = () => {
      seen.push('join')
      return () => { seen.push('leave') }
    }
    const subscriber = new Subscriber([subscribe(news, {}), subscribe(channel('other'), { join })]
      , sink)
    subscriber.start(undefined)
    for (const step of steps) {
      if (step === 'stop') subscriber.stop()
      else if (step === 'answer') await new Promise(resolve => setTimeout(resolve, 20))
      else {
        sink.isOpen = true
        subscriber.opened()
      }
    }
    t.strictSame(seen, expected === 1 ? ['join'] : [], steps.join())
    subscriber.stop()
    subscriber.stop()
    t.strictSame(seen, expected === 1 ? ['join', 'leave'] : [], steps.join())
  }
})

t.test('a member that cannot join fails the subscriber', async t => {
  const sink = new TestSink()
  new Subscriber([subscribe(channel('news'), { join: () => { throw new Error('no log') } })], sink).start(undefined)
  t.match(sink.received.at(-1), /no log/)
})
