import t from 'tap'
import { FrameBatch } from '../../lib/channel/frame-batch.ts'
import { Broadcast, Delivery } from '../../lib/channel/broadcast.ts'
import { Histogram } from '../../lib/metrics/histogram.ts'

const batch = new FrameBatch('e', [{ offset: 1, event: 'message', data: 'text', json: false }])

class TestReader {
  count = 0
  onBatch = (): void => {}
  onStateChange (): void {}

  deliver (delivered: FrameBatch): void {
    t.equal(delivered, batch)
    this.count++
    this.onBatch()
  }
}

const createReaders = (size: number): TestReader[] => Array.from({ length: size }, () => new TestReader())

t.test('L4: a batch is delivered to a limited number of readers at a time, and once to each reader', async t => {
  const readers = createReaders(5)
  const delivery = new Delivery(batch, new Set(readers), 7)
  t.equal(delivery.since, 7)
  t.equal(delivery.subscribers, 5)
  t.equal(delivery.advance(2), 0)
  t.strictSame(readers.map(({ count }) => count), [1, 1, 0, 0, 0])
  t.equal(delivery.advance(3), 0, 'the end of the set is not known yet')
  t.equal(delivery.advance(4), 4)
  t.equal(delivery.advance(4), 4)
  t.strictSame(readers.map(({ count }) => count), [1, 1, 1, 1, 1])
})

t.test('R2: a delivery skips a reader that was removed meanwhile, and includes one that was added', async t => {
  const [one, other, late] = createReaders(3) as [TestReader, TestReader, TestReader]
  const set = new Set([one, other])
  const delivery = new Delivery(batch, set, 0)
  one.onBatch = () => {
    set.delete(other)
    set.add(late)
  }
  t.equal(delivery.advance(10), 8)
  t.strictSame([one.count, other.count, late.count], [1, 0, 1])
  t.equal(delivery.subscribers, 2)
})

t.test('L4: a reader may advance the delivery from within its call', async t => {
  const readers = createReaders(3)
  const delivery = new Delivery(batch, new Set(readers), 0)
  let within = 0
  readers[0]!.onBatch = () => { within = delivery.advance(10) }
  t.equal(delivery.advance(10), 9)
  t.equal(within, 8)
  t.strictSame(readers.map(({ count }) => count), [1, 1, 1])
})

t.test('the batches of a broadcast have one text in common, which ends with its last reader', async t => {
  const broadcast = new Broadcast('news', new Histogram())
  const batches: FrameBatch[] = []
  const reader = { deliver: (batch: FrameBatch) => { batches.push(batch) }, onStateChange: () => {} }
  const publish = (offset: number): void => {
    broadcast.push({ offset, event: 'message', data: 'text', json: false })
    broadcast.flush()
  }
  broadcast.add(reader)
  for (const offset of [1, 2]) publish(offset)
  t.equal(broadcast.windows, undefined)
  const [first, second] = batches.map(({ shared }) => shared)
  t.equal(second!.start, first!.end)
  const { windows } = broadcast
  const other = { ...reader, deliver: () => {} }
  broadcast.add(other)
  broadcast.remove(other)
  t.equal(broadcast.windows, windows)
  broadcast.remove(reader)
  t.equal(broadcast.windows, undefined)
  broadcast.add(reader)
  publish(3)
  t.equal(batches[2]!.shared.start.length, 0)
  t.not(batches[2]!.shared.start, first!.start)
})
