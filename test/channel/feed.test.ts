import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import type { FrameBatch } from '../../lib/channel/frame-batch.ts'
import { Feed, type FeedReader } from '../../lib/channel/feed.ts'
import { resolveChannel, type ChannelOptions } from '../../lib/channel/settings.ts'
import type { EventLog, LogBatch, LogState } from '../../lib/log/log.ts'
import { numbered, RemoteLog } from '../setup/remote-log.ts'

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

t.test('R5: a compactBy that throws is logged, and the event is still delivered, as one without a key', async t => {
  const error = new Error('no key')
  const { feed, log, errors } = make({ slowConsumer: { compactBy: () => { throw error } } })
  const reader = addLiveReader(feed)
  await turn()
  log.append(numbered(1))
  log.append(numbered(2))
  await turn()
  t.strictSame(reader.received, [[1, 2]])
  t.strictSame(errors, [error, error])
  const { epoch } = feed
  const { entries } = await feed.compaction!.read({ epoch, position: 0 }, 9, 2)
  t.strictSame(entries.map(({ offset }) => offset), [1, 2])
})

t.test('subscribers with the same pace share a pacer, which is gone with the last of them', async t => {
  const { feed } = make({ slowConsumer: { compactBy: byData } })
  const paces = [{ every: 5, key: byData }, { every: 5, key: byData }, { every: 6, key: byData },
    { every: 5, key: () => 1 }, { every: 5, key: () => 1 }]
  const pacers = paces.map(pace => feed.joinPacer(pace))
  const [first, second, third, fourth, fifth] = pacers
  t.equal(first, second)
  t.equal(new Set([first, third, fourth, fifth]).size, 4)
  t.equal(first!.compaction, feed.compaction, 'by the key of compactBy')
  t.equal(third!.compaction, feed.compaction)
  t.not(fourth!.compaction, fifth!.compaction, 'another function is another key')
  for (const pacer of pacers) feed.leavePacer(pacer)
  t.equal(feed.compaction!.pacers.size, 0)
  const again = feed.joinPacer(paces[3]!)
  t.not(again.compaction, fourth!.compaction)
  feed.leavePacer(again)
})

t.test('a channel without compactBy and pace has no compaction, before its first pacer and after its last', async t => {
  const { feed, log } = make()
  const keys: unknown[] = []
  const key = ({ data }: { data: unknown }): unknown => keys.push(data)
  const reader = addLiveReader(feed)
  log.append(numbered(1))
  const [one, other] = [feed.joinPacer({ every: 5, key }), feed.joinPacer({ every: 6, key })]
  log.append(numbered(2))
  feed.leavePacer(one)
  log.append(numbered(3))
  feed.leavePacer(other)
  log.append(numbered(4))
  await turn()
  t.strictSame(keys, [2, 3], 'each key is made once')
  t.strictSame(reader.received, [[1, 2, 3, 4]])
  t.equal(feed.compaction, undefined)
})

t.test('a live reader of a pacer does not lag', async t => {
  const { feed } = make()
  const pacer = feed.joinPacer({ every: 5, key: byData })
  const [reader, other] = [new RecordingReader(), new RecordingReader()]
  feed.add(reader)
  feed.add(other)
  t.equal(feed.lagging, 2)
  pacer.attachLive(reader)
  t.equal(feed.lagging, 1)
  feed.attachLive(other)
  t.equal(feed.lagging, 0)
  feed.leavePacer(pacer)
})

t.test('R7: a feed that closes delivers all that waits for its pacers', async t => {
  const { feed, log } = make()
  const pacer = feed.joinPacer({ every: 100_000, key: () => 'key' })
  const reader = new RecordingReader()
  feed.add(reader)
  pacer.compaction.begin()
  pacer.attachLive(reader)
  log.append(numbered(1))
  await turn()
  await turn()
  log.append(numbered(2))
  await turn()
  t.strictSame(reader.received, [[1]])
  feed.close()
  t.strictSame(reader.received, [[1], [2], 'close'])
  feed.leavePacer(pacer)
})

const byData = ({ data }: { data: unknown }): unknown => data

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
