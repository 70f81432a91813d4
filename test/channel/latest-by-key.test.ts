import fc from 'fast-check'
import t from 'tap'
import { LatestByKey } from '../../lib/channel/latest-by-key.ts'
import type { HistoryLimits, LogEntry } from '../../lib/log/log.ts'

const historyLimits = (limits: Partial<HistoryLimits> = {}): HistoryLimits => ({
  maxEvents: 100,
  maxBytes: 10_000,
  maxAge: Infinity,
  ...limits
})
const entry = (offset: number, key: string, size = 1): LogEntry => ({
  offset,
  event: key,
  data: 'x'.repeat(size),
  json: false
})
const byName = ({ event }: LogEntry): string => event
const offsetsOf = (entries: LogEntry[]): number[] => entries.map(({ offset }) => offset)

t.test('R5: the latest event of each key, in the order of the log', async t => {
  const latest = new LatestByKey(historyLimits(), byName)
  for (const [offset, key] of [[1, 'a'], [2, 'b'], [3, 'a'], [4, 'c']] as const) latest.add(entry(offset, key))
  t.strictSame(offsetsOf(latest.after(0, Infinity)), [2, 3, 4])
  t.strictSame(offsetsOf(latest.after(2, Infinity)), [3, 4])
  t.strictSame(offsetsOf(latest.after(4, Infinity)), [])
})

t.test('R5: an older event that is added later does not replace a newer one', async t => {
  const latest = new LatestByKey(historyLimits(), byName)
  for (const [offset, key] of [[5, 'a'], [6, 'b'], [1, 'a'], [2, 'c'], [6, 'b']] as const) {
    latest.add(entry(offset, key))
  }
  t.strictSame(offsetsOf(latest.after(0, Infinity)), [2, 5, 6])
})

t.test('R5: a key may be any value', async t => {
  const key = {}
  const keys = [key, key, undefined, null, NaN, NaN, 1, '1', true]
  const latest = new LatestByKey(historyLimits(), ({ offset }) => keys[offset - 1])
  for (const [index] of keys.entries()) latest.add(entry(index + 1, 'x'))
  t.strictSame(offsetsOf(latest.after(0, Infinity)), [2, 3, 4, 6, 7, 8, 9])
})

t.test('R5: as many events as fit a size, and at least one', async t => {
  const latest = new LatestByKey(historyLimits(), byName)
  for (const [offset, key] of [[1, 'a'], [2, 'b'], [3, 'c']] as const) latest.add(entry(offset, key, 10))
  const cases: Array<[number, number[]]> = [[0, [1]], [10, [1]], [19, [1]], [20, [1, 2]], [30, [1, 2, 3]]]
  for (const [size, offsets] of cases) t.strictSame(offsetsOf(latest.after(0, size)), offsets, `${size}`)
})

t.test('R5: events beyond the limits are removed, oldest insertion first', async t => {
  const cases: Array<[Partial<HistoryLimits>, number[]]> = [
    [{ maxEvents: 2 }, [3, 4]],
    [{ maxEvents: 0 }, []],
    [{ maxBytes: 25 }, [3, 4]],
    [{ maxBytes: 9 }, []],
    [{ maxBytes: 40 }, [1, 2, 3, 4]]
  ]
  for (const [limits, offsets] of cases) {
    const latest = new LatestByKey(historyLimits(limits), byName)
    for (const [offset, key] of [[1, 'a'], [2, 'b'], [3, 'c'], [4, 'd']] as const) latest.add(entry(offset, key, 10))
    t.strictSame(offsetsOf(latest.after(0, Infinity)), offsets, JSON.stringify(limits))
  }
})

t.test('R5: a repeated key takes no additional space', async t => {
  const latest = new LatestByKey(historyLimits({ maxBytes: 100 }), byName)
  for (let offset = 1; offset <= 1_000; offset++) latest.add(entry(offset, offset % 2 === 0 ? 'a' : 'b', 40))
  t.strictSame(offsetsOf(latest.after(0, Infinity)), [999, 1_000])
})

t.test('a cleared instance is as new', async t => {
  const latest = new LatestByKey(historyLimits({ maxBytes: 100 }), byName)
  latest.add(entry(9, 'a', 90))
  latest.clear()
  t.strictSame(latest.after(0, Infinity), [])
  latest.add(entry(1, 'a', 90))
  t.strictSame(offsetsOf(latest.after(0, Infinity)), [1])
})

t.test('R5: the limits are never exceeded, and a stored event is always the latest of its key', async t => {
  fc.assert(
    fc.property(fc.nat({ max: 5 }), fc.nat({ max: 50 }),
      fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.nat({ max: 20 })), { maxLength: 50 }),
      (events, bytes, added) => {
        const latest = new LatestByKey(historyLimits({ maxEvents: events, maxBytes: bytes }), byName)
        const last = new Map<string, number>()
        for (const [index, [key, size]] of added.entries()) {
          latest.add(entry(index + 1, key, size))
          last.set(key, index + 1)
        }
        const kept = latest.after(0, Infinity)
        const sum = kept.reduce((total, { data }) => total + data.length, 0)
        return kept.length <= events && sum <= bytes && kept.every(({ event, offset }) => last.get(event) === offset)
      })
  )
  t.pass('for any events')
})
