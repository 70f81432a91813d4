import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import type { FrameBatch } from '../../lib/channel/frame-batch.ts'
import { Feed, type FeedReader } from '../../lib/channel/feed.ts'
import { resolveChannel, type ChannelOptions } from '../../lib/channel/settings.ts'
import type { EventLog, LogBatch, LogState } from '../../lib/log/log.ts'
import { dice, numbered, RemoteLog } from '../setup/remote-log.ts'

interface Made<L> { feed: Feed, log: L, errors: unknown[] }

function make<L extends EventLog = RemoteLog> (
  options: ChannelOptions = {},
  log: L = new RemoteLog() as EventLog as L
): Made<L> {
  const errors: unknown[] = []
  const logger = { error: ({ err }: { err: unknown }) => { errors.push(err) } } as unknown as FastifyBaseLogger
  return { feed: new Feed(resolveChannel('news', options), log, logger), log, errors }
}

/** A reader that only records deliveries, and runs a callback for each. */
class RecordingReader implements FeedReader {
  /** The offsets of each batch, `turn` and `close`. */
  readonly received: unknown[] = []
  readonly batches: FrameBatch[] = []
  onTurn = (): void => {}

  deliver (batch: FrameBatch): void {
    this.batches.push(batch)
    this.received.push(batch.entries.map(({ offset }) => offset))
  }

  onStateChange (): void {
    this.received.push('turn')
    this.onTurn()
  }

  close (): void { this.received.push('close') }
}

/** Adds a live reader. */
function addLiveReader (feed: Feed): RecordingReader {
  const reader = new RecordingReader()
  feed.add(reader)
  feed.attachLive(reader)
  return reader
}

t.test('R4: events published in one turn are one batch, the same one for all live readers', async t => {
  const { feed, log } = make()
  const [one, other] = [addLiveReader(feed), addLiveReader(feed)]
  log.append(numbered(1))
  await Promise.resolve().then(() => log.append(numbered(2)))
  t.strictSame(one.received, [], 'nothing within the turn')
  await turn()
  log.append(numbered(3))
  await turn()
  t.strictSame(one.received, [[1, 2], [3]])
  t.equal(one.batches[0]!.epoch, log.now.epoch)
  t.ok(one.batches.every((batch, index) => batch === other.batches[index]))
})

t.test('R4: a batch grows to 32 KB of data, and is then delivered at once', async t => {
  const { feed, log } = make()
  const reader = addLiveReader(feed)
  const large = { event: 'message', data: 'x'.repeat(20_000), json: false }
  for (let n = 0; n < 5; n++) log.append(large)
  t.strictSame(reader.received, [[1, 2], [3, 4]])
  await turn()
  t.strictSame(reader.received, [[1, 2], [3, 4], [5]])
})

t.test('R4: empty events fill a batch, too', async t => {
  const { feed, log } = make()
  const reader = addLiveReader(feed)
  for (let n = 0; n < 1_025; n++) log.append({ event: 'message', data: '', json: false })
  t.equal((reader.received[0] as number[] | undefined)?.length, 1_024)
})

t.test('L4: a reader that publishes from deliver() does not block the event loop', async t => {
  const { feed, log } = make()
  const reader = addLiveReader(feed)
  let received = 0
  reader.deliver = () => {
    received++
    log.append(numbered(received))
  }
  log.append(numbered(0))
  // A timer fires only when the ticks end.
  await new Promise(resolve => { setTimeout(resolve, 20) })
  feed.remove(reader)
  t.ok(received > 1)
})

/** Adds more readers than one turn of the loop reaches, each with the order in which they were called. */
function createAudience (
  feed: Feed,
  size = 600
): { readers: RecordingReader[], order: RecordingReader[], receivedBy: (offset: number) => number } {
  const order: RecordingReader[] = []
  const readers = Array.from({ length: size }, () => {
    const reader = addLiveReader(feed)
    const { deliver } = reader
    reader.deliver = batch => {
      order.push(reader)
      deliver.call(reader, batch)
    }
    return reader
  })
  return {
    readers,
    order,
    receivedBy: offset => readers.filter(({ batches }) => batches.some(({ to }) => to >= offset)).length
  }
}

t.test('L4: a large audience does not block the event loop, and events published meanwhile are one batch', async t => {
  const { feed, log } = make()
  const { readers, receivedBy } = createAudience(feed)
  log.append(numbered(1))
  let turns = 0
  for (; receivedBy(1) < readers.length; turns++) {
    await turn()
    t.ok(receivedBy(1) - 256 * turns <= 256)
    log.append(numbered(2 + turns))
  }
  t.equal(turns, 3)
  while (receivedBy(4) < readers.length) await turn()
  for (const { received } of readers) t.strictSame(received, [[1], [2, 3], [4]])
  t.equal(feed.statistics.latency.snapshot().count, 3)
})

t.test('L4: a full batch does not wait for the one before it: it delays the publisher instead of filling memory', async t => {
  const { feed, log } = make()
  const { readers } = createAudience(feed)
  const large = { event: 'message', data: 'x'.repeat(20_000), json: false }
  log.append(large)
  await turn()
  for (let n = 0; n < 4; n++) log.append(large)
  for (const { received } of readers) t.strictSame(received, [[1], [2, 3]])
  await turn()
  await turn()
  await turn()
  for (const { received } of readers) t.strictSame(received, [[1], [2, 3], [4, 5]])
})

t.test('R2: readers are added and removed during a delivery', async t => {
  const { feed, log } = make()
  const { readers, receivedBy } = createAudience(feed)
  log.append(numbered(1))
  await turn()
  t.ok(receivedBy(1) > 0 && receivedBy(1) < readers.length)
  const [late, ...others] = readers.reverse() as [RecordingReader, ...RecordingReader[]]
  feed.remove(late)
  const detached = others[0]!
  feed.detachLive(detached)
  const newcomer = addLiveReader(feed)
  while (receivedBy(1) < readers.length - 2) await turn()
  await turn()
  t.strictSame([late.received, detached.received], [[], []])
  t.strictSame(newcomer.received, [[1]], 'its position shows that it has the batch')
})

t.test('R3: a batch does not continue into another epoch', async t => {
  const { feed, log } = make()
  const { readers, receivedBy } = createAudience(feed)
  log.append(numbered(1))
  await turn()
  const first = receivedBy(1)
  t.ok(first > 0 && first < readers.length)
  log.lose()
  log.append(numbered(2))
  while (readers.some(({ received }) => !received.includes('turn'))) await turn()
  t.equal(readers.filter(({ batches }) => batches[0]?.epoch !== log.now.epoch).length, first)
  for (const { batches } of readers) t.ok(batches.at(-1)!.epoch === log.now.epoch)
})

t.test('L7: pending events can be delivered at once, and are delivered before a feed closes', async t => {
  for (const end of [(feed: Feed) => feed.flush(), (feed: Feed) => feed.close()]) {
    const { feed, log } = make()
    const { readers } = createAudience(feed)
    log.append(numbered(1))
    await turn()
    log.append(numbered(2))
    end(feed)
    for (const { received } of readers) t.strictSame(received.filter(received => received !== 'close'), [[1], [2]])
  }
})

t.test('L4: a reader that publishes from deliver() gets no larger share of a turn', async t => {
  const { feed, log } = make()
  const { readers, order } = createAudience(feed)
  const [first] = readers as [RecordingReader]
  const { deliver } = first
  first.deliver = batch => {
    deliver(batch)
    if (batch.to < 20) log.append(numbered(batch.to))
  }
  log.append(numbered(0))
  for (let before = 0; order.length < 20 * readers.length; before = order.length) {
    await turn()
    t.ok(order.length - before <= 256, `${order.length - before} in one turn`)
  }
  for (const { received } of readers) t.strictSame(received, Array.from({ length: 20 }, (_, index) => [index + 1]))
})

t.test('L7: a reader that publishes from deliver() does not keep flush() from returning', async t => {
  const { feed, log } = make()
  const reader = addLiveReader(feed)
  let received = 0
  reader.deliver = () => { log.append(numbered(++received)) }
  log.append(numbered(0))
  feed.flush()
  t.equal(received, 1)
  feed.close()
  t.equal(received, 2)
  feed.remove(reader)
})

t.test('L4: a reader that publishes a full batch from deliver() does not break the delivery under way', async t => {
  const { feed, log } = make()
  const { readers, order } = createAudience(feed)
  const [first] = readers as [RecordingReader]
  const { deliver } = first
  first.deliver = batch => {
    deliver(batch)
    if (batch.to === 1) {
      for (let n = 0; n < 3; n++) log.append({ event: 'message', data: 'x'.repeat(20_000), json: false })
    }
  }
  log.append(numbered(1))
  while (order.length < 3 * readers.length) await turn()
  await turn()
  for (const { received } of readers) t.strictSame(received, [[1], [2, 3], [4]])
})

t.test('R1: a gap in the tail is a gap between batches, never inside of one', async t => {
  const { log, tell } = manualLog()
  const { feed } = make({}, log)
  const reader = addLiveReader(feed)
  tell([1, 2, 5, 6], 6)
  await turn()
  t.strictSame(reader.received, [[1, 2], [5, 6]])
  t.equal(feed.newest, 6)
})

t.test('detached and removed readers receive nothing, nor do readers of the log', async t => {
  const { feed, log } = make()
  const [live, detached, left, reading] = [addLiveReader(feed), addLiveReader(feed), addLiveReader(feed),
    new RecordingReader()]
  feed.add(reading)
  t.equal(feed.readers, 4)
  feed.detachLive(detached)
  feed.remove(left)
  feed.remove(left)
  t.equal(feed.readers, 3)
  log.append(numbered(1))
  await turn()
  t.strictSame([live, detached, left, reading].map(({ received }) => received), [[[1]], [], [], []])
})

t.test('the log is tailed while there are readers, and no longer', async t => {
  const { feed, log } = make()
  t.equal(log.listeners, 0)
  const [one, other] = [addLiveReader(feed), addLiveReader(feed)]
  t.equal(log.listeners, 1)
  feed.remove(one)
  t.equal(log.listeners, 1)
  feed.remove(other)
  t.equal(log.listeners, 0)
  log.append(numbered(1))
  const state = feed.add(one) as LogState
  t.equal(log.listeners, 1)
  t.equal(state.newest, 1)
  t.strictSame([feed.epoch, feed.newest, feed.ended], [state.epoch, 1, false])
})

t.test('R2: events published before the last reader was removed are not delivered to a reader added in the same turn', async t => {
  const { feed, log } = make()
  const one = addLiveReader(feed)
  log.append(numbered(1))
  feed.remove(one)
  const other = addLiveReader(feed)
  log.append(numbered(2))
  await turn()
  t.strictSame([one.received, other.received], [[], [[2]]])
})

t.test('R7: the end of the log is delivered after the events published before it', async t => {
  const { feed, log } = make()
  const reader = addLiveReader(feed)
  log.append(numbered(1))
  log.end()
  t.equal(feed.ended, true)
  await turn()
  t.strictSame(reader.received, [[1], 'turn'])
})

t.test('R5: a tail without entries for new offsets makes live readers read the log', async t => {
  let tell: (batch: LogBatch) => void = () => {}
  const log = Object.assign(new RemoteLog(), { tail: (listener: typeof tell) => { tell = listener; return () => {} } })
  const { feed } = make({}, log)
  const reader = addLiveReader(feed)
  const { epoch } = log.now
  const batch = { epoch, newest: 2, ended: false, entries: [] }
  tell(batch)
  tell(batch)
  await turn()
  t.strictSame(reader.received, ['turn'])
  t.equal(feed.newest, 2)
})

t.test('a closed feed closes all of its readers', async t => {
  const { feed } = make()
  const [live, reading] = [addLiveReader(feed), new RecordingReader()]
  feed.add(reading)
  feed.close()
  t.strictSame([live.received, reading.received], [['close'], ['close']])
})

t.test('R3: live readers are notified of a new epoch once, and no events of the old one are mixed in', async t => {
  const { feed, log } = make()
  const reader = addLiveReader(feed)
  log.append(numbered(1))
  await turn()
  log.append(numbered(2))
  log.lose()
  log.append(numbered(1))
  await turn()
  await turn()
  t.strictSame(reader.received.filter(received => received === 'turn'), ['turn'])
  t.ok(reader.batches.slice(1).every(batch => batch.epoch === log.now.epoch))
  t.strictSame([feed.epoch, feed.newest], [log.now.epoch, 1])
})

t.test('R3: live readers are notified of a new epoch that a read of the state found first', async t => {
  const { log, tell, begin } = manualLog()
  const { feed } = make({}, log)
  const reader = addLiveReader(feed)
  tell([1, 2, 3], 3)
  await turn()
  begin('b', 1)
  feed.state()
  await turn()
  t.strictSame(reader.received, [[1, 2, 3], 'turn'])
  tell([1], 1)
  await turn()
  t.strictSame([feed.epoch, feed.newest], ['b', 1])
})

t.test('L4: a reader that attaches again within its turn is notified of that turn once', async t => {
  const { feed, log } = make()
  const reader = addLiveReader(feed)
  let turns = 0
  reader.onTurn = () => {
    if (++turns > 10) return
    feed.detachLive(reader)
    feed.attachLive(reader)
  }
  log.lose()
  await turn()
  t.equal(turns, 1)
})

t.test('R3: an answer that was under way when a new epoch began does not restore the old one', async t => {
  const { log, begin, tell } = manualLog()
  const answers: Array<(state: LogState) => void> = []
  const { feed } = make({}, log)
  addLiveReader(feed)
  const old = log.state() as LogState
  const sync = log.state
  log.state = () => new Promise(resolve => { answers.push(resolve) })
  const asked = feed.state() as Promise<LogState>
  begin('b', 0)
  tell([], 0)
  log.state = sync
  answers[0]!(old)
  const state = await asked
  t.strictSame([feed.epoch, state.epoch], ['b', 'b'])
})

t.test('R5: the latest events by key come from the history and from the tail', async t => {
  const latest = ({ data }: { data: unknown }): unknown => Number(data) % 3
  const { feed, log } = make({ slowConsumer: { compactBy: latest } })
  for (const n of [1, 2, 3, 4]) log.append(numbered(n))
  addLiveReader(feed)
  log.append(numbered(5))
  await turn()
  t.strictSame(feed.latest!.after(0, Infinity).map(({ offset }) => offset), [3, 4, 5])
})

t.test('R5: a reader whose entries were evicted gets the latest events of the same epoch, and the number of lost ones before the last', async t => {
  const latest = ({ data }: { data: unknown }): unknown => Number(data) % 3
  const { feed, log } = make({ slowConsumer: { compactBy: latest } })
  feed.add(new RecordingReader())
  for (const n of [1, 2, 3, 4, 5]) log.append(numbered(n))
  const { epoch } = feed
  const left = (epoch: string, position: number): unknown => {
    const { entries, dropped } = feed.latestFor({ epoch, position }, 5)
    return [entries.map(({ offset }) => offset), dropped]
  }
  t.strictSame(left(epoch, 0), [[3, 4, 5], 2])
  t.strictSame(left(epoch, 3), [[4, 5], 0])
  t.strictSame(left('another', 1), [[], 4])
  const without = make({ slowConsumer: 'skip' }).feed
  t.strictSame(without.latestFor({ epoch: without.epoch, position: 2 }, 9), { entries: [], dropped: 7 })
})

t.test('R5: the latest events by key are dropped without readers, and loaded again from the history', async t => {
  const latest = ({ data }: { data: unknown }): unknown => Number(data) % 2
  const { feed, log } = make({ slowConsumer: { compactBy: latest } })
  const reader = addLiveReader(feed)
  log.append(numbered(1))
  feed.remove(reader)
  t.strictSame(feed.latest!.after(0, Infinity), [])
  log.append(numbered(2))
  addLiveReader(feed)
  await turn()
  t.strictSame(feed.latest!.after(0, Infinity).map(({ offset }) => offset), [1, 2])
})

t.test('R5: the latest events by key are also loaded from a log that answers late', async t => {
  const latest = ({ data }: { data: unknown }): unknown => Number(data) % 3
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    const log = new RemoteLog({}, dice(seed))
    const { feed } = make({ slowConsumer: { compactBy: latest } }, log)
    for (const n of [1, 2, 3, 4]) await log.append(numbered(n))
    await log.delivered
    await feed.add(new RecordingReader())
    // Earlier requests are answered first.
    await log.read(0, 1)
    await turn()
    t.strictSame(feed.latest!.after(0, Infinity).map(({ offset }) => offset), [2, 3, 4], `seed ${seed}`)
  }
})

t.test('R5: compactBy receives the event as subscribers do, with its id', async t => {
  const seen: unknown[] = []
  const { feed, log } = make({ slowConsumer: { compactBy: event => { seen.push({ ...event }); return event.id } } })
  log.append(numbered(1))
  addLiveReader(feed)
  await turn()
  log.append(numbered(2))
  const { epoch } = log.now
  t.strictSame(seen, [{ event: 'message', data: 1, id: `${epoch}-1` }, { event: 'message', data: 2, id: `${epoch}-2` }])
})

t.test('R5: a compactBy that throws is logged, and the event is still delivered', async t => {
  const error = new Error('no key')
  const { feed, log, errors } = make({ slowConsumer: { compactBy: () => { throw error } } })
  const reader = addLiveReader(feed)
  await turn()
  log.append(numbered(1))
  await turn()
  t.strictSame(reader.received, [[1]])
  t.strictSame(errors, [error])
  t.strictSame(feed.latest!.after(0, Infinity), [])
})

t.test('R5: a history that cannot be read reduces the latest events, and ends no reader', async t => {
  const { log, tell } = manualLog()
  log.read = () => Promise.reject(new Error('away'))
  const { feed, errors } = make({ slowConsumer: { compactBy: ({ data }) => data } }, log)
  const reader = addLiveReader(feed)
  await turn()
  tell([1], 1)
  await turn()
  t.strictSame([reader.received, errors], [[[1]], []])
  t.strictSame(feed.latest!.after(0, Infinity).map(({ offset }) => offset), [1])
})

t.test('R5: keys of a lost history do not replace the new ones', async t => {
  const { log, tell, begin } = manualLog()
  let answer!: () => void
  const read = log.read
  log.read = (after, limit) => {
    const old = read(after, limit)
    return new Promise(resolve => { answer = () => resolve(old) })
  }
  tell([1, 2, 3], 3)
  const { feed } = make({ slowConsumer: { compactBy: () => 'one key' } }, log)
  addLiveReader(feed)
  await turn()
  begin('b', 0)
  tell([], 0)
  answer()
  await turn()
  tell([1], 1)
  t.strictSame(feed.latest!.after(0, Infinity).map(({ offset }) => offset), [1])
})

/** A log that delivers batches on command of the test. */
function manualLog () {
  let epoch = 'a'
  let newest = 0
  let entries: Array<{ offset: number, event: string, data: string, json: boolean }> = []
  const listeners = new Set<Parameters<EventLog['tail']>[0]>()
  const log: EventLog = {
    append: () => { throw new Error('not for this') },
    read: () => ({ epoch, newest, ended: false, entries }),
    state: () => ({ epoch, oldest: 1, newest, ended: false }),
    tail: listener => {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    end: () => {},
    isIdle: () => false,
    close: () => {}
  }
  const begin = (next: string, last: number): void => {
    epoch = next
    newest = last
    entries = []
  }
  const tell = (offsets: number[], last: number): void => {
    newest = last
    const received = offsets.map(offset => ({ offset, ...numbered(offset) }))
    entries = [...entries, ...received]
    for (const listener of listeners) listener({ epoch, newest, ended: false, entries: received })
  }
  return { log, begin, tell }
}
