import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { numberFeed, upTo } from '../setup/feed.ts'
import { liftLoopBudget } from '../setup/loop-budget.ts'
import { TestSubscriber } from '../setup/test-subscriber.ts'
import { within } from '../setup/within.ts'

const latest = ({ data }: { data: unknown }): unknown => Number(data) % 3

t.test('R5: compactBy: a reader that had no room gets the last event of each key, and loses none', async t => {
  const { publish, feed, frame, to } = numberFeed({ slowConsumer: { compactBy: latest }, history: { maxEvents: 5 } })
  const subscriber = await new TestSubscriber(feed).start()
  subscriber.room = 0
  publish(...upTo(10))
  await turn()
  await subscriber.setRoom(Infinity)
  t.strictSame(subscriber.received, [to(7), frame(8), frame(9), frame(10)])
  t.equal(feed.statistics.merged, 7)
  publish(11)
  await turn()
  t.strictSame(subscriber.received.slice(4), [frame(11)])
})

t.test('R5: compactBy: a reader with room gets every event, also of the history', async t => {
  liftLoopBudget(t)
  const { publish, feed, frame, at } = numberFeed({ slowConsumer: { compactBy: () => 'key' } })
  publish(...upTo(200))
  const subscriber = await new TestSubscriber(feed).start(at(0))
  publish(201, 202)
  await turn()
  t.strictSame(subscriber.received, upTo(202).map(n => frame(n)))
  t.equal(feed.statistics.merged, 0)
})

t.test('R5: compactBy: the history before the start is sent in full, and later events compacted', async t => {
  liftLoopBudget(t)
  const { publish, feed, frame, to, at } = numberFeed({ slowConsumer: { compactBy: () => 'key' } })
  publish(1, 2, 3)
  const subscriber = new TestSubscriber(feed)
  subscriber.room = 1
  await subscriber.start(at(0))
  publish(4, 5, 6)
  await subscriber.setRoom(1)
  publish(7)
  await subscriber.setRoom(1)
  await subscriber.setRoom(1)
  await subscriber.setRoom(0)
  publish(8)
  await turn()
  await subscriber.setRoom(Infinity)
  t.strictSame(subscriber.received, [frame(1), frame(2), frame(3), to(6), frame(7), frame(8)])
})

t.test('R5: compactBy: events without a key keep their order, and none is left out', async t => {
  const compactBy = ({ data }: { data: unknown }): unknown => [undefined, null, 'key', 'key'][Number(data) % 4]
  const { publish, feed, frame, to } = numberFeed({ slowConsumer: { compactBy } })
  const subscriber = await new TestSubscriber(feed).start()
  subscriber.room = 0
  publish(...upTo(12))
  await turn()
  await subscriber.setRoom(Infinity)
  t.strictSame(subscriber.received, [frame(1), to(3), frame(4), frame(5), to(7), frame(8), frame(9), to(10), frame(11),
    frame(12)])
})

t.test('R5: compactBy: with more keys than the history holds, a gap counts the lost events, and not the merged ones', async t => {
  const { publish, feed, epoch, frame } = numberFeed({
    slowConsumer: { compactBy: ({ data }) => Number(data) > 4 ? 'often' : data },
    history: { maxEvents: 2 }
  })
  const subscriber = await new TestSubscriber(feed).start()
  subscriber.room = 0
  publish(...upTo(8))
  await turn()
  await subscriber.setRoom(1)
  t.strictSame(subscriber.received, [{ event: 'sse.gap', data: { dropped: 3 }, id: `${epoch}-3` }])
  t.equal(feed.statistics.merged, 0)
  await subscriber.setRoom(Infinity)
  t.strictSame(subscriber.received.slice(1), [frame(4), `event: sse.position\nid: ${epoch}-7\ndata: `, frame(8)])
  t.equal(feed.statistics.merged, 3)
})

t.test('R5: compactBy: more than 32 KB is sent in pieces, in order', async t => {
  const { log, feed } = numberFeed({
    slowConsumer: { compactBy: ({ id }) => Number(id.split('-')[1]) % 4 },
    history: { maxEvents: 4, maxBytes: 1_000_000 }
  })
  const subscriber = await new TestSubscriber(feed).start()
  subscriber.room = 0
  for (let n = 0; n < 8; n++) log.append({ event: 'message', data: 'x'.repeat(12_000), json: false })
  await turn()
  await subscriber.setRoom(Infinity)
  t.strictSame(subscriber.received.map(each => Number(/-(\d+)(\n|$)/.exec(String(each))?.[1])), [4, 5, 6, 7, 8])
})

for (const lost of [false, true]) {
  t.test(`R5: compactBy: history that was evicted during its replay is compacted${lost ? ', but not into a new epoch' : ''}`, async t => {
    const { publish, log, feed, at, frame, to } = numberFeed({
      history: { maxEvents: 2 },
      slowConsumer: { compactBy: () => 'key' }
    })
    publish(1, 2)
    const subscriber = new TestSubscriber(feed)
    subscriber.room = 0
    await subscriber.start(at(0))
    publish(3, 4)
    const read = log.read.bind(log)
    const old = log.read(0, 64)
    let answer = (): void => {}
    log.read = () => new Promise(resolve => { answer = () => resolve(old) })
    subscriber.room = Infinity
    subscriber.reader.pull()
    log.read = read
    if (lost) {
      log.lose()
      publish(5)
    }
    answer()
    await within('all', (async () => { while (subscriber.received.length < (lost ? 1 : 2)) await turn() })())
    if (!lost) return t.strictSame(subscriber.received, [to(3), frame(4)])
    t.match(subscriber.received[0], { startPosition: { notice: { data: { reason: 'unknown' } } } })
    publish(6)
    await turn()
    t.strictSame(subscriber.received.at(-1), `id: ${log.now.epoch}-2\ndata: 6`)
  })
}

t.test('R5: compactBy: without a history, an event before the first read is a gap', async t => {
  liftLoopBudget(t)
  const { publish, feed, epoch, frame } = numberFeed({ history: { maxEvents: 0 }, slowConsumer: { compactBy: () => 'key' } })
  const subscriber = new TestSubscriber(feed)
  await subscriber.open()
  publish(1)
  subscriber.reader.start()
  publish(2)
  await turn()
  t.strictSame(subscriber.received, [{ event: 'sse.gap', data: { dropped: 1 }, id: `${epoch}-1` }, frame(2)])
})

t.test('R5: compactBy: a reader that stops at the gap receives nothing after it', async t => {
  const { publish, feed } = numberFeed({ slowConsumer: { compactBy: ({ data }) => data }, history: { maxEvents: 2 } })
  const subscriber = await new TestSubscriber(feed).start()
  subscriber.room = 0
  publish(...upTo(10))
  await turn()
  subscriber.write = event => {
    subscriber.received.push(event)
    subscriber.reader.stop()
  }
  await subscriber.setRoom(Infinity)
  t.equal(subscriber.received.length, 1)
  t.equal(feed.statistics.merged, 0)
})
