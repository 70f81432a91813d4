import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import type { FrameBatch } from '../../lib/channel/frame-batch.ts'
import { Feed, type FeedReader } from '../../lib/channel/feed.ts'
import { resolveChannel, type ChannelOptions } from '../../lib/channel/settings.ts'
import type { EventLog, LogBatch, LogState } from '../../lib/log/log.ts'
import { dice, numbered, RemoteLog } from '../setup/remote-log.ts'

interface Made<L> { feed: Feed, log: L, errors: unknown[] }

function make<L extends EventLog = RemoteLog> (options: ChannelOptions = {}, log: L = new RemoteLog() as EventLog as L): Made<L> {
  const errors: unknown[] = []
  const logger = { error: ({ err }: { err: unknown }) => { errors.push(err) } } as unknown as FastifyBaseLogger
  return { feed: new Feed(resolveChannel('news', options), log, logger), log, errors }
}

/** A reader that only records deliveries, and runs a callback for each. */
class StillReader implements FeedReader {
  /** The offsets of each batch, `turn` and `close`. */
  readonly told: unknown[] = []
  readonly chunks: FrameBatch[] = []
  onTurn = (): void => {}

  deliver (chunk: FrameBatch): void {
    this.chunks.push(chunk)
    this.told.push(chunk.entries.map(({ offset }) => offset))
  }

  onStateChange (): void {
    this.told.push('turn')
    this.onTurn()
  }

  close (): void { this.told.push('close') }
}

/** Adds a live reader. */
function joined (feed: Feed): StillReader {
  const reader = new StillReader()
  feed.add(reader)
  feed.attachLive(reader)
  return reader
}

t.test('R4: events published in one turn are one batch, the same one for all live readers', async t => {
  const { feed, log } = make()
  const [one, other] = [joined(feed), joined(feed)]
  log.append(numbered(1))
  await Promise.resolve().then(() => log.append(numbered(2)))
  t.strictSame(one.told, [], 'nothing within the turn')
  await turn()
  log.append(numbered(3))
  await turn()
  t.strictSame(one.told, [[1, 2], [3]])
  t.equal(one.chunks[0]!.epoch, log.now.epoch)
  t.ok(one.chunks.every((chunk, index) => chunk === other.chunks[index]))
})

t.test('R4: a batch grows to 32 KB of data, and is then delivered at once', async t => {
  const { feed, log } = make()
  const reader = joined(feed)
  const large = { event: 'message', data: 'x'.repeat(20_000), json: false }
  for (let n = 0; n < 5; n++) log.append(large)
  t.strictSame(reader.told, [[1, 2], [3, 4]])
  await turn()
  t.strictSame(reader.told, [[1, 2], [3, 4], [5]])
})

t.test('R4: empty events fill a batch, too', async t => {
  const { feed, log } = make()
  const reader = joined(feed)
  for (let n = 0; n < 1_025; n++) log.append({ event: 'message', data: '', json: false })
  t.equal((reader.told[0] as number[] | undefined)?.length, 1_024)
})

t.test('L4: a reader that publishes from deliver leaves the event loop its turns', async t => {
  const { feed, log } = make()
  const reader = joined(feed)
  let told = 0
  reader.deliver = () => {
    told++
    log.append(numbered(told))
  }
  log.append(numbered(0))
  // A timer fires only when the ticks end.
  await new Promise(resolve => { setTimeout(resolve, 20) })
  feed.remove(reader)
  t.ok(told > 1)
})

/** Adds more readers than one turn of the loop reaches, each with the order in which they were called. */
function audienceOf (feed: Feed, size = 600): { readers: StillReader[], order: StillReader[], toldBy: (offset: number) => number } {
  const order: StillReader[] = []
  const readers = Array.from({ length: size }, () => {
    const reader = joined(feed)
    const { deliver } = reader
    reader.deliver = chunk => {
      order.push(reader)
      deliver.call(reader, chunk)
    }
    return reader
  })
  return { readers, order, toldBy: offset => readers.filter(({ chunks }) => chunks.some(({ to }) => to >= offset)).length }
}

t.test('L4: a large audience leaves the event loop its turns, and events published meanwhile are one batch', async t => {
  const { feed, log } = make()
  const { readers, toldBy } = audienceOf(feed)
  log.append(numbered(1))
  let turns = 0
  for (; toldBy(1) < readers.length; turns++) {
    await turn()
    t.ok(toldBy(1) - 256 * turns <= 256)
    log.append(numbered(2 + turns))
  }
  t.equal(turns, 3)
  while (toldBy(4) < readers.length) await turn()
  for (const { told } of readers) t.strictSame(told, [[1], [2, 3], [4]])
  t.equal(feed.statistics.latency.snapshot().count, 3)
})

t.test('L4: a full batch does not wait for the one before it: it delays the publisher instead of filling memory', async t => {
  const { feed, log } = make()
  const { readers } = audienceOf(feed)
  const large = { event: 'message', data: 'x'.repeat(20_000), json: false }
  log.append(large)
  await turn()
  for (let n = 0; n < 4; n++) log.append(large)
  for (const { told } of readers) t.strictSame(told, [[1], [2, 3]])
  await turn()
  await turn()
  await turn()
  for (const { told } of readers) t.strictSame(told, [[1], [2, 3], [4, 5]])
})

t.test('R2: readers are added and removed during a delivery', async t => {
  const { feed, log } = make()
  const { readers, toldBy } = audienceOf(feed)
  log.append(numbered(1))
  await turn()
  t.ok(toldBy(1) > 0 && toldBy(1) < readers.length)
  const [late, ...others] = readers.reverse() as [StillReader, ...StillReader[]]
  feed.remove(late)
  const parted = others[0]!
  feed.detachLive(parted)
  const newcomer = joined(feed)
  while (toldBy(1) < readers.length - 2) await turn()
  await turn()
  t.strictSame([late.told, parted.told], [[], []])
  t.strictSame(newcomer.told, [[1]], 'it knows by its position whether it has that')
})

t.test('R3: a batch does not continue into another epoch', async t => {
  const { feed, log } = make()
  const { readers, toldBy } = audienceOf(feed)
  log.append(numbered(1))
  await turn()
  const first = toldBy(1)
  t.ok(first > 0 && first < readers.length)
  log.lose()
  log.append(numbered(2))
  while (readers.some(({ told }) => !told.includes('turn'))) await turn()
  t.equal(readers.filter(({ chunks }) => chunks[0]?.epoch !== log.now.epoch).length, first)
  for (const { chunks } of readers) t.ok(chunks.at(-1)!.epoch === log.now.epoch)
})

t.test('L7: pending events can be delivered at once, and are delivered before a feed closes', async t => {
  for (const end of [(feed: Feed) => feed.flush(), (feed: Feed) => feed.close()]) {
    const { feed, log } = make()
    const { readers } = audienceOf(feed)
    log.append(numbered(1))
    await turn()
    log.append(numbered(2))
    end(feed)
    for (const { told } of readers) t.strictSame(told.filter(told => told !== 'close'), [[1], [2]])
  }
})

t.test('L4: a reader that publishes from deliver gets no larger share of a turn', async t => {
  const { feed, log } = make()
  const { readers, order } = audienceOf(feed)
  const [first] = readers as [StillReader]
  const { deliver } = first
  first.deliver = chunk => {
    deliver(chunk)
    if (chunk.to < 20) log.append(numbered(chunk.to))
  }
  log.append(numbered(0))
  for (let before = 0; order.length < 20 * readers.length; before = order.length) {
    await turn()
    t.ok(order.length - before <= 256, `${order.length - before} in one turn`)
  }
  for (const { told } of readers) t.strictSame(told, Array.from({ length: 20 }, (_, index) => [index + 1]))
})

t.test('L7: a reader that publishes from deliver does not keep flush from returning', async t => {
  const { feed, log } = make()
  const reader = joined(feed)
  let told = 0
  reader.deliver = () => { log.append(numbered(++told)) }
  log.append(numbered(0))
  feed.flush()
  t.equal(told, 1)
  feed.close()
  t.equal(told, 2)
  feed.remove(reader)
})

t.test('L4: a reader that publishes a full batch from deliver does not break the delivery under way', async t => {
  const { feed, log } = make()
  const { readers, order } = audienceOf(feed)
  const [first] = readers as [StillReader]
  const { deliver } = first
  first.deliver = chunk => {
    deliver(chunk)
    if (chunk.to === 1) for (let n = 0; n < 3; n++) log.append({ event: 'message', data: 'x'.repeat(20_000), json: false })
  }
  log.append(numbered(1))
  while (order.length < 3 * readers.length) await turn()
  await turn()
  for (const { told } of readers) t.strictSame(told, [[1], [2, 3], [4]])
})

t.test('R1: a gap in the tail is a gap between batches, never inside of one', async t => {
  const { log, tell } = tellingLog()
  const { feed } = make({}, log)
  const reader = joined(feed)
  tell([1, 2, 5, 6], 6)
  await turn()
  t.strictSame(reader.told, [[1, 2], [5, 6]])
  t.equal(feed.newest, 6)
})

t.test('detached and removed readers receive nothing, nor do readers of the log', async t => {
  const { feed, log } = make()
  const [live, parted, left, reading] = [joined(feed), joined(feed), joined(feed), new StillReader()]
  feed.add(reading)
  t.equal(feed.readers, 4)
  feed.detachLive(parted)
  feed.remove(left)
  feed.remove(left)
  t.equal(feed.readers, 3)
  log.append(numbered(1))
  await turn()
  t.strictSame([live, parted, left, reading].map(({ told }) => told), [[[1]], [], [], []])
})

t.test('the log is tailed while there are readers, and no longer', async t => {
  const { feed, log } = make()
  t.equal(log.listeners, 0)
  const [one, other] = [joined(feed), joined(feed)]
  t.equal(log.listeners, 1)
  feed.remove(one)
  t.equal(log.listeners, 1)
  feed.remove(other)
  t.equal(log.listeners, 0)
  log.append(numbered(1))
  const head = feed.add(one) as LogState
  t.equal(log.listeners, 1)
  t.equal(head.newest, 1)
  t.strictSame([feed.epoch, feed.newest, feed.ended], [head.epoch, 1, false])
})

t.test('R2: events published before the last reader was removed are not delivered to a reader added in the same turn', async t => {
  const { feed, log } = make()
  const one = joined(feed)
  log.append(numbered(1))
  feed.remove(one)
  const other = joined(feed)
  log.append(numbered(2))
  await turn()
  t.strictSame([one.told, other.told], [[], [[2]]])
})

t.test('R7: the end of the log is delivered after the events published before it', async t => {
  const { feed, log } = make()
  const reader = joined(feed)
  log.append(numbered(1))
  log.end()
  t.equal(feed.ended, true)
  await turn()
  t.strictSame(reader.told, [[1], 'turn'])
})

t.test('R5: a tail without entries for new offsets makes live readers read the log', async t => {
  let tell: (batch: LogBatch) => void = () => {}
  const log = Object.assign(new RemoteLog(), { tail: (listener: typeof tell) => { tell = listener; return () => {} } })
  const { feed } = make({}, log)
  const reader = joined(feed)
  const { epoch } = log.now
  const batch = { epoch, newest: 2, ended: false, entries: [] }
  tell(batch)
  tell(batch)
  await turn()
  t.strictSame(reader.told, ['turn'])
  t.equal(feed.newest, 2)
})

t.test('a closed feed closes all of its readers', async t => {
  const { feed } = make()
  const [live, reading] = [joined(feed), new StillReader()]
  feed.add(reading)
  feed.close()
  t.strictSame([live.told, reading.told], [['close'], ['close']])
})

t.test('R3: live readers are notified of a new epoch once, and no events of the old one are mixed in', async t => {
  const { feed, log } = make()
  const reader = joined(feed)
  log.append(numbered(1))
  await turn()
  log.append(numbered(2))
  log.lose()
  log.append(numbered(1))
  await turn()
  await turn()
  t.strictSame(reader.told.filter(told => told === 'turn'), ['turn'])
  t.ok(reader.chunks.slice(1).every(chunk => chunk.epoch === log.now.epoch))
  t.strictSame([feed.epoch, feed.newest], [log.now.epoch, 1])
})

t.test('R3: live readers are notified of a new epoch that a read of the state found first', async t => {
  const { log, tell, begin } = tellingLog()
  const { feed } = make({}, log)
  const reader = joined(feed)
  tell([1, 2, 3], 3)
  await turn()
  begin('b', 1)
  feed.state()
  await turn()
  t.strictSame(reader.told, [[1, 2, 3], 'turn'])
  tell([1], 1)
  await turn()
  t.strictSame([feed.epoch, feed.newest], ['b', 1])
})

t.test('L4: a reader that attaches again within its turn is notified of that turn once', async t => {
  const { feed, log } = make()
  const reader = joined(feed)
  let rounds = 0
  reader.onTurn = () => {
    if (++rounds > 10) return
    feed.detachLive(reader)
    feed.attachLive(reader)
  }
  log.lose()
  await turn()
  t.equal(rounds, 1)
})

t.test('R3: an answer that was under way when a new epoch began does not restore the old one', async t => {
  const { log, begin, tell } = tellingLog()
  const answers: Array<(head: LogState) => void> = []
  const { feed } = make({}, log)
  joined(feed)
  const old = log.state() as LogState
  const sync = log.state
  log.state = () => new Promise(resolve => { answers.push(resolve) })
  const asked = feed.state() as Promise<LogState>
  begin('b', 0)
  tell([], 0)
  log.state = sync
  answers[0]!(old)
  const head = await asked
  t.strictSame([feed.epoch, head.epoch], ['b', 'b'])
})

t.test('R5: the latest events by key are those of the history and of the tail', async t => {
  const latest = ({ data }: { data: unknown }): unknown => Number(data) % 3
  const { feed, log } = make({ slowConsumer: { compactBy: latest } })
  for (const n of [1, 2, 3, 4]) log.append(numbered(n))
  joined(feed)
  log.append(numbered(5))
  await turn()
  t.strictSame(feed.latest!.after(0, Infinity).map(({ offset }) => offset), [3, 4, 5])
})

t.test('R5: a reader whose entries were evicted gets the latest events of the same epoch, and the number of lost ones before the last', async t => {
  const latest = ({ data }: { data: unknown }): unknown => Number(data) % 3
  const { feed, log } = make({ slowConsumer: { compactBy: latest } })
  feed.add(new StillReader())
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
  const reader = joined(feed)
  log.append(numbered(1))
  feed.remove(reader)
  t.strictSame(feed.latest!.after(0, Infinity), [])
  log.append(numbered(2))
  joined(feed)
  await turn()
  t.strictSame(feed.latest!.after(0, Infinity).map(({ offset }) => offset), [1, 2])
})

t.test('R5: the latest events by key are also loaded from a log that answers late', async t => {
  const latest = ({ data }: { data: unknown }): unknown => Number(data) % 3
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    const log = new RemoteLog({}, dice(seed))
    const { feed } = make({ slowConsumer: { compactBy: latest } }, log)
    for (const n of [1, 2, 3, 4]) await log.append(numbered(n))
    await log.told
    await feed.add(new StillReader())
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
  joined(feed)
  await turn()
  log.append(numbered(2))
  const { epoch } = log.now
  t.strictSame(seen, [{ event: 'message', data: 1, id: `${epoch}-1` }, { event: 'message', data: 2, id: `${epoch}-2` }])
})

t.test('R5: a compactBy that throws is logged, and the event is still delivered', async t => {
  const error = new Error('no key')
  const { feed, log, errors } = make({ slowConsumer: { compactBy: () => { throw error } } })
  const reader = joined(feed)
  await turn()
  log.append(numbered(1))
  await turn()
  t.strictSame(reader.told, [[1]])
  t.strictSame(errors, [error])
  t.strictSame(feed.latest!.after(0, Infinity), [])
})

t.test('R5: a history that cannot be read reduces the latest events, and ends no reader', async t => {
  const { log, tell } = tellingLog()
  log.read = () => Promise.reject(new Error('away'))
  const { feed, errors } = make({ slowConsumer: { compactBy: ({ data }) => data } }, log)
  const reader = joined(feed)
  await turn()
  tell([1], 1)
  await turn()
  t.strictSame([reader.told, errors], [[[1]], []])
  t.strictSame(feed.latest!.after(0, Infinity).map(({ offset }) => offset), [1])
})

t.test('R5: keys of a lost history do not replace the new ones', async t => {
  const { log, tell, begin } = tellingLog()
  let answer!: () => void
  const read = log.read
  log.read = (after, limit) => {
    const old = read(after, limit)
    return new Promise(resolve => { answer = () => resolve(old) })
  }
  tell([1, 2, 3], 3)
  const { feed } = make({ slowConsumer: { compactBy: () => 'one key' } }, log)
  joined(feed)
  await turn()
  begin('b', 0)
  tell([], 0)
  answer()
  await turn()
  tell([1], 1)
  t.strictSame(feed.latest!.after(0, Infinity).map(({ offset }) => offset), [1])
})

/** A log that delivers batches on command of the test. */
function tellingLog () {
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
    const told = offsets.map(offset => ({ offset, ...numbered(offset) }))
    entries = [...entries, ...told]
    for (const listener of listeners) listener({ epoch, newest, ended: false, entries: told })
  }
  return { log, begin, tell }
}
