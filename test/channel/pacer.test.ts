import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import type { LiveReader } from '../../lib/channel/broadcast.ts'
import { Feed } from '../../lib/channel/feed.ts'
import type { FrameBatch } from '../../lib/channel/frame-batch.ts'
import { PacedBatch, type Pacer } from '../../lib/channel/pacer.ts'
import { resolveChannel } from '../../lib/channel/settings.ts'
import { EVENT_STREAM } from '../../lib/wire/format.ts'
import { JSON_LINES } from '../../lib/wire/json-lines.ts'
import { RemoteLog } from '../setup/remote-log.ts'
import { within } from '../setup/within.ts'

const HOUR = 3_600_000
/** Waits until the events of this turn were delivered, also if it has lasted too long. */
const settled = async (): Promise<void> => {
  await turn()
  await turn()
}
const logger = { error: () => {} } as unknown as FastifyBaseLogger

/** Records the texts of each delivery, and the time. */
class RecordingReader implements LiveReader {
  readonly received: string[][] = []
  readonly batches: FrameBatch[] = []
  readonly times: number[] = []
  changes = 0

  deliver (batch: FrameBatch): void {
    this.received.push(batch.entries.map(({ data }) => data))
    this.batches.push(batch)
    this.times.push(performance.now())
  }

  onStateChange (): void { this.changes++ }

  async until (deliveries: number): Promise<void> {
    await within(`delivery ${deliveries}`, (async () => { while (this.received.length < deliveries) await turn() })())
  }
}

interface Made {
  feed: Feed
  log: RemoteLog
  pacer: Pacer
  reader: RecordingReader
  /** Publishes an event for each text: its first letter is its key; `-`: it has none. */
  publish: (...texts: string[]) => void
}

function make (t: Pick<typeof import('tap').t, 'teardown'>, every: number): Made {
  const log = new RemoteLog()
  const feed = new Feed(resolveChannel('news', {}), log, logger)
  const key = ({ data }: { data: unknown }): unknown => String(data).startsWith('-') ? undefined : String(data)[0]
  const pacer = feed.joinPacer({ every, key })
  const reader = new RecordingReader()
  feed.add({ ...reader, close: () => {}, deliver: () => {}, onStateChange: () => {} })
  pacer.compaction.begin()
  pacer.attachLive(reader)
  t.teardown(() => feed.leavePacer(pacer))
  return {
    feed,
    log,
    pacer,
    reader,
    publish: (...texts) => { for (const data of texts) log.append({ event: 'message', data, json: false }) }
  }
}

t.test('R5: after a quiet interval, the events of a turn leave at once, the latest of each key', async t => {
  const { reader, publish } = make(t, HOUR)
  publish('a1', 'b1')
  await Promise.resolve()
  publish('a2')
  t.strictSame(reader.received, [])
  await settled()
  t.strictSame(reader.received, [['b1', 'a2']])
})

t.test('R5: within an interval events wait, and its end sends the latest of each key in their order', async t => {
  const { reader, pacer, publish } = make(t, 500)
  publish('a1')
  await settled()
  publish('a2', 'b1')
  await settled()
  publish('a3')
  await settled()
  t.strictSame(reader.received, [['a1']])
  t.equal(pacer.position, 1)
  await reader.until(2)
  publish('b2')
  await reader.until(3)
  t.strictSame(reader.received, [['a1'], ['b1', 'a3'], ['b2']])
  for (const [index, time] of reader.times.entries()) {
    if (index > 0) t.ok(time - reader.times[index - 1]! > 490, `${time - reader.times[index - 1]!} ms apart`)
  }
  t.equal(pacer.position, 5)
})

t.test('R5: an interval in which nothing waits is the last one: the next event leaves at once', async t => {
  const { reader, publish } = make(t, 100)
  publish('a1')
  await settled()
  const since = performance.now()
  while (performance.now() - since < 150) await turn()
  publish('a2')
  await settled()
  t.strictSame(reader.received, [['a1'], ['a2']])
})

t.test('R5: an event without a key leaves at once, after all that waits, and then an interval starts', async t => {
  const { reader, publish } = make(t, HOUR)
  publish('a1')
  await settled()
  publish('b1', 'a2', 'b2', '-1', 'a3')
  await settled()
  t.strictSame(reader.received, [['a1'], ['a2', 'b2', '-1']])
  publish('-2')
  await settled()
  t.strictSame(reader.received.slice(2), [['a3', '-2']])
})

t.test('R5: an event without a key starts no interval if nothing waited', async t => {
  const { reader, publish } = make(t, HOUR)
  publish('-1')
  await settled()
  publish('-2', 'a1')
  await settled()
  t.strictSame(reader.received, [['-1'], ['-2'], ['a1']])
})

t.test('R5: an event without a key in the first turn starts the interval', async t => {
  const { reader, publish } = make(t, HOUR)
  publish('a1', '-1', 'a2')
  await settled()
  t.strictSame(reader.received, [['a1', '-1']])
})

t.test('R5: events of more than a megabyte do not wait', async t => {
  const { reader, publish } = make(t, HOUR)
  const long = 'x'.repeat(300_000)
  publish('a')
  await settled()
  publish(`b${long}`, `b${long}`, `b${long}`, `c${long}`, `d${long}`)
  await settled()
  t.equal(reader.received.length, 1)
  publish(`e${long}`)
  await settled()
  t.strictSame(reader.received.slice(1).flat().map(text => text[0]), ['b', 'c', 'd', 'e'])
})

t.test('R5: readers share one batch, in which a position precedes each event that is not the next one', async t => {
  const { log, reader, pacer, publish } = make(t, HOUR)
  const other = new RecordingReader()
  pacer.attachLive(other)
  publish('a1', 'b1', 'a2', 'c1')
  await settled()
  const [batch] = reader.batches as [PacedBatch]
  t.equal(batch, other.batches[0])
  t.strictSame([batch.from, batch.to, batch.merged], [0, 4, 1])
  const { epoch } = log.now
  t.equal(batch.text, `event: sse.position\nid: ${epoch}-1\ndata: \n\nid: ${epoch}-2\ndata: b1\n\n` +
    `id: ${epoch}-3\ndata: a2\n\nid: ${epoch}-4\ndata: c1\n\n`)
  t.equal(batch.in(JSON_LINES).text, `{"event":"sse.position","id":"${epoch}-1","data":""}\n` +
    ['b1', 'a2', 'c1'].map((data, index) => `{"id":"${epoch}-${index + 2}","data":"${data}"}\n`).join(''))
  t.equal(batch.in(EVENT_STREAM), batch)
})

t.test('R2: each batch continues after the one before', async t => {
  const { reader, publish } = make(t, 5)
  publish('a1')
  await settled()
  publish('a2', 'a3')
  await reader.until(2)
  publish('a4', '-1')
  await reader.until(3)
  t.strictSame(reader.batches.map(({ from, to }) => [from, to]), [[0, 1], [1, 3], [3, 5]])
})

t.test('R7: the end of the log sends all that waits, then the end', async t => {
  const { log, pacer, reader, publish } = make(t, HOUR)
  publish('a1')
  await settled()
  publish('a2')
  log.end()
  await settled()
  t.strictSame([reader.received, reader.changes, pacer.position], [[['a1'], ['a2']], 1, 2])
})

t.test('R7: a reader whose stream ends gets all that waits, and the others do not', async t => {
  const { pacer, reader, publish } = make(t, HOUR)
  const other = new RecordingReader()
  pacer.attachLive(other)
  pacer.flushTo(reader)
  publish('a1')
  await settled()
  publish('a2', 'b1', 'a3')
  pacer.flushTo(reader)
  t.strictSame([reader.received, other.received], [[['a1'], ['b1', 'a3']], [['a1']]])
  const [, batch] = reader.batches
  t.strictSame([batch!.from, batch!.to], [1, 4])
  pacer.flush()
  t.strictSame(other.received[1], ['b1', 'a3'])
})

t.test('R3: a new epoch drops what waits, and tells the readers', async t => {
  const { log, pacer, reader, publish } = make(t, HOUR)
  publish('a1')
  await settled()
  publish('a2')
  log.lose()
  await settled()
  t.strictSame([reader.received, reader.changes > 0, pacer.position], [[['a1']], true, 0])
  publish('a1')
  await settled()
  t.equal(reader.batches[1]!.epoch, log.now.epoch)
})

t.test('R2: entries that the tail has lost are read from the log', async t => {
  const { pacer, reader, publish } = make(t, HOUR)
  publish('a1')
  await settled()
  publish('a2')
  pacer.compaction.reach(9, false)
  await settled()
  t.strictSame([reader.received, reader.changes, pacer.position], [[['a1'], ['a2']], 1, 9])
})

t.test('R2: no batch continues after entries that the tail has lost', async t => {
  const { pacer, reader, publish } = make(t, HOUR)
  publish('a1')
  await settled()
  pacer.compaction.add({ offset: 5, event: 'message', data: '-', json: false })
  await settled()
  t.strictSame(reader.batches.map(({ from, to }) => [from, to]), [[0, 1], [4, 5]])
})

t.test('R7: a reader whose stream ends gets what waits after an entry that no subscriber receives', async t => {
  const { pacer, reader, publish } = make(t, HOUR)
  publish('a1')
  await settled()
  pacer.compaction.add({ offset: 2, event: 'other', data: '', json: false, omitted: true })
  pacer.compaction.add({ offset: 3, event: 'message', data: 'a2', json: false })
  pacer.flushTo(reader)
  t.strictSame(reader.batches.map(({ from, to }) => [from, to]), [[0, 1], [1, 3]])
})

t.test('R7: all readers whose streams end get one batch', async t => {
  const { pacer, reader, publish } = make(t, HOUR)
  const other = new RecordingReader()
  pacer.attachLive(other)
  publish('a1')
  await settled()
  publish('a2')
  for (const each of [reader, other]) pacer.flushTo(each)
  t.equal(reader.batches[1], other.batches[1])
  publish('a3')
  pacer.flushTo(other)
  t.strictSame(other.received, [['a1'], ['a2'], ['a3']])
})

t.test('a stopped pacer has no timer, and drops what waits', async t => {
  const { pacer, reader, publish } = make(t, HOUR)
  const timers = (): number => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timers()
  publish('a1')
  await settled()
  t.equal(timers(), before + 1)
  publish('a2')
  pacer.stop()
  t.equal(timers(), before)
  t.strictSame(reader.received, [['a1']])
})

t.test('R2: a reader that joins between two steps receives all that waits', async t => {
  const { pacer, publish } = make(t, HOUR)
  publish('a1')
  await settled()
  publish('a2')
  const late = new RecordingReader()
  pacer.attachLive(late)
  publish('-1')
  await settled()
  t.strictSame(late.received, [['a2', '-1']])
  pacer.detachLive(late)
  t.equal(pacer.size, 1)
})
