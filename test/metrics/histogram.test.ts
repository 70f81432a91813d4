import t from 'tap'
import { Histogram } from '../../lib/metrics/histogram.ts'

t.test('each bucket counts all times up to its bound', async t => {
  const histogram = new Histogram()
  for (const time of [0, 0.1, 0.2, 3, 3, 4_999, 5_000, 5_001]) histogram.record(time)
  const { buckets, count, sum } = histogram.snapshot()
  t.equal(count, 8)
  t.equal(sum, 15_006.3)
  t.strictSame(buckets.map(({ le }) => le), [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000,
    Infinity])
  t.strictSame(buckets.map(({ count }) => count), [2, 3, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 5, 5, 7, 8])
})

t.test('a snapshot does not change', async t => {
  const histogram = new Histogram()
  const empty = histogram.snapshot()
  histogram.record(1)
  t.equal(empty.count, 0)
  t.ok(empty.buckets.every(({ count }) => count === 0))
})
