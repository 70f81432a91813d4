import { setImmediate as turn } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import fc from 'fast-check'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import type { FrameBatch } from '../../lib/channel/frame-batch.ts'
import { Feed } from '../../lib/channel/feed.ts'
import { Subscriber, resolveSubscriptions, type ResolvedSubscription } from '../../lib/channel/subscriber.ts'
import type { SubscriberSink } from '../../lib/channel/subscriber-context.ts'
import { resolveChannel, type ChannelOptions } from '../../lib/channel/settings.ts'
import { compileContract, freeContract } from '../../lib/contract/contract.ts'
import type { EventMap } from '../../lib/contract/event-types.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import { kSubscribed } from '../../lib/source/source.ts'
import { ALL } from '../setup/party.ts'
import { dice, numbered, RemoteLog, type Dice } from '../setup/remote-log.ts'
import { Track } from '../setup/track.ts'
import { within } from '../setup/within.ts'

const logger = { error: () => {} } as unknown as FastifyBaseLogger

interface TestChannel { log: RemoteLog, feed: Feed, publish: (...numbers: number[]) => Promise<unknown>, id: (offset: number) => string, frame: (n: number) => string }

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

const follow = ({ feed }: TestChannel, given: Partial<Omit<ResolvedSubscription, 'feed' | 'selection'>> & { selection?: Partial<ResolvedSubscription['projection']> } = {}): ResolvedSubscription => ({
  feed, after: undefined, signal: undefined, ...given, projection: { ...ALL, ...given.selection }
})

const LIVE = ': live\n'
const REPLAY = ': replay\n'
/** What says that the history is over. */
const CAUGHT_UP = ': live\n\n'
/** A position without an event. */
const at = (id: string): string => `event: sse.position\nid: ${id}\ndata: \n\n`

/** What came out, in order: frames, events as objects with what goes in front of them, and how it ended. */
class TestOutlet implements SubscriberSink {
  readonly given: unknown[] = []
  room = Infinity
  hasRoom (): boolean { return this.room > 0 }

  writeFrames = (frames: string | FrameBatch, events: number): void => {
    this.room--
    const text = typeof frames === 'string' ? frames : frames.text
    if (events !== text.split('\n\n').filter(frame => frame.includes('data: ') && !frame.includes('event: sse.position')).length) throw new Error(`${events} events were announced`)
    this.given.push(text)
  }

  write (event: unknown, before: string): boolean {
    this.room--
    this.given.push(...(before === '' ? [] : [before]), event)
    return true
  }

  respondNoContent (): void { this.given.push('nothing') }
  channelEnded (): void { this.given.push('ended') }
  fellBehind (channel: string): void { this.given.push(`lagging ${channel}`) }
  complete (): void { this.given.push('done') }
  fail (error: unknown): void { this.given.push(error) }
}

async function start (subscribed: ResolvedSubscription[], lastEventId?: string): Promise<{ following: Subscriber, outlet: TestOutlet, given: unknown[] }> {
  const outlet = new TestOutlet()
  const following = new Subscriber(subscribed, outlet)
  following.start(lastEventId)
  await turn()
  return { following, outlet, given: outlet.given }
}

t.test('a stream begins with its position, and a newcomer goes on with what comes next', async t => {
  const news = channel('news')
  news.publish(1)
  const { given, following } = await start([follow(news)])
  news.publish(2)
  await turn()
  t.strictSame(given, [LIVE, { id: news.id(1) }, news.frame(2)])
  t.equal(following.lastEventId, news.id(2))
})

t.test('R2: where to begin: Last-Event-ID before after, and an empty id is none', async t => {
  const news = channel('news')
  news.publish(1, 2, 3)
  const cases: Array<[string | undefined, string | undefined, number]> = [
    [undefined, undefined, 3], ['', undefined, 3], [undefined, '', 3], [news.id(1), undefined, 1], [undefined, news.id(2), 2], [news.id(1), news.id(2), 1], ['', news.id(2), 2]
  ]
  for (const [lastEventId, after, position] of cases) {
    const { given, following } = await start([follow(news, { after })], lastEventId)
    const history = [1, 2, 3].slice(position).map(news.frame)
    t.strictSame(given, [...(history.length === 0 ? [LIVE, { id: news.id(3) }] : [REPLAY, { id: news.id(position) }, ...history, CAUGHT_UP])], `${lastEventId} ${after}`)
    following.stop()
  }
})

t.test('R3: what cannot be honoured is sse.reset first, with why and from where', async t => {
  const news = channel('news', { history: { maxEvents: 2 } })
  news.publish(1, 2, 3)
  const cases: Array<[string, string]> = [['nonsense', 'malformed'], ['x'.repeat(1_048_576), 'malformed'], ['f-1', 'unknown'], [news.id(0), 'evicted'], [news.id(4), 'ahead']]
  for (const [id, reason] of cases) {
    for (const way of ['Last-Event-ID', 'after']) {
      const { given, following } = await start([follow(news, { after: way === 'after' ? id : undefined })], way === 'after' ? undefined : id)
      t.strictSame(given, [LIVE, { event: 'sse.reset', data: { reason, oldest: 2, newest: 3 }, id: news.id(3) }])
      following.stop()
    }
  }
})

t.test('the position comes with the last of what stands before the log, and with nothing before', async t => {
  const news = channel('news')
  news.publish(1)
  const snapshot = (): unknown => [{ data: 'a', id: 'mine' }, 'no event', { data: 'b' }]
  const { given } = await start([follow(news, { selection: { snapshot } })], 'nonsense')
  t.strictSame(given, [
    LIVE, { event: 'sse.reset', data: { reason: 'malformed', oldest: 1, newest: 1 }, id: undefined }, { data: 'a', id: undefined }, 'no event', { data: 'b', id: news.id(1) }
  ])
  t.strictSame((await start([follow(news, { selection: { snapshot: () => 'no event' } })])).given, [LIVE, 'no event'])
})

t.test('R6: several channels have one id, and one id brings all of them back', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  orders.publish(1)
  const { given, following } = await start([follow(orders), follow(alerts)])
  alerts.publish(1)
  await turn()
  orders.publish(2)
  await turn()
  t.strictSame(given, [
    LIVE,
    { id: `${orders.id(1)}.${alerts.id(0)}` },
    `id: ${orders.id(1)}.${alerts.id(1)}\ndata: 1\n\n`,
    `id: ${orders.id(2)}.${alerts.id(1)}\ndata: 2\n\n`
  ])
  following.stop()
  orders.publish(3)
  alerts.publish(2)
  // In another order, and with a channel that is not followed any more.
  const back = await start([follow(orders), follow(alerts)], `gone-7.${alerts.id(1)}.${orders.id(2)}`)
  t.strictSame(back.given, [
    REPLAY,
    { id: `${orders.id(2)}.${alerts.id(1)}` },
    `id: ${orders.id(3)}.${alerts.id(1)}\ndata: 3\n\n`,
    `id: ${orders.id(3)}.${alerts.id(2)}\ndata: 2\n\n`,
    CAUGHT_UP
  ])
})

t.test('R6: an id of another channel opens nothing there, and what is reset says which channel', async t => {
  const [orders, secrets] = [channel('orders'), channel('secrets')]
  orders.publish(1)
  secrets.publish(1, 2)
  const { given } = await start([follow(orders)], secrets.id(0))
  t.strictSame(given, [LIVE, { event: 'sse.reset', data: { reason: 'unknown', oldest: 1, newest: 1 }, id: orders.id(1) }])
  const two = await start([follow(orders), follow(secrets)], `${orders.id(0)}.other-2`)
  const id = `${orders.id(0)}.${secrets.id(2)}`
  t.strictSame(two.given, [
    REPLAY,
    { event: 'sse.reset', data: { reason: 'unknown', oldest: 1, newest: 2, channel: 'secrets' }, id },
    `id: ${orders.id(1)}.${secrets.id(2)}\ndata: 1\n\n`,
    CAUGHT_UP
  ])
})

for (const late of [false, true]) {
  t.test(`R3: a channel that the position does not claim is new to the client; a part of it that is for none of the channels may claim any${late ? ', with logs that answer late' : ''}`, async t => {
    const options = late ? [1, 2, 3].map(dice) : []
    const [orders, alerts, notes] = ['orders', 'alerts', 'notes'].map((name, index) => channel(name, {}, options[index]))
    for (const each of [orders!, alerts!, notes!]) await each.publish(1, 2)
    const [o, a, n] = [orders!, alerts!, notes!]
    const opened = async (subscribed: ResolvedSubscription[], asked: string, until: string): Promise<unknown[]> => {
      const { given, following } = await start(subscribed, asked)
      while (!given.some(each => (each as { id?: string }).id === until)) await turn()
      following.stop()
      return given.slice(0, 1 + given.findIndex(each => (each as { id?: string }).id === until))
    }
    const grown = `${o.id(1)}.${a.id(2)}`
    const reset = (channel: string, reason = 'unknown'): object => ({ event: 'sse.reset', data: { reason, oldest: 1, newest: 2, channel } })
    t.strictSame(await opened([follow(o), follow(a)], o.id(1), grown), [REPLAY, { id: grown }], 'grown')
    t.strictSame(await opened([follow(o), follow(a)], `${o.id(1)}.gone-5`, grown), [REPLAY, { ...reset('alerts'), id: grown }], 'one for another, or its history of before')
    const both = `${o.id(1)}.${a.id(2)}.${n.id(2)}`
    t.strictSame(await opened([follow(o), follow(a), follow(n)], `${o.id(1)}.gone-5`, both), [REPLAY, { ...reset('alerts'), id: undefined }, { ...reset('notes'), id: both }], 'shrunk and grown at once')
    t.strictSame(await opened([follow(o), follow(a)], `${o.id(1)}.${a.id(2)}.${n.id(2)}`, grown), [REPLAY, { id: grown }], 'shrunk')
    t.strictSame(await opened([follow(o), follow(a)], o.id(3), `${o.id(2)}.${a.id(2)}`), [LIVE, { ...reset('orders', 'ahead'), id: `${o.id(2)}.${a.id(2)}` }], 'what is claimed and cannot be honoured is none the less')
    t.strictSame(await opened([follow(o), follow(a)], '?', `${o.id(2)}.${a.id(2)}`), [LIVE, { ...reset('orders', 'malformed'), id: undefined }, { ...reset('alerts', 'malformed'), id: `${o.id(2)}.${a.id(2)}` }], 'what is no position may claim any')
    t.strictSame(await opened([follow(a)], o.id(1), a.id(2)), [LIVE, { event: 'sse.reset', data: { reason: 'unknown', oldest: 1, newest: 2 }, id: a.id(2) }], 'alone')
    const first = `${o.id(1)}.${a.id(0)}`
    t.strictSame(await opened([follow(o), follow(a, { selection: { start: 'earliest' } })], o.id(1), first), [REPLAY, { id: first }], 'it begins where its subscription says')
    t.strictSame(await opened([follow(o), follow(a, { selection: { snapshot: () => ({ data: 'all' }) } })], o.id(1), grown), [REPLAY, { data: 'all', id: grown }], 'with the state')
    await o.log.end()
    t.strictSame(await opened([follow(o), follow(a)], o.id(2), `${o.id(2)}.${a.id(2)}`), [LIVE, { id: `${o.id(2)}.${a.id(2)}` }], 'the one that it had is over')
    t.equal(o.feed.readers + a.feed.readers + n.feed.readers, 0)
  })
}

t.test('R3: a stream of 63 channels may come back for 64', async t => {
  const all = Array.from({ length: 64 }, (_, index) => channel(`channel ${index}`))
  const had = all.slice(0, 63).map(({ id }) => id(0)).join('.')
  const { given } = await start(all.map(each => follow(each)), had)
  t.strictSame(given, [LIVE, { id: `${had}.${all[63]!.id(0)}` }])
})

t.test('R6: where a channel begins that a position does not claim, its snapshot may end it all', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  const controller = new AbortController()
  const { given } = await start([
    follow(orders, { signal: controller.signal, selection: { snapshot: () => controller.abort() } }),
    follow(alerts, { selection: { snapshot: () => t.fail('nobody asks for it') } })
  ])
  t.strictSame(given, ['done'])
  t.strictSame([orders.feed.readers, alerts.feed.readers], [0, 0])
})

t.test('R5: a gap in company says of which channel, with the id of all', async t => {
  const [orders, alerts] = [channel('orders', { slowConsumer: 'skip', history: { maxEvents: 1 } }), channel('alerts')]
  const { given, following, outlet } = await start([follow(orders), follow(alerts)])
  outlet.room = 0
  orders.publish(1, 2, 3)
  await turn()
  outlet.room = Infinity
  following.pull()
  await turn()
  t.strictSame(given.slice(2), [{ event: 'sse.gap', data: { dropped: 3, channel: 'orders' }, id: `${orders.id(3)}.${alerts.id(0)}` }])
})

t.test('R3: a channel that begins anew announces itself alone, with the id of all', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  alerts.publish(1)
  const { given } = await start([follow(orders), follow(alerts)])
  orders.log.lose()
  await turn()
  alerts.publish(2)
  await turn()
  const id = `${orders.id(0)}.${alerts.id(1)}`
  t.strictSame(given.slice(2), [
    { event: 'sse.reset', data: { reason: 'unknown', oldest: 1, newest: 0, channel: 'orders' }, id },
    `id: ${orders.id(0)}.${alerts.id(2)}\ndata: 2\n\n`
  ])
})

t.test('R7: it ends when the last of its channels has', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  const { given } = await start([follow(orders), follow(alerts)])
  orders.log.end()
  await turn()
  alerts.publish(1)
  await turn()
  alerts.log.end()
  await turn()
  t.strictSame(given.slice(2), [`id: ${orders.id(0)}.${alerts.id(1)}\ndata: 1\n\n`, 'ended'])
  t.strictSame([orders.feed.readers, alerts.feed.readers], [0, 0])
})

t.test('R7: where there is nothing to come from any of them, it says so and nothing else', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  orders.publish(1)
  orders.log.end()
  t.strictSame((await start([follow(orders)], orders.id(1))).given, ['nothing'])
  t.strictSame((await start([follow(orders)])).given, ['nothing'])
  t.strictSame((await start([follow(orders)], orders.id(0))).given, [REPLAY, { id: orders.id(0) }, orders.frame(1), 'ended'])
  const both = await start([follow(orders), follow(alerts)], orders.id(1))
  t.strictSame(both.given, [LIVE, { id: `${orders.id(1)}.${alerts.id(0)}` }])
  t.strictSame([orders.feed.readers, alerts.feed.readers], [0, 1])
})

t.test('R5: one that falls off the history ends all of it', async t => {
  const [orders, alerts] = [channel('orders', { history: { maxEvents: 1 } }), channel('alerts')]
  const { given, following, outlet } = await start([follow(orders), follow(alerts)])
  outlet.room = 0
  orders.publish(1, 2)
  alerts.publish(1)
  await turn()
  outlet.room = Infinity
  following.pull()
  await turn()
  alerts.publish(2)
  await turn()
  t.equal(given.at(-1), 'lagging orders')
  t.strictSame(given.filter(each => String(each).includes('data: 2')), [])
  t.strictSame([orders.feed.readers, alerts.feed.readers], [0, 0])
})

t.test('R5: a client that has room for one event at a time gets its turn of every channel', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  const { given, following, outlet } = await start([follow(orders), follow(alerts)])
  outlet.room = 0
  orders.publish(1, 2, 3, 4)
  alerts.publish(11, 12)
  for (let n = 0; n < 4; n++) {
    await turn()
    outlet.room = 1
    following.pull()
  }
  const data = given.slice(2).map(frame => /data: (\d+)/.exec(String(frame))?.[1])
  t.strictSame(data.filter(n => Number(n) < 10), ['1', '2'])
  t.strictSame(data.filter(n => Number(n) > 10), ['11', '12'])
})

t.test('R3: a position that moved without an event is sent before the dropped events leave the history by age', async t => {
  const [orders, alerts, notes] = [channel('orders', { history: { maxAge: 40_000 } }), channel('alerts', { history: { maxAge: Infinity } }), channel('notes', { history: { maxAge: 60_000 } })]
  const none = { selection: { filter: () => false } }
  const { given, following } = await start([follow(orders, none), follow(alerts, none), follow(notes, none)])
  following.tick(1_000)
  notes.publish(1)
  await turn()
  following.tick(20_000)
  t.equal(given.length, 2)
  following.tick(21_000)
  t.strictSame(given.slice(2), [{ id: `${orders.id(0)}.${alerts.id(0)}.${notes.id(1)}` }], 'half of the shortest age after the last beat at which it was told')
  for (const time of [22_000, 90_000]) following.tick(time)
  orders.publish(1)
  await turn()
  following.tick(100_000)
  t.equal(given.length, 3)
  following.tick(110_000)
  t.strictSame(given.slice(3), [{ id: `${orders.id(1)}.${alerts.id(0)}.${notes.id(1)}` }])
  const endless = await start([follow(alerts, none)])
  alerts.publish(1)
  await turn()
  for (const time of [0, 1e12]) endless.following.tick(time)
  t.equal(endless.given.length, 2, 'without an age there is no hurry')
})

t.test('a position that moved without an event is told once, when it is asked for', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  const { given, following } = await start([follow(orders, { selection: { filter: () => false } }), follow(alerts)])
  t.equal(following.checkpoint(), '')
  orders.publish(1, 2)
  await turn()
  t.equal(following.checkpoint(), at(`${orders.id(2)}.${alerts.id(0)}`))
  t.equal(following.checkpoint(), '')
  t.equal(given.length, 2)
})

t.test('before it has begun there is no position to tell', async t => {
  const news = channel('news')
  const outlet = new TestOutlet()
  const following = new Subscriber([follow(news, { selection: { snapshot: () => new Promise(() => {}) } })], outlet)
  t.equal(following.lastEventId, undefined)
  following.start(undefined)
  following.pull()
  t.equal(following.lastEventId, undefined)
  t.equal(following.checkpoint(), '')
  following.stop()
  t.equal(news.feed.readers, 0)
})

t.test('L3: a snapshot that comes after the end goes nowhere', async t => {
  const news = channel('news')
  for (const outcome of ['state', 'failure']) {
    let settle!: () => void
    const outlet = new TestOutlet()
    const following = new Subscriber([follow(news, { selection: { snapshot: () => new Promise((resolve, reject) => { settle = outcome === 'state' ? () => resolve({ data: 1 }) : () => reject(new Error('late')) }) } })], outlet)
    following.start(undefined)
    following.stop()
    settle()
    await turn()
    t.strictSame(outlet.given, [])
  }
})

t.test('R2: what is published while a snapshot is on its way comes after it', async t => {
  const news = channel('news')
  let settle!: (state: unknown) => void
  const { given } = await start([follow(news, { selection: { snapshot: () => new Promise(resolve => { settle = resolve }) } })])
  news.publish(1, 2)
  await turn()
  t.strictSame(given, [])
  settle({ data: 'state', id: news.id(1) })
  await turn()
  t.strictSame(given, [REPLAY, { data: 'state', id: news.id(1) }, news.frame(2), CAUGHT_UP])
})

for (const [way, snapshot] of Object.entries({
  'at once': () => { throw new Error('no state') },
  late: async () => { throw new Error('no state') }
})) {
  t.test(`a snapshot that throws ${way} ends its subscriber alone`, async t => {
    const news = channel('news')
    const [other, { given }] = [await start([follow(news)]), await start([follow(news, { selection: { snapshot } })])]
    t.match(given, [{ message: 'no state' }])
    t.equal(given.length, 1)
    t.equal(news.feed.readers, 1)
    news.publish(1)
    await turn()
    t.strictSame(other.given, [LIVE, { id: news.id(0) }, news.frame(1)])
  })
}

t.test('several snapshots that fail, at once and late, end their subscriber with one error, and nothing else', async t => {
  const rejections: unknown[] = []
  const heard = (reason: unknown): void => { rejections.push(reason) }
  process.on('unhandledRejection', heard)
  t.teardown(() => { process.removeListener('unhandledRejection', heard) })
  const late = async (): Promise<never> => { throw new Error('late') }
  const now = (): never => { throw new Error('at once') }
  for (const snapshots of [[late, now], [now, late], [late, late], [now, now]]) {
    const channels = snapshots.map((_, index) => channel(String(index)))
    const { given } = await start(snapshots.map((snapshot, index) => follow(channels[index]!, { selection: { snapshot } })))
    await turn()
    t.equal(given.length, 1)
    t.strictSame(channels.map(({ feed }) => feed.readers), [0, 0])
  }
  t.strictSame(rejections, [])
})

t.test('an event that is refused ends it with the error, before the log is read', async t => {
  const news = channel('news')
  const outlet = new TestOutlet()
  const error = new Error('no good')
  news.publish(1)
  const following = new Subscriber([follow(news, { selection: { start: 'earliest', snapshot: () => [{ data: 'bad' }, { data: 'more' }] } })], outlet)
  outlet.write = event => {
    outlet.given.push(event)
    following.rejectEvent(error)
    following.rejectEvent(new Error('again'))
    return false
  }
  following.start(undefined)
  await turn()
  t.strictSame(outlet.given, [{ data: 'bad', id: undefined }, error])
  t.equal(news.feed.readers, 0)
})

t.test('its own signal ends it: before, in the middle, and not after', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  t.strictSame((await start([follow(orders), follow(alerts, { signal: AbortSignal.abort() })])).given, ['done'])
  t.strictSame([orders.feed.readers, alerts.feed.readers], [0, 0])

  const controller = new AbortController()
  const { given } = await start([follow(orders), follow(alerts, { signal: controller.signal })])
  controller.abort()
  orders.publish(1)
  await turn()
  t.strictSame(given.slice(2), ['done'])
  t.strictSame([orders.feed.readers, alerts.feed.readers], [0, 0])

  const late = new AbortController()
  const stopped = await start([follow(orders, { signal: late.signal })])
  stopped.following.stop()
  stopped.following.stop()
  late.abort()
  t.equal(stopped.given.length, 2)
})

t.test('a channel that is closed in this process ends it', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  const { given } = await start([follow(orders), follow(alerts)])
  orders.feed.close()
  alerts.feed.close()
  t.strictSame(given.slice(2), ['done'])
  t.equal(alerts.feed.readers, 0)
})

t.test('an outlet that takes no frames gets events as objects', async t => {
  const news = channel('news')
  const given: unknown[] = []
  const never = () => t.fail('it is not over')
  const outlet: SubscriberSink = { hasRoom: () => true, write: event => given.push(event) > 0, respondNoContent: never, channelEnded: never, fellBehind: never, complete: never, fail: never }
  new Subscriber([follow(news)], outlet).start(undefined)
  news.publish(1)
  await turn()
  t.strictSame(given, [{ id: news.id(0) }, { event: 'message', data: 1, id: news.id(1) }])
})

t.test('a stream follows up to 64 channels, each of them once', async t => {
  const channels = Array.from({ length: 65 }, (_, index) => channel(`channel ${index}`))
  const all = channels.map(each => follow(each))
  t.throws(() => new Subscriber(all, new TestOutlet()), { code: 'FST_SSE_CHANNELS', message: 'A stream must subscribe to 1 to 64 different channels, got 65' })
  t.throws(() => new Subscriber([all[0]!, all[1]!, follow(channels[0]!)], new TestOutlet()), { code: 'FST_SSE_CHANNELS', message: 'A stream must subscribe to 1 to 64 different channels, got one of them twice' })
  t.ok(channels.every(({ feed }) => feed.readers === 0))

  for (const { publish } of channels) publish(1)
  const first = await start(all.slice(0, 64))
  for (const { publish } of channels) publish(2)
  await turn()
  const back = await start(all.slice(0, 64), first.following.lastEventId)
  t.strictSame(back.given, [LIVE, { id: channels.slice(0, 64).map(({ id }) => id(2)).join('.') }])
})

t.test('C4: a route serves channels with its own schemas, or what a map makes of others', async t => {
  const events: EventMap = { tick: Type.Number(), message: Type.String() }
  const contract = compileContract(events, 'GET /', schemaCompiler({}))
  const others: Array<[EventMap | undefined, boolean]> = [[events, true], [{ tick: events.tick! }, true], [{ tick: Type.Number() }, false], [{ ...events, more: Type.Null() }, false], [undefined, false]]
  for (const [map, fits] of others) {
    const { feed } = channel('news', { events: map })
    const followable = { [kSubscribed]: { feed, projection: ALL, after: undefined, signal: undefined } }
    if (fits) t.equal(resolveSubscriptions([followable], contract)[0], followable[kSubscribed])
    else t.throws(() => resolveSubscriptions([followable], contract), { code: 'FST_SSE_CHANNEL_EVENTS', message: /'news'/ })
    t.equal(resolveSubscriptions([followable], freeContract).length, 1)
    t.equal(resolveSubscriptions([{ [kSubscribed]: { feed, projection: { ...ALL, map: () => undefined } } }], contract).length, 1)
  }
})

t.test('R9: `: replay` until the last of its channels has come to its end, for the first time, and nothing after that', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  orders.publish(1)
  alerts.publish(1, 2)
  const outlet = new TestOutlet()
  const id = (o: number, a: number): string => `${orders.id(o)}.${alerts.id(a)}`
  const following = new Subscriber([follow(orders, { selection: { start: 'earliest' } }), follow(alerts, { selection: { start: 'earliest' } })], outlet)
  // The opening, an order, and one alert.
  outlet.room = 3
  following.start(undefined)
  await turn()
  orders.publish(2)
  await turn()
  outlet.room = 1
  following.pull()
  await turn()
  outlet.room = Infinity
  following.pull()
  await turn()
  const [mark, opening, ...rest] = outlet.given
  t.strictSame([mark, opening], [REPLAY, { id: id(0, 0) }])
  const marked = rest.indexOf(CAUGHT_UP)
  t.strictSame(rest.slice(0, marked).map(frame => /data: \d/.exec(String(frame))?.[0]).sort(), ['data: 1', 'data: 1', 'data: 2', 'data: 2'])
  t.equal(marked, rest.length - 1)
  outlet.room = 0
  orders.publish(3)
  await turn()
  outlet.room = Infinity
  following.pull()
  await turn()
  t.strictSame(outlet.given.slice(marked + 3), [`id: ${id(3, 2)}\ndata: 3\n\n`], 'who falls behind later says nothing')
})

t.test('R9: the mark waits for room, as an event does', async t => {
  const news = channel('news')
  news.publish(1)
  const outlet = new TestOutlet()
  outlet.room = 2
  const following = new Subscriber([follow(news, { selection: { start: 'earliest' } })], outlet)
  following.start(undefined)
  await turn()
  news.publish(2)
  await turn()
  t.strictSame(outlet.given, [REPLAY, { id: news.id(0) }, news.frame(1)])
  outlet.room = Infinity
  following.pull()
  await turn()
  t.strictSame(outlet.given.slice(3), [news.frame(2), CAUGHT_UP])
})

t.test('R9: a channel that is over has come to its end; where all are, that is all there is to say', async t => {
  const [orders, alerts] = [channel('orders'), channel('alerts')]
  orders.publish(1)
  orders.log.end()
  const { given } = await start([follow(alerts), follow(orders, { selection: { start: 'earliest' } })])
  t.strictSame(given, [REPLAY, { id: `${alerts.id(0)}.${orders.id(0)}` }, `id: ${alerts.id(0)}.${orders.id(1)}\ndata: 1\n\n`, CAUGHT_UP])
})

t.test('R9: what was published while the opening was on its way is history, and the mark comes with the first of a snapshot', async t => {
  const news = channel('news')
  let settle!: (state: unknown) => void
  const { given } = await start([follow(news, { selection: { snapshot: () => new Promise(resolve => { settle = resolve }) } })])
  news.publish(1)
  settle([{ data: 'a' }, { data: 'b' }])
  await turn()
  t.strictSame(given, [REPLAY, { data: 'a', id: undefined }, { data: 'b', id: news.id(0) }, news.frame(1), CAUGHT_UP])
})

t.test('R9: the mark, and the position, come also where the first event, or each, is refused and left out', async t => {
  const news = channel('news')
  for (const [refused, rest] of [
    [['a'], [LIVE, { data: 'b', id: news.id(0) }]],
    [['b'], [LIVE, { data: 'a', id: undefined }, { id: news.id(0) }]],
    [['a', 'b'], [LIVE, { id: news.id(0) }]]
  ] as const) {
    const outlet = new TestOutlet()
    const taken = outlet.write.bind(outlet)
    outlet.write = (event, before) => !(refused as readonly unknown[]).includes((event as { data?: unknown }).data) && taken(event, before)
    const following = new Subscriber([follow(news, { selection: { snapshot: () => [{ data: 'a' }, { data: 'b' }] } })], outlet)
    following.start(undefined)
    t.strictSame(outlet.given, rest)
    following.stop()
  }
})

t.test('R9: an event moves one position by one, in company too; what was passed over is told before', async t => {
  const [orders, alerts] = [channel('orders', { slowConsumer: 'skip', history: { maxEvents: 3 } }), channel('alerts')]
  const [o, a] = [orders.log.now.epoch, alerts.log.now.epoch]
  const id = (orders: number, alerts: number): string => `${o}-${orders}.${a}-${alerts}`
  const even = { filter: ({ data }: { data: unknown }) => Number(data) % 2 === 0 }
  const { given, following, outlet } = await start([follow(orders, { selection: even }), follow(alerts, { selection: even })])
  alerts.publish(1)
  await turn()
  orders.publish(1, 2)
  await turn()
  alerts.publish(2, 3)
  await turn()
  outlet.room = 0
  orders.publish(4, 6, 8, 10)
  await turn()
  outlet.room = Infinity
  following.pull()
  await turn()
  alerts.publish(5)
  await turn()
  orders.log.lose()
  await turn()
  t.strictSame(given.slice(2), [
    `${at(id(1, 1))}id: ${id(2, 1)}\ndata: 2\n\n`,
    `id: ${id(2, 2)}\ndata: 2\n\n`,
    { id: id(2, 3) },
    { event: 'sse.gap', data: { dropped: 4, channel: 'orders' }, id: id(6, 3) },
    { id: id(6, 4) },
    { event: 'sse.reset', data: { reason: 'unknown', oldest: 1, newest: 0, channel: 'orders' }, id: `${orders.id(0)}.${a}-4` }
  ])
})

t.test('R9: an event that is refused and left out is one that was passed over; where it ends the stream, it is not', async t => {
  const news = channel('news')
  const outlet = new TestOutlet()
  const taken = outlet.write.bind(outlet)
  let ends = ''
  outlet.write = (event, before) => {
    const { data } = event as { data?: unknown }
    if (data === 'last') ends = following.checkpoint()
    return data !== 'bad' && data !== 'last' && taken(event, before)
  }
  const map = ({ data }: { data: unknown }): unknown => data === 1 ? undefined : { data: data === 2 ? 'bad' : data === 4 ? 'last' : data }
  const following = new Subscriber([follow(news, { selection: { map } })], outlet)
  following.start(undefined)
  news.publish(1, 2, 3, 4)
  await turn()
  t.equal(ends, '', 'who comes back gets it again')
  t.strictSame(outlet.given.slice(2), [at(news.id(2)), { data: 3, id: news.id(3) }, { id: news.id(4) }], 'at once: how far behind the client was is not known')
  t.equal(following.checkpoint(), '')
  following.stop()
})

/** A stream without a socket: what it would write. */
class WireOutlet extends TestOutlet {
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
    // What does not fit the route's schema, on a route that leaves it out.
    if (data === 'bad') return false
    if (data !== undefined) this.events++
    this.text += before + freeContract.frame(event)
    return true
  }

  override respondNoContent (): void { this.outcome = 'nothing' }
  override channelEnded (): void { this.outcome = 'ended' }
  override fellBehind (): void { this.outcome = 'lagging' }
  override fail (error: unknown): void { this.outcome = error }
}

type Step = { do: 'publish' | 'grant' | 'turns', channel: number, count: number } | { do: 'leave' | 'lose', channel: number }

const steps: fc.Arbitrary<Step[]> = fc.array(fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('publish' as const), channel: fc.nat(1), count: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('grant' as const, 'turns' as const), channel: fc.nat(1), count: fc.integer({ min: 0, max: 9 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('leave' as const, 'lose' as const), channel: fc.nat(1) }) }
), { maxLength: 40 })

// Of five numbers in a row, which are for this subscriber, and which of these are refused by the route.
const selections = fc.record({ wanted: fc.integer({ min: 0, max: 31 }), bad: fc.integer({ min: 0, max: 31 }), way: fc.constantFrom('plain', 'filter', 'map', 'both'), start: fc.constantFrom('latest' as const, 'earliest' as const), state: fc.boolean() })
type Way = typeof selections extends fc.Arbitrary<infer W> ? W : never
const has = (bits: number, n: unknown): boolean => (bits & (1 << (Number(n) % 5))) > 0
const passes = ({ wanted, bad, way }: Way, n: number): boolean => way === 'plain' || (has(wanted, n) && (way === 'filter' || !has(bad, n)))

function selectionOf ({ wanted, bad, way, start, state }: Way): Partial<ResolvedSubscription['projection']> {
  const filter = ({ data }: { data: unknown }): boolean => has(wanted, data)
  const map = ({ data }: { data: unknown }): unknown => has(wanted, data) ? { data: has(bad, data) ? 'bad' : data } : undefined
  return {
    start,
    ...((way === 'filter' || way === 'both') && { filter }),
    ...((way === 'map' || way === 'both') && { map }),
    ...(state && { snapshot: () => [{ event: 'state', data: 1 }, { event: 'state', data: 2 }] })
  }
}

for (const slow of ['disconnect', 'skip', 'latest'] as const) {
  t.test(`R9: '${slow}': with any filters and maps, any readers and logs, one who counts can prove that nothing is missing`, async t => {
    await fc.assert(fc.asyncProperty(steps, fc.array(selections, { minLength: 1, maxLength: 2 }), fc.integer({ min: 1, max: 30 }), fc.option(fc.integer()), async (steps, ways, events, seed) => {
      const feeds = ways.map((_, index) => {
        const log = new RemoteLog({ maxEvents: events }, seed === null ? undefined : dice(seed + index))
        const latest = ({ data }: { data: unknown }): unknown => Number(data) % 3
        return { log, feed: new Feed(resolveChannel(`channel ${index}`, { slowConsumer: slow === 'latest' ? { compactBy: latest } : slow, history: { maxEvents: events } }), log, logger) }
      })
      /** What was published, by epoch: the number at each offset. */
      const truth = new Map<string, number[]>()
      const underWay: unknown[] = []
      let number = 0
      const publish = async (log: RemoteLog, n: number): Promise<void> => {
        const { epoch, offset } = await log.append(numbered(n))
        truth.set(epoch, Object.assign(truth.get(epoch) ?? [], { [offset]: n }))
      }
      const streams: Array<{ outlet: WireOutlet, following: Subscriber, asked: string | undefined }> = []
      const connect = (asked: string | undefined): void => {
        const outlet = new WireOutlet()
        const following = new Subscriber(ways.map((way, index) => ({ feed: feeds[index]!.feed, after: undefined, signal: undefined, projection: { ...ALL, ...selectionOf(way) } })), outlet)
        streams.push({ outlet, following, asked })
        following.start(asked)
      }
      connect(undefined)
      for (const step of steps) {
        const { log } = feeds[step.channel % feeds.length]!
        const { outlet, following } = streams.at(-1)!
        if (step.do === 'publish') {
          for (let count = step.count; count > 0; count--) underWay.push(publish(log, ++number))
        } else if (step.do === 'grant') {
          outlet.room = step.count
          following.pull()
        } else if (step.do === 'turns') {
          for (let count = step.count; count > 0; count--) await turn()
        } else if (step.do === 'lose') {
          underWay.push(log.lose())
        } else {
          following.stop()
          connect(new Track(outlet.text).id || undefined)
        }
      }
      await Promise.all(underWay)
      const { outlet, following } = streams.at(-1)!
      outlet.room = Infinity
      following.pull()
      for (const { log } of feeds) await log.end()
      await within('the end', (async () => {
        while (outlet.outcome === undefined) {
          await turn()
          following.pull()
        }
      })())
      for (const { outlet, asked } of streams) {
        const track = new Track(outlet.text + (outlet === streams.at(-1)!.outlet ? following.checkpoint() : ''))
        if (track.first === undefined) continue
        const told = track.events.length + (outlet.text.match(/^event: (state|sse\.(?:reset|gap))$/gm)?.length ?? 0)
        if (outlet.events !== told) throw new Error(`${outlet.events} events were counted, and ${told} came`)
        if (asked !== undefined && track.resets === 0 && !outlet.text.includes('event: sse.gap') && track.first !== asked) throw new Error(`it asked for ${asked} and got ${track.first}`)
        // Whatever was for it came, or is among what was dropped.
        const begun = new Map(track.first.split('.').map(part => part.split('-') as [string, string]))
        let missing = 0
        for (const [index, { log }] of feeds.entries()) {
          for (const [epoch, reached] of track.position) {
            const first = begun.get(epoch)
            if (first === undefined || epoch !== log.now.epoch) continue
            const came = new Map(track.events.filter(each => each.epoch === epoch).map(({ offset, data }) => [offset, data]))
            for (let offset = Number(first) + 1; offset <= reached; offset++) {
              const n = truth.get(epoch)![offset]!
              const wanted = passes(ways[index]!, n)
              if (came.has(offset) && (!wanted || came.get(offset) !== String(n))) throw new Error(`${came.get(offset)} came at ${offset}, where ${n} was`)
              if (wanted && !came.has(offset)) missing++
            }
          }
        }
        if (missing > track.dropped) throw new Error(`${missing} are missing, and ${track.dropped} were dropped`)
      }
    }), { numRuns: 150 })
    t.pass('for any interleaving')
  })
}

const histories = fc.oneof(
  fc.record({ maxEvents: fc.integer({ min: 0, max: 12 }) }),
  fc.record({ maxBytes: fc.integer({ min: 0, max: 120 }) }),
  fc.record({ maxAge: fc.integer({ min: 1, max: 7_999 }) })
)

t.test('R3: a client that has all of its events resumes after any number of events for others', async t => {
  const turns = fc.array(fc.record({ channel: fc.nat(1), count: fc.integer({ min: 1, max: 30 }), wanted: fc.nat(40), size: fc.integer({ min: 0, max: 30 }) }), { minLength: 1, maxLength: 12 })
  await fc.assert(fc.asyncProperty(turns, fc.array(histories, { minLength: 1, maxLength: 2 }), fc.boolean(), async (turns, histories, maps) => {
    const channels = histories.map((history, index) => channel(`channel ${index}`, { history }))
    const wants = ({ data }: { data: unknown }): boolean => String(data).startsWith('wanted')
    const selection = maps ? { map: (event: { data: unknown }) => wants(event) ? { data: event.data } : undefined } : { filter: wants }
    const outlet = new WireOutlet()
    const following = new Subscriber(channels.map(each => follow(each, { selection })), outlet)
    following.start(undefined)
    for (const { channel, count, wanted, size } of turns) {
      const { log } = channels[channel % channels.length]!
      for (let n = 0; n < count; n++) log.append({ event: 'message', data: `${n === wanted ? 'wanted' : ''}${'€'.repeat(size)}`, json: false })
      await turn()
      const told = new Track(outlet.text).position
      for (const [index, { log: { now } }] of channels.entries()) {
        if (told.get(now.epoch)! < now.oldest - 1) throw new Error(`${now.oldest} is the oldest, and ${told.get(now.epoch)} was told`)
        // What is short-lived is gone before the next beat.
        if ('age' in histories[index]! && told.get(now.epoch) !== now.newest) throw new Error('what is soon gone was not told')
      }
    }
    following.stop()
  }), { numRuns: 300 })
  t.pass('for any bounds')
})
