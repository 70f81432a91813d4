import t from 'tap'
import { FrameBatch } from '../../lib/channel/frame-batch.ts'
import { Broadcast } from '../../lib/channel/broadcast.ts'

const chunk = new FrameBatch('e', [{ offset: 1, event: 'message', data: 'text', json: false }])

class TestReader {
  told = 0
  onChunk = (): void => {}

  deliver (given: FrameBatch): void {
    t.equal(given, chunk)
    this.told++
    this.onChunk()
  }
}

const readersOf = (size: number): TestReader[] => Array.from({ length: size }, () => new TestReader())

t.test('L4: a chunk goes to so many at a time, and to each of them once', async t => {
  const readers = readersOf(5)
  const round = new Broadcast(chunk, new Set(readers), 7)
  t.equal(round.since, 7)
  t.equal(round.subscribers, 5)
  t.equal(round.go(2), 0)
  t.strictSame(readers.map(({ told }) => told), [1, 1, 0, 0, 0])
  t.equal(round.go(3), 0, 'it is not known yet that they were all')
  t.equal(round.go(4), 4)
  t.equal(round.go(4), 4)
  t.strictSame(readers.map(({ told }) => told), [1, 1, 1, 1, 1])
})

t.test('R2: who leaves meanwhile is passed over, who comes is asked too', async t => {
  const [one, other, late] = readersOf(3) as [TestReader, TestReader, TestReader]
  const set = new Set([one, other])
  const round = new Broadcast(chunk, set, 0)
  one.onChunk = () => {
    set.delete(other)
    set.add(late)
  }
  t.equal(round.go(10), 8)
  t.strictSame([one.told, other.told, late.told], [1, 0, 1])
  t.equal(round.subscribers, 2)
})

t.test('L4: a round may go on within itself', async t => {
  const readers = readersOf(3)
  const round = new Broadcast(chunk, new Set(readers), 0)
  let within = 0
  readers[0]!.onChunk = () => { within = round.go(10) }
  t.equal(round.go(10), 9)
  t.equal(within, 8)
  t.strictSame(readers.map(({ told }) => told), [1, 1, 1])
})
