import { setImmediate as turn } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import fc from 'fast-check'
import t from 'tap'
import type { DecodedEvent } from '../../lib/channel/frame-batch.ts'
import { Feed } from '../../lib/channel/feed.ts'
import type { StartPosition } from '../../lib/channel/start-position.ts'
import { resolveChannel } from '../../lib/channel/settings.ts'
import { compileContract, freeContract } from '../../lib/contract/contract.ts'
import type { LogBatch } from '../../lib/log/log.ts'
import { loadTypeBoxes } from '../../lib/schema/packages.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import { liftLoopBudget } from '../setup/loop-budget.ts'
import { TestSubscriber } from '../setup/test-subscriber.ts'
import { feedOf, logger, numberFeed, upTo } from '../setup/feed.ts'
import { dice, numbered, RemoteLog } from '../setup/remote-log.ts'
import { within } from '../setup/within.ts'

await loadTypeBoxes()

t.test('R2: the stored events after the position are delivered first, then published ones', async t => {
  const { publish, feed, at, frame } = numberFeed()
  publish(1, 2, 3)
  const subscriber = await new TestSubscriber(feed).start(at(1))
  t.strictSame(subscriber.received, [frame(2), frame(3)])
  publish(4)
  publish(5)
  t.equal(subscriber.received.length, 2)
  await turn()
  t.strictSame(subscriber.received, [2, 3, 4, 5].map(n => frame(n)))
})

t.test('R4: live readers receive the same batch, which is made once', async t => {
  const { publish, feed } = numberFeed()
  const subscribers = await Promise.all([1, 2, 3].map(async () => new TestSubscriber(feed).start()))
  publish(1, 2)
  await turn()
  t.strictSame(subscribers.map(({ batches }) => batches.length), [1, 1, 1])
  t.ok(subscribers.every(({ batches }) => batches[0] === subscribers[0]!.batches[0]))
})

t.test('R2: nothing is read before the start position is sent', async t => {
  const { publish, feed, at, frame } = numberFeed()
  publish(1)
  const subscriber = new TestSubscriber(feed)
  await subscriber.open(at(0))
  subscriber.reader.pull()
  publish(2)
  await turn()
  t.strictSame(subscriber.received, [])
  subscriber.reader.start()
  t.strictSame(subscriber.received, [frame(1), frame(2)])
})

t.test('L4: a subscriber without room receives nothing, and later all of it', async t => {
  const { publish, feed, frame } = numberFeed()
  const subscriber = await new TestSubscriber(feed).start()
  subscriber.room = 0
  publish(1, 2)
  await turn()
  publish(3)
  await turn()
  t.strictSame(subscriber.received, [])
  await subscriber.setRoom(2)
  t.strictSame(subscriber.received, [frame(1), frame(2)])
  await subscriber.setRoom(Infinity)
  publish(4)
  await turn()
  t.strictSame(subscriber.received, [1, 2, 3, 4].map(n => frame(n)))
})

t.test('L4: a read requests about as many entries as there was room for', async t => {
  const { publish, feed, log, at, frame } = numberFeed()
  publish(...upTo(200))
  const limits: number[] = []
  const { read } = log
  log.read = (after, limit) => {
    limits.push(limit)
    return read.call(log, after, limit)
  }
  const subscriber = new TestSubscriber(feed)
  subscriber.room = 3
  await subscriber.start(at(0))
  for (let n = 0; n < 20; n++) await subscriber.setRoom(1)
  await subscriber.setRoom(Infinity)
  t.strictSame(subscriber.received, upTo(200).map(n => frame(n)))
  t.equal(limits[0], 64)
  t.ok(limits.slice(1, 20).every(limit => limit <= 4), limits.join())
  t.ok(limits.includes(64, 1), 'and as many as before once there is room')
})

t.test('L4: a batch with room for a part is delivered in part', async t => {
  const { publish, feed, frame } = numberFeed()
  for (const projection of [{}, { filter: () => true }]) {
    const subscriber = await new TestSubscriber(feed, { projection }).start()
    const { position } = subscriber.reader
    subscriber.room = 1
    publish(1, 2, 3)
    await turn()
    await subscriber.setRoom(Infinity)
    t.strictSame(subscriber.received, [1, 2, 3].map(n => frame(n, position + n)))
    subscriber.reader.stop()
  }
})

t.test('R2: a reader that caught up in the middle of a turn does not receive the rest twice', async t => {
  const { publish, feed, frame } = numberFeed()
  const one = await new TestSubscriber(feed).start()
  publish(1)
  const other = new TestSubscriber(feed, { projection: { start: 'earliest' } })
  other.open()
  other.reader.start()
  publish(2)
  await turn()
  t.strictSame([one.received, other.received], [[frame(1), frame(2)], [frame(1), frame(2)]])
})

for (const decodes of [false, true]) {
  t.test(`R2: a reader that attached in the middle of a turn receives later events, even without a history${decodes ? ', filtered' : ''}`, async t => {
    const { publish, feed, frame, at } = numberFeed({ history: { maxEvents: 0 } })
    const there = await new TestSubscriber(feed).start()
    const subscriber = new TestSubscriber(feed, { projection: decodes ? { filter: () => true } : {} })
    publish(1, 2)
    subscriber.open(at(2))
    subscriber.reader.start()
    publish(3)
    publish(4)
    await turn()
    t.strictSame(there.received, [1, 2, 3, 4].map(n => frame(n)))
    t.strictSame(subscriber.received, [3, 4].map(n => frame(n)))
    publish(5)
    await turn()
    t.strictSame(subscriber.received, [3, 4, 5].map(n => frame(n)))
  })
}

t.test('R2: a subscriber that publishes from a filter or a map receives every event once and in order', async t => {
  const { log, feed, epoch } = numberFeed()
  const publish = (...data: string[]): void => {
    for (const each of data) log.append({ event: 'message', data: each, json: false })
  }
  const other = await new TestSubscriber(feed).start()
  let done = false
  const subscriber = await new TestSubscriber(feed, {
    projection: {
      map: ({ data }) => {
        if (data === 'go' && !done) {
          done = true
          publish(`4${'x'.repeat(40_000)}`, `5${'x'.repeat(40_000)}`)
        }
        return { data: String(data).slice(0, 2) }
      }
    }
  }).start()
  publish('a', 'go', 'z')
  for (let turns = 0; turns < 5; turns++) await turn()
  t.strictSame(subscriber.received,
    ['a', 'go', 'z', '4x', '5x'].map((data, index) => ({ data, id: `${epoch}-${index + 1}` })))
  t.strictSame(
    other.received.map(frame => String(frame).slice(`id: ${epoch}-1`.length - 1, `id: ${epoch}-1\ndata: aa`.length)),
    ['1\ndata: a', '2\ndata: go', '3\ndata: z', '4\ndata: 4x', '5\ndata: 5x']
  )
})

t.test('a log that cannot return an announced entry yet is read again after a delay', async t => {
  for (const late of [false, true]) {
    const { log, feed, publish, at, frame } = numberFeed()
    publish(1)
    const read = log.read.bind(log)
    let asked = 0
    let ready = false
    const empty = (): LogBatch => ({ epoch: log.now.epoch, newest: 0, ended: false, entries: [] })
    log.read = (after, limit) => {
      asked++
      if (ready) return read(after, limit)
      return late ? turn().then(empty) : empty()
    }
    const subscriber = await new TestSubscriber(feed).start(at(0))
    await new Promise(resolve => { setTimeout(resolve, 35) })
    t.ok(asked > 1 && asked < 10, `${asked} times in 35 ms`)
    t.strictSame(subscriber.received, [])
    ready = true
    while (subscriber.received.length === 0) await turn()
    t.strictSame(subscriber.received, [frame(1)])
    subscriber.reader.stop()
  }
})

t.test('R3: a log whose batch has another epoch than its state is read again after a delay', async t => {
  const { log, feed, publish, at, epoch } = numberFeed()
  publish(1)
  let asked = 0
  log.read = () => {
    asked++
    return { epoch: 'another', newest: 1, ended: false, entries: [] }
  }
  const subscriber = await new TestSubscriber(feed).start(at(0))
  await new Promise(resolve => { setTimeout(resolve, 35) })
  t.ok(asked > 1 && asked < 10, `${asked} times in 35 ms`)
  t.strictSame([subscriber.received, subscriber.reader.epoch], [[], epoch])
  subscriber.reader.stop()
})

t.test('a long history is read over several turns of the event loop', async t => {
  const { publish, feed } = numberFeed({ history: { maxEvents: 50_000, maxBytes: 50_000_000 } })
  publish(...upTo(50_000))
  let turns = 0
  const subscriber = await new TestSubscriber(feed, {
    projection: {
      start: 'earliest',
      filter: () => {
        const until = performance.now() + 0.02
        while (performance.now() < until);
        return false
      }
    }
  }).start()
  while (subscriber.reader.position < 2_000) {
    await turn()
    turns++
  }
  t.ok(turns > 1)
  t.ok(subscriber.reader.position < 50_000)
  subscriber.reader.stop()
  const { position } = subscriber.reader
  await turn()
  t.equal(subscriber.reader.position, position, 'nothing is read for a stopped reader')
})

t.test('R7: the end of the channel follows its last event, also for a subscriber that had no room at first', async t => {
  const { publish, feed, log, frame } = numberFeed()
  const [live, slow] = [await new TestSubscriber(feed).start(), await new TestSubscriber(feed).start()]
  slow.room = 0
  publish(1)
  log.end()
  await turn()
  t.strictSame(live.received, [frame(1), 'ended'])
  t.strictSame(slow.received, [])
  await slow.setRoom(2)
  t.strictSame(slow.received, [frame(1), 'ended'])
  t.equal(feed.readers, 0)
})

t.test('a stopped reader receives nothing more, even in the middle of a batch', async t => {
  const { publish, feed, at } = numberFeed()
  publish(1)
  for (const live of [true, false]) {
    const subscriber: TestSubscriber = new TestSubscriber(feed, {
      projection: {
        filter: () => {
          subscriber.reader.stop()
          return true
        }
      }
    })
    if (!live) publish(2, 3)
    await subscriber.start(live ? undefined : at(1))
    if (live) publish(2, 3)
    await turn()
    t.strictSame(subscriber.received, [], 'nor the event in whose filter it stopped')
    t.equal(subscriber.reader.position, 1)
    t.equal(feed.readers, 0)
  }
})

t.test('a closed feed closes its subscriber', async t => {
  const { feed } = numberFeed()
  const subscriber = await new TestSubscriber(feed).start()
  feed.close()
  t.strictSame(subscriber.received, ['closed'])
})

t.test('a filter drops an event, a map replaces it, and both receive one frozen object with the id', async t => {
  const { publish, feed, epoch, frame, to } = numberFeed()
  const seen: DecodedEvent[] = []
  const filter = (event: DecodedEvent): boolean => {
    seen.push(event)
    return Number(event.data) % 2 === 0
  }
  const map = ({ data }: DecodedEvent): unknown =>
    data === 4 ? undefined : data === 6 ? null : { event: 'twice', data: Number(data) * 2, id: 'mine' }
  const filtered = await new TestSubscriber(feed, { projection: { filter } }).start()
  const mapped = await new TestSubscriber(feed, { projection: { filter, map } }).start()
  publish(1, 2, 4, 6)
  await turn()
  t.strictSame(filtered.received, [to(1), frame(2, 2), frame(4, 3), frame(6, 4)])
  t.strictSame(mapped.received, [to(1), { event: 'twice', data: 4, id: `${epoch}-2` }])
  t.equal(seen.length, 8)
  t.ok(upTo(3, 0).every(index => seen[index] === seen[index + 4] && Object.isFrozen(seen[index])))
})

t.test('a value that is no event is passed on unchanged, to be rejected', async t => {
  const { publish, feed } = numberFeed()
  const subscriber = await new TestSubscriber(feed, { projection: { map: () => 'text' } }).start()
  publish(1)
  await turn()
  t.strictSame(subscriber.received, ['text'])
})

t.test('a subscriber without frames receives every event as an object', async t => {
  const { publish, feed, epoch, at } = numberFeed()
  publish(1)
  const subscriber = await new TestSubscriber(feed, { frames: false }).start(at(0))
  publish(2)
  await turn()
  t.strictSame(subscriber.received, [1, 2].map(n => ({ event: 'message', data: n, id: `${epoch}-${n}` })))
})

t.test('with several channels every frame is made for the subscriber, with the id of all', async t => {
  const { publish, feed, at } = numberFeed()
  publish(1)
  const subscriber = new TestSubscriber(feed, { singleChannel: false })
  subscriber.id = () => 'id of all'
  await subscriber.start(at(0))
  publish(2)
  await turn()
  t.strictSame(subscriber.received, ['id: id of all\ndata: 1', 'id: id of all\ndata: 2'])
  t.strictSame(subscriber.batches, [])
})

for (const way of ['live', 'replay']) {
  t.test(`R5: a filter that throws ends only its own subscriber, ${way}`, async t => {
    const { publish, feed, at, frame } = numberFeed()
    const error = new Error('no filter')
    if (way === 'replay') publish(1)
    const other = await new TestSubscriber(feed).start(at(0))
    const subscriber = await new TestSubscriber(feed, { projection: { filter: () => { throw error } } }).start(at(0))
    if (way === 'live') publish(1)
    await turn()
    t.strictSame([subscriber.received, other.received], [[error], [frame(1)]])
    t.equal(feed.readers, 1)
    publish(2)
    await turn()
    t.strictSame([subscriber.received.length, other.received.length], [1, 2])
  })
}

t.test('the position is sent after 128 dropped events or more, and an event resets the count', async t => {
  const { publish, feed, epoch, frame, to } = numberFeed()
  const subscriber = await new TestSubscriber(feed, { projection: { filter: ({ data }) => data === 100 } }).start()
  publish(...upTo(99))
  await turn()
  t.equal(subscriber.droppedShare, 99 / 256)
  publish(100)
  publish(...upTo(227, 101))
  await turn()
  t.strictSame(subscriber.received, [to(99), frame(100)])
  publish(228, 229)
  await turn()
  t.strictSame(subscriber.received, [to(99), frame(100), { id: `${epoch}-229` }])
  t.equal(subscriber.droppedShare, 0)
})

t.test('R9: the position of dropped events is sent before the next event, in the same write, and only then', async t => {
  const { publish, feed, frame, to } = numberFeed()
  const subscriber = new TestSubscriber(feed, {
    projection: { filter: ({ data }) => [1, 3, 4, 8].includes(Number(data)) }
  })
  const writes: unknown[] = []
  subscriber.writeFrames = (frames, events) => {
    writes.push([frames, events])
    TestSubscriber.prototype.writeFrames.call(subscriber, frames, events)
  }
  await subscriber.start()
  publish(...upTo(9))
  await turn()
  t.strictSame(subscriber.received, [frame(1), to(2), frame(3), frame(4), to(7), frame(8)])
  t.strictSame(writes.at(-1), [`${to(7)}\n\n${frame(8)}\n\n`, 1])
})

t.test('R9: a reader reports the end of the log when it reaches it, and not before there is room for more', async t => {
  const { publish, feed, at, log } = numberFeed()
  publish(1, 2)
  const subscriber = new TestSubscriber(feed)
  subscriber.room = 2
  await subscriber.start(at(0))
  t.equal(subscriber.caughtUpCount, 0)
  await subscriber.setRoom(1)
  t.equal(subscriber.caughtUpCount, 1)
  t.equal(subscriber.reader.atEnd, true)
  subscriber.room = 0
  publish(3)
  await turn()
  t.equal(subscriber.reader.atEnd, false)
  await subscriber.setRoom(Infinity)
  t.equal(subscriber.caughtUpCount, 2, 'the subscriber knows which one is the first')
  log.end()
  await turn()
  t.equal(subscriber.caughtUpCount, 2, 'the end of the channel is reported separately')
})

t.test('R9: the position of dropped events is sent before a gap, which counts from there, and before a new epoch', async t => {
  const { publish, log, feed, epoch } = numberFeed({ slowConsumer: 'skip', history: { maxEvents: 4 } })
  const subscriber = await new TestSubscriber(feed, { projection: { filter: () => false } }).start()
  publish(1)
  await turn()
  subscriber.room = 0
  publish(2)
  await turn()
  t.strictSame(subscriber.received, [{ id: `${epoch}-1` }], 'it stops there for now')
  publish(...upTo(7, 3))
  await turn()
  await subscriber.setRoom(Infinity)
  t.strictSame(subscriber.received.slice(1), [{ event: 'sse.gap', data: { dropped: 6 }, id: `${epoch}-7` }])
  publish(8)
  await turn()
  log.lose()
  await turn()
  t.strictSame(subscriber.received[2], { id: `${epoch}-8` })
  t.match(subscriber.received[3], { startPosition: { notice: { event: 'sse.reset' } } })
})

t.test('the lag of a reader is known, also in an epoch that it has not read', async t => {
  const { publish, log, feed } = numberFeed()
  const subscriber = await new TestSubscriber(feed).start()
  subscriber.room = 0
  publish(1, 2, 3)
  await turn()
  t.equal(subscriber.reader.lag, 3)
  await subscriber.setRoom(1)
  t.equal(subscriber.reader.lag, 2)
  log.lose()
  publish(4)
  await turn()
  t.equal(subscriber.reader.lag, 1, 'all events of the new epoch')
  await subscriber.setRoom(Infinity)
  await turn()
  t.equal(subscriber.reader.lag, 0)
})

t.test("R5: 'disconnect': a reader behind the whole history ends its subscriber, and receives nothing", async t => {
  const { publish, feed } = numberFeed({ history: { maxEvents: 2 } })
  const subscriber = await new TestSubscriber(feed).start()
  subscriber.room = 0
  publish(1, 2, 3)
  await turn()
  await subscriber.setRoom(Infinity)
  t.strictSame(subscriber.received, ['lagging news'])
  t.equal(feed.readers, 0)
})

t.test('R5: a reader that is behind, but inside the history, loses nothing', async t => {
  const { publish, feed, frame } = numberFeed({ history: { maxEvents: 2 } })
  const subscriber = await new TestSubscriber(feed).start()
  subscriber.room = 0
  publish(1, 2)
  await turn()
  await subscriber.setRoom(Infinity)
  t.strictSame(subscriber.received, [frame(1), frame(2)])
})

for (const singleChannel of [true, false]) {
  t.test(`R5: 'skip': a gap with the number of dropped events, then the next event, ${singleChannel ? 'one channel' : 'with the name of one of several channels'}`, async t => {
    const { publish, feed, epoch, frame } = numberFeed({ slowConsumer: 'skip', history: { maxEvents: 2 } })
    const subscriber = await new TestSubscriber(feed, { singleChannel }).start()
    subscriber.room = 0
    publish(1, 2, 3, 4)
    await turn()
    await subscriber.setRoom(Infinity)
    publish(5)
    await turn()
    t.strictSame(subscriber.received, [{
      event: 'sse.gap',
      data: singleChannel ? { dropped: 4 } : { dropped: 4, channel: 'news' },
      id: `${epoch}-4`
    }, frame(5)])
  })
}

t.test('R5: without a history, a reader with room receives everything, and a reader without room receives a gap', async t => {
  const { publish, feed, epoch, frame } = numberFeed({ slowConsumer: 'skip', history: { maxEvents: 0 } })
  const [fast, slow] = [await new TestSubscriber(feed).start(), await new TestSubscriber(feed).start()]
  slow.room = 0
  publish(1)
  await turn()
  await slow.setRoom(Infinity)
  publish(2)
  await turn()
  t.strictSame(fast.received, [frame(1), frame(2)])
  t.strictSame(slow.received, [{ event: 'sse.gap', data: { dropped: 1 }, id: `${epoch}-1` }, frame(2)])
})

const latest = ({ data }: { data: unknown }): unknown => Number(data) % 3

for (const state of ['a new state', undefined]) {
  t.test(`R5: 'snapshot': a gap, ${state ?? 'an empty snapshot'}, then the events after it`, async t => {
    const { publish, feed, epoch, frame } = numberFeed({ slowConsumer: 'snapshot', history: { maxEvents: 2 } })
    const snapshot = (): unknown => state && { event: 'state', data: state }
    const subscriber = await new TestSubscriber(feed, { projection: { snapshot } }).start()
    subscriber.room = 0
    publish(1, 2, 3, 4)
    await turn()
    await subscriber.setRoom(Infinity)
    publish(5)
    await turn()
    t.strictSame(subscriber.received, [{
      startPosition: {
        epoch,
        position: 4,
        notice: { event: 'sse.gap', data: { dropped: 4 } },
        snapshot: state === undefined ? [] : [{ event: 'state', data: state }],
        complete: false
      }
    }, frame(5)])
  })
}

t.test("R5: 'snapshot': without a snapshot, as 'skip'", async t => {
  const { publish, feed, epoch, frame } = numberFeed({ slowConsumer: 'snapshot', history: { maxEvents: 2 } })
  const subscriber = await new TestSubscriber(feed).start()
  subscriber.room = 0
  publish(1, 2, 3, 4)
  await turn()
  await subscriber.setRoom(Infinity)
  publish(5)
  await turn()
  t.strictSame(subscriber.received, [{ event: 'sse.gap', data: { dropped: 4 }, id: `${epoch}-4` }, frame(5)])
})

t.test("R5: 'snapshot': a log that began a new epoch meanwhile resets the reader once", async t => {
  const { publish, log, feed } = numberFeed({ slowConsumer: 'snapshot', history: { maxEvents: 2 } })
  const subscriber = await new TestSubscriber(feed, { projection: { snapshot: () => ({ data: 'state' }) } }).start()
  subscriber.room = 0
  publish(1, 2, 3, 4)
  await turn()
  const state = log.state.bind(log)
  let answer = (): void => {}
  log.state = () => new Promise(resolve => { answer = () => resolve(log.now) })
  subscriber.room = Infinity
  subscriber.reader.pull()
  log.state = state
  log.lose()
  publish(5)
  answer()
  await within('the reset', (async () => { while (subscriber.received.length < 1) await turn() })())
  t.match(subscriber.received, [{ startPosition: { notice: { event: 'sse.reset', data: { reason: 'unknown' } } } }])
})

for (const way of ['live', 'reading', 'live, with its first event at once']) {
  t.test(`R3: a log that lost its history sends sse.reset 'unknown', then the new epoch: ${way}`, async t => {
    const { publish, log, feed, epoch } = numberFeed()
    if (way !== 'live, with its first event at once') publish(1, 2)
    const subscriber = await new TestSubscriber(feed, { projection: { start: 'latest' } }).start()
    if (way === 'reading') {
      subscriber.room = 0
      publish(3)
      await turn()
    }
    log.lose()
    publish(1)
    await subscriber.setRoom(Infinity)
    await turn()
    const { epoch: next } = log.now
    t.not(next, epoch)
    publish(2)
    await turn()
    const [announced, ...rest] = subscriber.received
    t.strictSame(announced, {
      startPosition: {
        epoch: next,
        position: 1,
        notice: { event: 'sse.reset', data: { reason: 'unknown', oldest: 1, newest: 1 } },
        snapshot: [],
        complete: false
      }
    })
    t.strictSame(rest, [`id: ${next}-2\ndata: 2`])
  })
}

t.test("R3: with start 'earliest', all entries of the new log are sent once after the reset", async t => {
  const { publish, log, feed } = numberFeed()
  const subscriber = await new TestSubscriber(feed, { projection: { start: 'earliest' } }).start()
  log.lose()
  publish(1)
  await turn()
  publish(2)
  await turn()
  const { epoch } = log.now
  t.strictSame(subscriber.received.slice(1), [`id: ${epoch}-1\ndata: 1`, `id: ${epoch}-2\ndata: 2`])
})

t.test('R3: a new epoch that is read before the tail delivers it reaches live readers, too', async t => {
  liftLoopBudget(t)
  const { publish, log, feed } = numberFeed()
  const held: Array<() => void> = []
  let hold = false
  const tail = log.tail.bind(log)
  log.tail = listener => tail(batch => {
    if (hold) held.push(() => listener(batch))
    else listener(batch)
  })
  const subscriber = await new TestSubscriber(feed).start()
  publish(...upTo(5))
  await turn()
  hold = true
  log.lose()
  publish(1, 2)
  feed.state()
  await turn()
  hold = false
  for (const tell of held) tell()
  publish(3)
  await turn()
  const { epoch } = log.now
  t.strictSame(subscriber.received.slice(5), [
    {
      startPosition: {
        epoch,
        position: 2,
        notice: { event: 'sse.reset', data: { reason: 'unknown', oldest: 1, newest: 2 } },
        snapshot: [],
        complete: false
      }
    },
    `id: ${epoch}-3\ndata: 3`
  ])
})

t.test('R5: entries evicted before the start position was sent are a gap, not a slow consumer', async t => {
  const { publish, feed, epoch, frame } = numberFeed({ history: { maxEvents: 2 }, start: 'earliest' })
  publish(1, 2)
  const subscriber = new TestSubscriber(feed, { projection: { start: 'earliest' } })
  t.match(await subscriber.open(), { position: 0 })
  publish(3, 4)
  subscriber.reader.start()
  await turn()
  t.strictSame(subscriber.received, [{ event: 'sse.gap', data: { dropped: 2 }, id: `${epoch}-2` }, frame(3), frame(4)])
  publish(5)
  await turn()
  t.equal(subscriber.received.at(-1), frame(5), 'and is live')
})

t.test('R2: an event whose filter throws stays after the position', async t => {
  const { publish, feed } = numberFeed()
  const filter = ({ data }: DecodedEvent): boolean => {
    if (data === 3) throw new Error('no answer')
    return false
  }
  const subscriber = await new TestSubscriber(feed, { projection: { filter } }).start()
  publish(1, 2, 3)
  await turn()
  t.match(await subscriber.outcome, { message: 'no answer' })
  t.equal(subscriber.reader.position, 2)
})

t.test('R7: the error of a failed channel bypasses filter and map; an error event of its map does not', async t => {
  const text = Type.String()
  for (const [events, received] of [[{ text }, 1], [{ text, error: text }, 0], [undefined, 0]] as const) {
    const log = new RemoteLog()
    const contract = events === undefined ? freeContract : compileContract(events, 'news', schemaCompiler({}))
    const feed = new Feed(resolveChannel('news', { events }), log, logger, undefined, contract)
    const seen: string[] = []
    const subscriber = await new TestSubscriber(feed, {
      projection: {
        filter: ({ event }) => {
          seen.push(event)
          return false
        }
      }
    }).start()
    log.append({ event: 'error', data: '"failed"', json: true, fingerprint: 'failure' })
    await turn()
    t.strictSame([subscriber.received.length, seen.length], [received, 1 - received])
    subscriber.reader.stop()
  }
})

t.test('a reader that was stopped before its start is not added', async t => {
  const { feed } = numberFeed()
  const subscriber = new TestSubscriber(feed)
  subscriber.reader.stop()
  subscriber.open()
  t.equal(feed.readers, 0)
})

t.test('a log that cannot be read ends the subscriber with its error', async t => {
  for (const late of [false, true]) {
    const { publish, log, feed, at } = numberFeed()
    const error = new Error('no log')
    publish(1)
    log.read = () => {
      if (late) return Promise.reject(error)
      throw error
    }
    const subscriber = await new TestSubscriber(feed).start(at(0))
    t.equal(await subscriber.outcome, error)
    t.equal(feed.readers, 0)
  }
})

t.test('a reader stopped during a read receives nothing, and its failure is ignored', async t => {
  for (const outcome of ['answer', 'failure']) {
    const { publish, log, feed, at } = numberFeed()
    publish(1)
    const batch = log.read(0, 1)
    let settle!: () => void
    log.read = () =>
      new Promise((resolve, reject) => {
        settle = outcome === 'answer' ? () => resolve(batch) : () => reject(new Error('late'))
      })
    const subscriber = await new TestSubscriber(feed).start(at(0))
    subscriber.reader.stop()
    settle()
    await turn()
    t.strictSame(subscriber.received, [])
  }
})

t.test('a reader stopped while a new epoch is read is not notified of it', async t => {
  liftLoopBudget(t)
  const { publish, log, feed } = numberFeed()
  publish(1)
  let asked = 0
  const subscriber: TestSubscriber = new TestSubscriber(feed, {
    projection: {
      snapshot: () => {
        if (++asked === 2) subscriber.reader.stop()
        return null
      }
    }
  })
  await subscriber.start()
  log.lose()
  await turn()
  t.equal(asked, 2)
  t.strictSame(subscriber.received, [])
})

t.test('R3: a snapshot that fails after a new epoch ends only its subscriber', async t => {
  const { log, feed } = numberFeed()
  const error = new Error('no state')
  let calls = 0
  const snapshot = (): unknown => {
    if (++calls > 1) throw error
    return undefined
  }
  const [subscriber, other] = [await new TestSubscriber(feed, { projection: { snapshot } }).start(),
    await new TestSubscriber(feed).start()]
  log.lose()
  await turn()
  t.strictSame(subscriber.received, [error])
  t.equal(other.received.length, 1)
  t.equal(feed.readers, 1)
})

/** Checks the received frames: a position moves by events that were sent, dropped or merged. Returns the last one. */
function account (
  { startPosition, received }: TestSubscriber,
  newest: ReadonlyMap<string, number>,
  slow: unknown
): { epoch: string, position: number } {
  let { epoch, position } = startPosition!
  let dropped = 0
  let skipped: number[] = []
  /** Checks that a later event of its key replaced each event of an epoch that was neither received nor dropped. */
  const settle = (): void => {
    // Of a key whose latest event was lost, the earlier ones are merged.
    const lost = new Set(skipped.map(offset => slow === 'latest' ? latest({ data: offset }) : offset))
    truth(lost.size <= dropped, `${lost.size} were lost, and ${dropped} dropped`)
    dropped = 0
    skipped = []
  }
  const moveTo = (offset: number): void => {
    truth(offset >= position && offset <= newest.get(epoch)!, `${offset} comes after ${position}`)
    while (++position <= offset) skipped.push(position)
    position--
  }
  for (const each of received) {
    const [, at, passed] = /^event: sse.position\nid: (\w+)-(\d+)\ndata: $/.exec(String(each)) ?? []
    if (at !== undefined) {
      same(at, epoch)
      truth(slow === 'latest', 'an event was merged')
      moveTo(Number(passed))
    } else if (typeof each === 'string') {
      const [frame, id, offset, data] = /^id: (\w+)-(\d+)\ndata: (\d+)$/.exec(each) ?? []
      // The last item is the outcome.
      if (frame === undefined) continue
      same([id, data, offset], [epoch, offset, String(++position)])
      skipped = skipped.filter(offset => slow !== 'latest' || latest({ data: offset }) !== latest({ data }))
    } else if ('startPosition' in (each as object)) {
      const { startPosition: begun } = each as { startPosition: StartPosition }
      if (begun.epoch === epoch) {
        same([slow, begun.notice], ['snapshot', { event: 'sse.gap', data: { dropped: begun.position - position } }])
      } else {
        same([begun.notice?.event, (begun.notice?.data as { reason?: string }).reason], ['sse.reset', 'unknown'])
      }
      // An epoch that is over may have had events that no reader received.
      skipped = []
      settle()
      ;({ epoch, position } = begun)
    } else {
      const { event, data, id } = each as { event: string, data: { dropped: number }, id: string }
      same(event, 'sse.gap')
      truth(data.dropped > 0, 'something was dropped')
      dropped += data.dropped
      const before = position
      moveTo(Number(id.split('-')[1]))
      truth(slow === 'latest' ? data.dropped <= position - before : data.dropped === position - before, 'a gap adds up')
      same(id, `${epoch}-${position}`)
    }
  }
  settle()
  return { epoch, position }
}

function same (actual: unknown, expected: unknown): void {
  const [got, wanted] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (got !== wanted) throw new Error(`got ${got}, wanted ${wanted}`)
}

function truth (holds: boolean, what: string): void {
  if (!holds) throw new Error(`not so: ${what}`)
}

type Step = { do: 'append' | 'setRoom' | 'turns', count: number } | { do: 'lose' | 'look' }

const steps: fc.Arbitrary<Step[]> = fc.array(fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('append' as const), count: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('setRoom' as const), count: fc.integer({ min: 0, max: 9 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'lose' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'look' as const }) }
), { maxLength: 40 })

for (const slow of ['disconnect', 'skip', 'snapshot', 'latest'] as const) {
  for (const late of [false, true]) {
    t.test(`R2, R5: '${slow}', a log that answers ${late ? 'late' : 'at once'}: 1..n once and in order, or missing events are reported and counted`, async t => {
      await fc.assert(
        fc.asyncProperty(steps, fc.integer(), fc.integer({ min: 1, max: 40 }), fc.boolean(),
          async (steps, seed, events, filtered) => {
            const log = new RemoteLog({ maxEvents: events }, late ? dice(seed) : undefined)
            const feed = feedOf(log, {
              slowConsumer: slow === 'latest' ? { compactBy: latest } : slow,
              history: { maxEvents: events }
            })
            const newest = new Map<string, number>()
            const underWay: unknown[] = []
            let next = 1
            const append = async (n: number): Promise<void> => {
              const { epoch, offset } = await log.append(numbered(n))
              newest.set(epoch, offset)
            }
            const subscriber = new TestSubscriber(feed, {
              projection: { ...filtered && { filter: () => true }, ...slow === 'snapshot' && { snapshot: () => null } }
            })
            const begun = subscriber.start()
            for (const step of steps) {
              if (step.do === 'append') {
                for (let count = step.count; count > 0; count--) underWay.push(append(next++))
              } else if (step.do === 'setRoom') {
                underWay.push(subscriber.setRoom(step.count))
              } else if (step.do === 'turns') {
                for (let count = step.count; count > 0; count--) await turn()
              } else if (step.do === 'look') {
                underWay.push(feed.state())
              } else {
                underWay.push(log.lose())
                next = 1
              }
            }
            await begun
            await Promise.all(underWay)
            await subscriber.setRoom(Infinity)
            await log.end()
            const outcome = await within('the end', subscriber.outcome)
            const { epoch, position } = account(subscriber, newest, slow)
            const now = log.now
            if (slow === 'disconnect' && outcome === 'lagging news') {
              truth(epoch !== now.epoch || position < now.oldest - 1, 'the next event was lost')
            } else same([outcome, epoch, position], ['ended', now.epoch, now.newest])
            same(feed.readers, 0)
          }),
        { numRuns: 150 }
      )
      t.pass('for any interleaving')
    })
  }
}
