import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { Feed } from '../../lib/channel/feed.ts'
import type { ResolvedSubscription } from '../../lib/channel/resolved-subscription.ts'
import { SubscriptionIterator } from '../../lib/channel/subscription-iterator.ts'
import { resolveChannel, type ChannelOptions } from '../../lib/channel/settings.ts'
import { ALL } from '../setup/test-subscriber.ts'
import { dice, numbered, RemoteLog } from '../setup/remote-log.ts'
import { within } from '../setup/within.ts'

const logger = { error: () => {} } as unknown as FastifyBaseLogger

/** Creates a channel, and loops over it. */
function make (options: ChannelOptions = {}, log = new RemoteLog(options.history)) {
  const feed = new Feed(resolveChannel('news', options), log, logger)
  const { epoch } = log.now
  return {
    log,
    feed,
    publish: (...numbers: number[]) => { for (const n of numbers) log.append(numbered(n)) },
    event: (n: number, offset = n) => ({ event: 'message', data: n, id: `${epoch}-${offset}` }),
    id: (offset: number) => `${epoch}-${offset}`,
    loop: (
      { projection, ...options }: {
        after?: string
        signal?: AbortSignal
        projection?: Partial<ResolvedSubscription['projection']>
      } = {}
    ) =>
      new SubscriptionIterator(() => ({
        feed,
        after: undefined,
        signal: undefined,
        ...options,
        projection: { ...ALL, ...projection }
      })
      )
  }
}

const upTo = (last: number, first = 1): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index)
const DONE = { done: true, value: undefined }

/** Returns the next `count` events. */
async function takeEvents (loop: SubscriptionIterator, count: number): Promise<unknown[]> {
  const events: unknown[] = []
  while (events.length < count) {
    const { done, value } = await within(`event ${events.length + 1}`, loop.next())
    if (done === true) break
    events.push(value)
  }
  return events
}

t.test('R2: a loop subscribes at its first next(), and receives each event once, in order, with its id', async t => {
  const { feed, publish, event, loop } = make()
  publish(1)
  const it = loop()
  publish(2)
  t.equal(feed.readers, 0)
  const first = it.next()
  t.equal(feed.readers, 1)
  publish(3, 4)
  t.strictSame(await first, { done: false, value: event(3) })
  publish(5)
  t.strictSame(await takeEvents(it, 2), [event(4), event(5)])
})

t.test('R9: a loop receives no marks and no positions', async t => {
  const { publish, event, loop, log } = make()
  publish(...upTo(300))
  const it = loop({ projection: { start: 'earliest', filter: ({ data }) => Number(data) % 150 === 0 } })
  const history = await takeEvents(it, 2)
  publish(...upTo(450, 301))
  log.end()
  t.strictSame([...history, ...await takeEvents(it, 10)], [150, 300, 450].map(n => event(n)))
})

t.test('R2: stored events come first, then published ones, with no gap and no duplicate', async t => {
  const { publish, event, loop, id } = make()
  publish(...upTo(200))
  const [all, after] = [loop({ projection: { start: 'earliest' } }), loop({ after: id(150) })]
  t.strictSame(await takeEvents(all, 150), upTo(150).map(n => event(n)))
  publish(...upTo(300, 201))
  t.strictSame(await takeEvents(all, 150), upTo(300, 151).map(n => event(n)))
  t.strictSame(await takeEvents(after, 150), upTo(300, 151).map(n => event(n)))
})

t.test('R2: the same holds for a remote log, at any rate of publishing', async t => {
  const log = new RemoteLog({}, dice(7))
  const { publish, loop, event } = make({}, log)
  const it = loop({ projection: { start: 'earliest' } })
  publish(...upTo(100))
  const reading = takeEvents(it, 300)
  for (let n = 101; n <= 300; n += 20) {
    publish(...upTo(n + 19, n))
    await turn()
  }
  t.strictSame(await reading, upTo(300).map(n => event(n)))
})

t.test('an event is one deeply frozen object for all loops', async t => {
  const { log, loop } = make()
  const loops = [loop(), loop()]
  const waiting = loops.map(it => it.next())
  log.append({ event: 'order', data: '{"items":[{"n":1}]}', json: true })
  const [one, other] = await Promise.all(waiting)
  t.equal(one!.value, other!.value)
  const { data } = one!.value as { data: { items: Array<{ n: number }> } }
  for (const frozen of [one!.value, data, data.items, data.items[0]]) t.ok(Object.isFrozen(frozen))
})

t.test('text stays text, and JSON becomes its value', async t => {
  const { log, loop } = make()
  const it = loop({ projection: { start: 'earliest' } })
  log.append({ event: 'a', data: '[1]', json: false })
  log.append({ event: 'a', data: '[1]', json: true })
  log.append({ event: 'a', data: 'null', json: true })
  t.match(await takeEvents(it, 3), [{ data: '[1]' }, { data: [1] }, { data: null }])
})

t.test('R4: at most 64 events wait for the loop, all others in the log', async t => {
  const asked: number[] = []
  const { publish, loop } = make({ history: { maxEvents: 2_000 } })
  const it = loop({ projection: { start: 'earliest', filter: ({ data }) => asked.push(data as number) > 0 } })
  publish(...upTo(1_000))
  await it.next()
  publish(...upTo(1_200, 1_001))
  await turn()
  t.ok(asked.length <= 65, 'the event read, and 64 after it')
  t.equal((await takeEvents(it, 999)).length, 999)
  t.strictSame(asked.slice(0, 1_000), upTo(1_000))
})

t.test('concurrent calls of next() are answered in order', async t => {
  const { publish, event, loop } = make()
  const it = loop()
  const waiting = [it.next(), it.next(), it.next()]
  publish(1, 2)
  t.strictSame(await Promise.all(waiting.slice(0, 2)), [1, 2].map(n => ({ done: false, value: event(n) })))
  publish(3)
  t.strictSame(await waiting[2], { done: false, value: event(3) })
})

t.test('leaving the loop unsubscribes, and drops waiting events', async t => {
  const { feed, log, publish, loop } = make()
  const it = loop()
  const waiting = [it.next(), it.next()]
  publish(1, 2, 3)
  await Promise.all(waiting)
  const pending = [loop(), loop()].map(other => ({ other, next: other.next() }))
  t.equal(feed.readers, 3)
  t.strictSame(await it.return(), DONE)
  for (const { other } of pending) await other.return()
  t.strictSame(await Promise.all(pending.map(({ next }) => next)), [DONE, DONE], 'a pending next() is answered')
  t.equal(feed.readers, 0)
  t.equal(log.listeners, 0)
  publish(4)
  t.strictSame(await it.next(), DONE, 'waiting events are dropped')
  t.strictSame(await it.return(), DONE)
})

t.test('a loop that is left before its first next() never subscribes', async t => {
  const { feed, log, publish, loop } = make()
  const it = loop({ projection: { start: 'earliest', snapshot: () => t.fail('state') } })
  publish(1)
  t.strictSame(await it.return(), DONE)
  t.strictSame(await it.next(), DONE)
  t.equal(feed.readers, 0)
  t.equal(log.listeners, 0)
})

t.test('R7: the end of the channel ends the loop, after the events published before it', async t => {
  const { feed, log, publish, event, loop } = make()
  const [it, late] = [loop(), loop({ projection: { start: 'earliest' } })]
  const first = it.next()
  publish(1, 2)
  await log.end()
  t.strictSame(await first, { done: false, value: event(1) })
  for (const step of [{ done: false, value: event(2) }, DONE, DONE]) {
    t.strictSame(await within('the end', it.next()), step)
  }
  t.strictSame(await takeEvents(late, 3), [event(1), event(2)])
  t.strictSame(await loop().next(), DONE, 'a new client gets nothing')
  t.equal(feed.readers, 0)
})

t.test('the signal of a subscription ends the loop, during it or before its start', async t => {
  const { feed, publish, event, loop } = make()
  const controller = new AbortController()
  const it = loop({ signal: controller.signal })
  const waiting = [it.next(), it.next()]
  publish(1)
  t.strictSame(await waiting[0], { done: false, value: event(1) })
  controller.abort()
  t.strictSame(await waiting[1], DONE)
  t.strictSame(await loop({ signal: controller.signal, projection: { start: 'earliest' } }).next(), DONE)
  t.equal(feed.readers, 0)
})

t.test('closing the server ends the loop', async t => {
  const { feed, loop } = make()
  const next = loop().next()
  feed.close()
  t.strictSame(await within('the end', next), DONE)
  t.equal(feed.readers, 0)
})

t.test('R3: if a position cannot be resumed, the first event is sse.reset', async t => {
  const { publish, event, loop, id } = make({ history: { maxEvents: 2 } })
  publish(1, 2, 3, 4)
  const rows: Array<[after: string, reason: string]> = [[id(1), 'evicted'], [id(5), 'ahead'], ['other-1', 'unknown'], [
    'no id',
    'malformed'
  ]]
  for (const [after, reason] of rows) {
    const [newest, oldest] = [loop({ after }), loop({ after, projection: { start: 'earliest' } })]
    t.strictSame(await takeEvents(oldest, 3), [{
      event: 'sse.reset',
      data: { reason, oldest: 3, newest: 4 },
      id: id(2)
    }, event(3), event(4)])
    t.strictSame(await takeEvents(newest, 1), [{
      event: 'sse.reset',
      data: { reason, oldest: 3, newest: 4 },
      id: id(4)
    }])
    await newest.return()
    await oldest.return()
  }
})

t.test('R5: a loop whose next entry was evicted rejects with FST_SSE_LAGGING, once, after the events it still had', async t => {
  const { feed, publish, event, loop } = make({ history: { maxEvents: 10 } })
  const it = loop()
  const first = it.next()
  publish(...upTo(65))
  await first
  publish(...upTo(200, 66))
  await turn()
  t.strictSame(await takeEvents(it, 64), upTo(65, 2).map(n => event(n)))
  await t.rejects(it.next(), {
    code: 'FST_SSE_LAGGING',
    message:
      "The subscriber of 'news' fell behind the history: read faster, raise the history limits, or set another slowConsumer policy"
  })
  t.strictSame(await it.next(), DONE)
  t.equal(feed.readers, 0)
})

t.test('a loop that was left reports no failure', async t => {
  const { feed, publish, loop } = make({ history: { maxEvents: 10 } })
  const it = loop()
  const first = it.next()
  publish(...upTo(65))
  await first
  publish(...upTo(200, 66))
  await turn()
  t.strictSame(await it.return!(), DONE)
  t.strictSame(await it.next(), DONE)
  t.equal(feed.readers, 0)
})

t.test('R5: with `skip` a loop receives the number of lost events, and continues', async t => {
  const { publish, event, loop, id } = make({ history: { maxEvents: 10 }, slowConsumer: 'skip' })
  const it = loop()
  const first = it.next()
  publish(...upTo(65))
  await first
  publish(...upTo(200, 66))
  await turn()
  await takeEvents(it, 64)
  const gap = it.next()
  publish(201)
  t.strictSame((await gap).value, { event: 'sse.gap', data: { dropped: 135 }, id: id(200) })
  t.strictSame(await takeEvents(it, 1), [event(201)])
})

t.test('filter drops, map replaces or drops, and the id is that of the event', async t => {
  const { publish, loop, id } = make()
  const it = loop({
    projection: {
      start: 'earliest',
      filter: ({ data }) => Number(data) % 2 === 0,
      map: ({ data }) => data === 4 ? undefined : data === 8 ? null : { event: 'even', data }
    }
  })
  publish(...upTo(1_000))
  t.strictSame(await takeEvents(it, 3), [2, 6, 10].map(n => ({ event: 'even', data: n, id: id(n) })))
  t.equal((await takeEvents(it, 495)).length, 495, 'positions of dropped events are no events of a loop')
})

t.test('an error of a filter, a map or a snapshot is thrown by the loop, once, and affects no other', async t => {
  const error = new Error('mine')
  const fail = (): never => { throw error }
  const { feed, publish, event, loop } = make()
  const other = loop({ projection: { start: 'earliest' } })
  publish(1)
  for (const projection of [{ filter: fail }, { map: fail }, { snapshot: fail }, { snapshot: async () => fail() }]) {
    const it = loop({ projection: { ...projection, start: 'earliest' } })
    await t.rejects(within('the error', it.next()), error)
    t.strictSame(await it.next(), DONE)
  }
  t.strictSame(await takeEvents(other, 1), [event(1)])
  t.equal(feed.readers, 1)
})

t.test('a filter or a map that returns an invalid value is rejected', async t => {
  const { publish, loop } = make()
  publish(1)
  for (const projection of [{ filter: async () => true }, { filter: () => 1 }, { filter: () => undefined }, {
    map: async () => ({ data: 1 })
  }]) {
    await t.rejects(loop({ projection: { ...projection, start: 'earliest' } }).next(), { code: 'FST_SSE_OPTION' })
  }
})

t.test('a map that returns no event is rejected, instead of dropping everything', async t => {
  for (const made of [5, 'text', true, { event: 'x' }, { data: undefined }]) {
    const { feed, publish, loop } = make()
    const it = loop({ projection: { start: 'earliest', map: () => made } })
    publish(1)
    await t.rejects(within('the refusal', it.next()), { code: 'FST_SSE_EVENT' })
    t.equal(feed.readers, 0)
  }
})

t.test('a snapshot is the first event, followed by later events', async t => {
  const { publish, event, loop, id } = make()
  publish(1, 2)
  const it = loop({ projection: { snapshot: () => ({ event: 'state', data: 'two' }) } })
  const first = it.next()
  publish(3)
  t.strictSame((await first).value, { event: 'state', data: 'two', id: id(2) })
  t.strictSame(await takeEvents(it, 1), [event(3)])
})

t.test('in a snapshot of several events only the last has a position', async t => {
  const { publish, loop, id } = make()
  publish(1)
  const it = loop({ projection: { snapshot: () => [{ data: 'a' }, { data: 'b' }] } })
  t.strictSame(await takeEvents(it, 2), [{ data: 'a', id: '' }, { data: 'b', id: id(1) }])
})

t.test('the subscription is resolved at the first next(), and the loop throws its failure', async t => {
  let resolved = 0
  const error = new Error('closing')
  const it = new SubscriptionIterator(() => {
    resolved++
    throw error
  })
  t.equal(resolved, 0)
  await t.rejects(it.next(), error)
  t.strictSame([await it.next(), resolved], [DONE, 1])
  await it.return()
})

t.test('a log that cannot be read rejects the loop', async t => {
  const error = new Error('no such log')
  const { feed, log, loop, publish } = make()
  publish(1)
  log.read = () => Promise.reject(error)
  await t.rejects(loop({ projection: { start: 'earliest' } }).next(), error)
  log.state = () => { throw error }
  await t.rejects(loop().next(), error)
  t.equal(feed.readers, 0)
})
