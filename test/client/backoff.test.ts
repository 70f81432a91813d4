import { mock } from 'node:test'
import t from 'tap'
import { Backoff } from '../../lib/client/backoff.ts'

/** Returns the delays of equal attempts for one value of Math.random(). */
function delays (
  backoff: Backoff,
  chance: number,
  attempts: number,
  fruitful = false,
  retry = 0,
  retryAfter?: number
): number[] {
  const random = mock.method(Math, 'random', () => chance)
  try {
    return Array.from({ length: attempts }, () => backoff.next(fruitful, retry, retryAfter))
  } finally {
    random.mock.restore()
  }
}

t.test('the limit of the delay doubles with each attempt without progress, up to a cap', async t => {
  t.same(delays(new Backoff(1_000, 30_000), 1, 7), [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
})

t.test('the jitter is full: from 0 to the limit', async t => {
  t.same(delays(new Backoff(1_000, 30_000), 0, 3), [0, 0, 0])
  t.same(delays(new Backoff(1_000, 30_000), 0.5, 3), [500, 1_000, 2_000])
  const backoff = new Backoff(1_000, 1_000)
  const all = Array.from({ length: 1_000 }, () => backoff.next(false, 0))
  t.ok(all.every(delay => delay >= 0 && delay <= 1_000))
  t.ok(new Set(all).size > 900, 'and no two are alike')
})

t.test('an attempt with progress resets the delay', async t => {
  const backoff = new Backoff(1_000, 30_000)
  t.same(delays(backoff, 1, 3), [1_000, 2_000, 4_000])
  t.same(delays(backoff, 1, 1, true), [1_000])
  t.same(delays(backoff, 1, 2), [2_000, 4_000])
})

t.test('the delay is never below the reconnection time, and its random part grows from there', async t => {
  t.same(delays(new Backoff(1_000, 30_000), 0, 2, false, 5_000), [5_000, 5_000])
  t.same(delays(new Backoff(1_000, 30_000), 1, 4, false, 5_000), [10_000, 15_000, 25_000, 35_000])
  t.same(delays(new Backoff(1_000, 30_000), 1, 2, false, 50), [100, 150], 'it may be less than our own, too')
})

t.test('the delay is Retry-After plus the usual delay', async t => {
  t.same(delays(new Backoff(1_000, 30_000), 0, 1, false, 0, 120_000), [120_000])
  t.same(delays(new Backoff(1_000, 30_000), 1, 2, false, 0, 120_000), [121_000, 122_000])
  t.same(delays(new Backoff(1_000, 30_000), 0, 1, false, 5_000, 2_000), [5_000], 'the longer of the two')
})

t.test('the delay always fits a timer', async t => {
  t.same(delays(new Backoff(1_000, 30_000), 1, 1, false, 1e300), [2 ** 31 - 1])
  t.same(delays(new Backoff(1_000, 30_000), 1, 1, false, 0, Infinity), [2 ** 31 - 1])
  t.same(delays(new Backoff(1_000, 30_000), 1, 5_000).at(-1), 30_000)
  t.same(delays(new Backoff(0, 30_000), 1, 5_000).at(-1), 0)
})
