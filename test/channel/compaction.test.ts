import t from 'tap'
import { Compaction, type CompactedBatch, type CompactedFeed } from '../../lib/channel/compaction.ts'
import { decodeEntry } from '../../lib/channel/frame-batch.ts'
import type { HistoryLimits, LogBatch, LogEntry } from '../../lib/log/log.ts'

const entry = (offset: number): LogEntry => ({ offset, event: 'message', data: String(offset), json: true })
const range = (from: number, to: number): LogEntry[] =>
  Array.from({ length: to - from + 1 }, (_, index) => entry(from + index))

interface Made {
  compaction: Compaction
  feed: CompactedFeed & { epoch: string, newest: number }
  errors: unknown[]
  /** The batches that the log returns, in their order; then empty ones. */
  reads: Array<LogBatch | Promise<LogBatch>>
  asked: number[]
  offsets: (position: number, upTo?: number) => Promise<[offsets: number[], lost: number, to: number] | LogBatch>
}

function make (
  key: (event: { data: unknown }) => unknown = ({ data }) => Number(data) % 3,
  history: Partial<HistoryLimits> = {}
): Made {
  const errors: unknown[] = []
  const reads: Array<LogBatch | Promise<LogBatch>> = []
  const asked: number[] = []
  const feed = {
    epoch: 'a',
    newest: 0,
    settings: { history: { maxEvents: 100, maxBytes: 1_000, maxAge: Infinity, ...history } },
    log: {
      read: (after: number) => {
        asked.push(after)
        return reads.shift() ?? batch([])
      }
    },
    review: (entry: LogEntry) => entry,
    decode: (entry: LogEntry) => decodeEntry(entry, `a-${entry.offset}`),
    isFailure: ({ event }: LogEntry) => event === 'error',
    logError: (error: unknown, text: string) => { errors.push([error, text]) }
  }
  const compaction = new Compaction(feed, key, 'pace.key')
  return {
    compaction,
    feed,
    errors,
    reads,
    asked,
    offsets: async (position, upTo = 100) => {
      const read = await compaction.read({ epoch: 'a', position }, 64, upTo)
      if (!('lost' in read)) return read
      const { entries, lost, to } = read as CompactedBatch
      return [entries.map(({ offset }) => offset), lost, to]
    }
  }
}

const batch = (entries: readonly LogEntry[], epoch = 'a'): LogBatch => ({ epoch, newest: 9, ended: false, entries })

t.test('R5: entries of the tail are read from a position on, without those that a later one replaces', async t => {
  const { compaction, offsets, asked } = make()
  compaction.begin()
  for (const each of range(1, 7)) compaction.add(each)
  t.strictSame(await offsets(0), [[5, 6, 7], 0, 7])
  t.strictSame(await offsets(5), [[6, 7], 0, 7])
  t.strictSame(await offsets(0, 5), [[5], 0, 5])
  t.strictSame(await offsets(0, 4), [[], 0, 4])
  t.strictSame(asked, [])
  t.equal(compaction.to, 7)
})

t.test('R5: the history is loaded when it is needed, in as many reads as the log needs', async t => {
  const { compaction, offsets, feed, reads, asked } = make()
  feed.newest = 5
  compaction.begin()
  compaction.begin()
  compaction.add(entry(6))
  t.strictSame(await offsets(5), [[6], 0, 6])
  t.strictSame(asked, [])
  reads.push(batch(range(2, 3)), Promise.resolve(batch(range(4, 6))))
  t.strictSame(await offsets(1), [[4, 5, 6], 0, 6])
  t.strictSame(asked, [0, 3])
  t.strictSame(await offsets(0), [[4, 5, 6], 1, 6], 'the first entry had left the log')
})

t.test('R5: entries that leave the log while it is read are lost', async t => {
  const { compaction, offsets, feed, reads } = make(({ data }) => data)
  feed.newest = 5
  compaction.begin()
  compaction.add(entry(6))
  reads.push(batch(range(1, 2)), batch(range(4, 6)))
  t.strictSame(await offsets(0), [[4, 5, 6], 3, 6])
})

t.test('R5: an empty history is lost', async t => {
  const { compaction, offsets, feed, reads } = make()
  feed.newest = 5
  compaction.begin()
  compaction.add(entry(6))
  reads.push(batch([]), batch([]))
  t.strictSame(await offsets(3), [[6], 2, 6])
})

t.test('R3: a history of which another epoch is read is not lost: the reader gets that epoch', async t => {
  const { compaction, offsets, feed, reads } = make()
  feed.newest = 5
  compaction.begin()
  reads.push(batch([entry(1)], 'b'), batch([entry(1)], 'b'))
  t.strictSame(await offsets(3), batch([entry(1)], 'b'))
})

t.test('R2: a jump of the tail while the history is read loses nothing: the reader reads the log', async t => {
  const { compaction, offsets, feed, reads, asked } = make()
  feed.newest = 5
  compaction.begin()
  reads.push(Promise.resolve(batch(range(1, 5))), batch(range(3, 9)))
  const read = offsets(2)
  compaction.add(entry(9))
  t.strictSame(await read, batch(range(3, 9)))
  t.strictSame(asked, [0, 2])
  reads.push(batch(range(1, 9)))
  t.strictSame(await offsets(2), [[7, 8, 9], 0, 9])
})

t.test('R5: two readers load the history once, and a failure reaches both and is tried again', async t => {
  const { compaction, offsets, feed, reads, asked } = make()
  feed.newest = 2
  compaction.begin()
  const away = new Error('away')
  reads.push(Promise.reject(away))
  compaction.cover(0)
  await t.rejects(offsets(0), away)
  reads.push(Promise.resolve(batch(range(1, 2))))
  const both = await Promise.all([offsets(0), offsets(0)])
  t.strictSame(both, [[[1, 2], 0, 2], [[1, 2], 0, 2]])
  compaction.cover(0)
  t.strictSame(asked, [0, 0])
})

t.test('R3: a reader of another epoch, or beyond the tail, reads the log', async t => {
  const { compaction, offsets, reads } = make()
  compaction.begin()
  compaction.add(entry(1))
  reads.push(batch([entry(2)]), batch([entry(1)], 'b'))
  t.strictSame(await offsets(1), batch([entry(2)]))
  t.strictSame(await compaction.read({ epoch: 'b', position: 0 }, 64, 1), batch([entry(1)], 'b'))
})

t.test('R2: after a jump of the tail, earlier entries are read from the log', async t => {
  const { compaction, offsets, reads } = make()
  compaction.begin()
  for (const offset of [1, 2, 2, 1, 5, 6]) compaction.add(entry(offset))
  t.equal(compaction.to, 6)
  t.strictSame(await offsets(4), [[5, 6], 0, 6])
  reads.push(batch(range(1, 4)))
  t.strictSame(await offsets(2), [[4, 5, 6], 0, 6])
  compaction.reach(6, false)
  t.strictSame(await offsets(4), [[5, 6], 0, 6])
  compaction.reach(8, false)
  t.equal(compaction.to, 8)
})

t.test('R2: a key function that publishes takes no event out of the order', async t => {
  const added: number[] = []
  const { compaction, offsets, reads } = make(({ data }) => {
    added.push(Number(data))
    if (data === 1) compaction.add(entry(2))
    return 'key'
  })
  compaction.begin()
  compaction.add(entry(1))
  t.strictSame([added, compaction.to], [[1, 2], 2])
  reads.push(batch(range(1, 2)))
  t.strictSame(await offsets(0), [[2], 0, 2])
})

t.test('R5: an event for which the key function fails has no key, and the error is logged', async t => {
  const error = new Error('no key')
  const { compaction, offsets, errors } = make(({ data }) => {
    if (data === 2) return Promise.resolve('late')
    if (data === 3) throw error
    return data === 4 ? null : undefined
  })
  compaction.begin()
  for (const each of range(1, 4)) compaction.add(each)
  t.strictSame(await offsets(0), [[1, 2, 3, 4], 0, 4])
  t.match(errors, [[{ code: 'FST_SSE_OPTION' }, 'sse pace.key failed'], [error, 'sse pace.key failed']])
})

t.test('C5: an omitted entry is passed, and the error of a channel has no key', async t => {
  const { compaction, feed, offsets, reads } = make(() => 'key')
  feed.newest = 2
  compaction.begin()
  compaction.add({ ...entry(3), omitted: true } as LogEntry)
  compaction.add(entry(4))
  compaction.add({ ...entry(5), event: 'error' })
  compaction.add(entry(6))
  t.strictSame(await offsets(2), [[5, 6], 0, 6])
  feed.review = each => each.offset === 1 ? { ...each, omitted: true } : each
  reads.push(batch([entry(1), { ...entry(2), event: 'error' }]))
  t.strictSame(await offsets(0), [[2, 5, 6], 0, 6])
})

t.test('a stopped compaction begins again at the end of the log', async t => {
  const { compaction, feed, offsets } = make()
  compaction.begin()
  for (const each of range(1, 4)) compaction.add(each)
  compaction.stop()
  feed.newest = 20
  compaction.begin()
  t.equal(compaction.to, 20)
  compaction.add(entry(21))
  t.strictSame(await offsets(20), [[21], 0, 21])
  compaction.restart('b', 3)
  t.equal(compaction.to, 3)
})
