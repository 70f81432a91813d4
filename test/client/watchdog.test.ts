import { mock } from 'node:test'
import t from 'tap'
import { Watchdog } from '../../lib/client/watchdog.ts'

/** A watchdog in a time of its own, and the limits that it told of. */
function watched (t: { teardown: (fn: () => void) => unknown }, fixed?: number) {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  t.teardown(() => mock.timers.reset())
  const watchdog = new Watchdog(fixed)
  const told: number[] = []
  return {
    told,
    /** Waits for bytes, which come after so many milliseconds. */
    bytes (time: number, beat?: boolean): void {
      watchdog.watch(limit => told.push(limit))
      mock.timers.tick(time)
      watchdog.received(beat)
    }
  }
}

const DAY = 24 * 60 * 60 * 1000

t.test('until a heartbeat has come nothing is known, and a stream may be silent for ever', async t => {
  const { bytes, told } = watched(t)
  bytes(DAY)
  bytes(DAY)
  t.same(told, [])
})

t.test('a heartbeat tells how long a silence may last: two and a half times as long as the one that it ended', async t => {
  const { bytes, told } = watched(t)
  bytes(10_000, true)
  bytes(24_999)
  t.same(told, [])
  bytes(25_000)
  t.same(told, [25_000])
})

t.test('a program that comments every second is not expected to go on with it', async t => {
  const { bytes, told } = watched(t)
  bytes(1_000, true)
  bytes(19_999)
  t.same(told, [])
  bytes(20_000)
  t.same(told, [20_000])
})

t.test('a heartbeat after hours, when the machine has slept, says nothing of the interval', async t => {
  const { bytes, told } = watched(t)
  bytes(DAY, true)
  bytes(DAY)
  t.same(told, [])
})

t.test('it knows a heartbeat from a comment that came with others', async t => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  t.teardown(() => mock.timers.reset())
  const watchdog = new Watchdog(undefined)
  const came = (time: number, beat?: boolean): boolean => {
    watchdog.watch(() => {})
    mock.timers.tick(time)
    return watchdog.received(beat)
  }
  t.same([came(1_000, true), came(999, true), came(1_000, false), came(1_000)], [true, false, false, false])
})

t.test('any byte is a sign of life', async t => {
  const { bytes, told } = watched(t)
  bytes(4_000, true)
  for (let n = 0; n < 10; n++) bytes(19_000, n % 2 === 0 ? undefined : false)
  t.same(told, [])
})

t.test('the longest interval counts: one that came early does not make it impatient', async t => {
  const { bytes, told } = watched(t)
  for (const interval of [4_000, 9_000, 3_000]) bytes(interval, true)
  bytes(22_499)
  t.same(told, [])
  bytes(22_500)
  t.same(told, [22_500])
})

t.test('an event says nothing of the interval, nor do comments that come thick and fast', async t => {
  const { bytes, told } = watched(t)
  bytes(4_000)
  bytes(4_000, false)
  bytes(999, true)
  bytes(DAY)
  t.same(told, [])
})

t.test('inactivityTimeout is the limit, whatever the heartbeats say', async t => {
  const { bytes, told } = watched(t, 5_000)
  bytes(4_999)
  t.same(told, [])
  bytes(5_000)
  bytes(4_000, true)
  bytes(5_000)
  t.same(told, [5_000, 5_000])
})

t.test('an inactivityTimeout of 0 waits for ever', async t => {
  const { bytes, told } = watched(t, 0)
  bytes(4_000, true)
  bytes(DAY)
  t.same(told, [])
})

t.test('it watches while bytes are waited for, and not while they are worked on', async t => {
  const { bytes, told } = watched(t, 5_000)
  bytes(1)
  mock.timers.tick(DAY)
  t.same(told, [])
  bytes(1, true)
  t.same(told, [])
})

t.test('a limit longer than a timer is none that fires at once', async t => {
  for (const limit of [Infinity, 2 ** 31]) {
    const watchdog = new Watchdog(limit)
    const silent = new Promise(resolve => { watchdog.watch(() => resolve('silent')) })
    t.equal(await Promise.race([silent, new Promise(resolve => { setTimeout(resolve, 20, 'patient') })]), 'patient')
    watchdog.received()
  }
})
