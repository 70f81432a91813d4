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
const entry = (offset: number, size = 1): LogEntry => ({ offset, event: 'x', data: 'x'.repeat(size), json: false })

/** Adds an entry with each of these keys, at the offsets 1, 2, 3 … */
function make (keys: readonly unknown[], limits: Partial<HistoryLimits> = {}, size = 1): LatestByKey {
  const latest = new LatestByKey(historyLimits(limits))
  for (const [index, key] of keys.entries()) latest.add(key, entry(index + 1, size))
  return latest
}

const offsets = (latest: LatestByKey, after = 0, upTo = Infinity, limit = Infinity, size = Infinity): number[] =>
  latest.between(after, upTo, limit, size).entries.map(({ offset }) => offset)

t.test('R5: the latest entry of each key, in the order of the log', async t => {
  const latest = make(['a', 'b', 'a', 'c'])
  t.strictSame(offsets(latest), [2, 3, 4])
  t.strictSame(offsets(latest, 2), [3, 4])
  t.strictSame(offsets(latest, 4), [])
  t.strictSame(offsets(latest, 0, 3), [2, 3])
})

t.test('R5: a key may be any value', async t => {
  const key = {}
  t.strictSame(offsets(make([key, key, undefined, null, NaN, NaN, 1, '1', true])), [2, 3, 4, 6, 7, 8, 9])
})

t.test('R5: as many entries as fit a number and a size, at least one, and the offset up to which there is no other', async t => {
  const latest = make(['a', 'b', 'a', 'c', 'b'], {}, 10)
  const rows: Array<[limit: number, size: number, offsets: number[], to: number]> = [
    [9, 0, [3], 3],
    [9, 10, [3], 3],
    [9, 19, [3], 3],
    [9, 20, [3, 4], 4],
    [9, 30, [3, 4, 5], 9],
    [1, 30, [3], 3],
    [2, 30, [3, 4], 4],
    [3, 30, [3, 4, 5], 9]
  ]
  for (const [limit, size, offsets, to] of rows) {
    const found = latest.between(0, 9, limit, size)
    t.strictSame([found.entries.map(({ offset }) => offset), found.to], [offsets, to], `${limit}, ${size}`)
  }
})

t.test('R5: entries beyond the limits are removed, the oldest first, and are lost', async t => {
  const cases: Array<[Partial<HistoryLimits>, number[]]> = [
    [{ maxEvents: 2 }, [3, 4]],
    [{ maxEvents: 0 }, []],
    [{ maxBytes: 25 }, [3, 4]],
    [{ maxBytes: 9 }, []],
    [{ maxBytes: 40 }, [1, 2, 3, 4]]
  ]
  for (const [limits, kept] of cases) {
    const latest = make(['a', 'b', 'c', 'd'], limits, 10)
    t.strictSame(offsets(latest), kept, JSON.stringify(limits))
    t.equal(latest.lostBetween(0, 4), 4 - kept.length)
    t.equal(latest.lostBetween(1, 4), Math.max(0, 3 - kept.length))
    t.equal(latest.lostBetween(0, 1), Math.min(1, 4 - kept.length))
  }
})

t.test('R5: a removed entry is not lost if a later one of its key follows', async t => {
  const latest = make(['a', 'b', 'c'], { maxEvents: 1 })
  t.equal(latest.lostBetween(0, 9), 2)
  latest.add('a', entry(4))
  t.strictSame([offsets(latest), latest.lostBetween(0, 9)], [[4], 2], 'b and c')
})

t.test('R5: a repeated key takes no additional space', async t => {
  const keys = Array.from({ length: 1_000 }, (_, index) => index % 2)
  t.strictSame(offsets(make(keys, { maxBytes: 100 }, 40)), [999, 1_000])
})

t.test('R5: beyond 4,096 lost keys only the number of older ones is kept, an upper bound', async t => {
  const latest = make(Array.from({ length: 5_001 }, (_, index) => index), { maxEvents: 1 })
  t.equal(latest.lostBetween(0, 5_001), 5_000)
  t.equal(latest.lostBetween(904, 5_001), 4_096)
  t.equal(latest.lostBetween(903, 5_001), 4_097)
  t.equal(latest.lostBetween(0, 10), 10)
  latest.add(0, entry(5_002))
  t.equal(latest.lostBetween(0, 5_002), 5_001, 'the key of the first one is not known any more')
})

t.test('R5: older entries are added before the others, and replace none', async t => {
  const latest = new LatestByKey(historyLimits({ maxEvents: 2 }))
  for (const [key, offset] of [['lost', 5], ['a', 6], ['b', 7]] as const) latest.add(key, entry(offset))
  latest.prepend([['b', entry(1)], ['lost', entry(2)], ['c', entry(3)], ['c', entry(4)]])
  t.strictSame(offsets(latest), [6, 7])
  t.equal(latest.lostBetween(0, 7), 2, 'c, and the key whose latest entry had been removed')
  t.equal(latest.lostBetween(4, 7), 1)
})

t.test('a cleared instance is as new', async t => {
  const latest = make(['a', 'b'], { maxBytes: 100 }, 90)
  latest.clear()
  t.strictSame([offsets(latest), latest.lostBetween(0, 9)], [[], 0])
  latest.add('a', entry(1, 90))
  t.strictSame(offsets(latest), [1])
})

t.test('R5: the limits are never exceeded, a kept entry is the latest of its key, and every other key is lost', async t => {
  fc.assert(
    fc.property(fc.nat({ max: 5 }), fc.nat({ max: 50 }), fc.nat({ max: 50 }),
      fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.nat({ max: 20 })), { maxLength: 50 }),
      (events, bytes, begin, added) => {
        const latest = new LatestByKey(historyLimits({ maxEvents: events, maxBytes: bytes }))
        const last = new Map<string, number>()
        const all = added.map(([key, size], index) => {
          last.set(key, index + 1)
          return [key, entry(index + 1, size)] as const
        })
        // The first ones are loaded later.
        for (const [key, entry] of all.slice(begin)) latest.add(key, entry)
        latest.prepend(all.slice(0, begin))
        const { entries } = latest.between(0, Infinity, Infinity, Infinity)
        const sum = entries.reduce((total, { data }) => total + data.length, 0)
        const offsets = entries.map(({ offset }) => offset)
        return entries.length <= events && sum <= bytes && [...last.values()].filter(offset =>
          !offsets.includes(offset)
        ).length === latest.lostBetween(0, Infinity) && offsets.every(offset => [...last.values()].includes(offset)) &&
          offsets.join() === offsets.toSorted((a, b) => a - b).join()
      })
  )
  t.pass('for any entries')
})

t.test('R5: the time of an event and of a read does not grow with the number of keys', async t => {
  /** Returns the milliseconds of a number of steps, the least of several rounds. */
  const timed = (step: () => void): number =>
    Math.min(...Array.from({ length: 5 }, () => {
      const since = performance.now()
      for (let count = 0; count < 200; count++) step()
      return performance.now() - since
    }))
  const measure = (keys: number, maxEvents: number): number[] => {
    let offset = 0
    const latest = new LatestByKey(historyLimits({ maxEvents, maxBytes: Infinity }))
    const add = (): void => latest.add(offset % keys, entry(++offset))
    for (let count = 0; count < 1.5 * keys; count++) add()
    return [timed(add), timed(() => latest.between(offset - 10, offset, 64, 1_000))]
  }
  for (const maxEvents of [100_000, 50]) {
    const few = measure(100, maxEvents)
    const many = measure(100_000, maxEvents)
    // Passing over all keys takes a thousand times as long.
    for (const [index, time] of many.entries()) t.ok(time < 50 * few[index]! + 5, `${time} and ${few[index]} ms`)
  }
})
