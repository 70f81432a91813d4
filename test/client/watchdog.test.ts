import { mock } from 'node:test'
import t from 'tap'
import { Watchdog } from '../../lib/client/watchdog.ts'

/** A watchdog with a mock clock, and the limits that it reported. */
function watched (t: { teardown: (fn: () => void) => unknown }, fixed?: number) {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  t.teardown(() => mock.timers.reset())
  const watchdog = new Watchdog(fixed)
  const told: number[] = []
  return {
    told,
    /** Waits for bytes that arrive after a number of milliseconds. */
    bytes (time: number, beat?: boolean): void {
      watchdog.watch(limit => told.push(limit))
      mock.timers.tick(time)
      watchdog.received(beat)
    }
  }
}

const DAY = 24 * 60 * 60 * 1000

t.test('before the first heartbeat there is no limit of silence', async t => {
  const { bytes, told } = watched(t)
  bytes(DAY)
  bytes(DAY)
  t.same(told, [])
})

t.test('a heartbeat sets the limit to two and a half times the silence before it', async t => {
  const { bytes, told } = watched(t)
  bytes(10_000, true)
  bytes(24_999)
  t.same(told, [])
  bytes(25_000)
  t.same(told, [25_000])
})

t.test('comments every second do not lower the limit below its minimum', async t => {
  const { bytes, told } = watched(t)
  bytes(1_000, true)
  bytes(19_999)
  t.same(told, [])
  bytes(20_000)
  t.same(told, [20_000])
})

t.test('a heartbeat after hours, when the machine has slept, does not change the limit', async t => {
  const { bytes, told } = watched(t)
  bytes(DAY, true)
  bytes(DAY)
  t.same(told, [])
})

t.test('a comment right after another one is no heartbeat', async t => {
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

t.test('any byte ends a silence', async t => {
  const { bytes, told } = watched(t)
  bytes(4_000, true)
  for (let n = 0; n < 10; n++) bytes(19_000, n % 2 === 0 ? undefined : false)
  t.same(told, [])
})

t.test('the longest interval sets the limit', async t => {
  const { bytes, told } = watched(t)
  for (const interval of [4_000, 9_000, 3_000]) bytes(interval, true)
  bytes(22_499)
  t.same(told, [])
  bytes(22_500)
  t.same(told, [22_500])
})

t.test('an event does not change the limit, nor do rapid comments', async t => {
  const { bytes, told } = watched(t)
  bytes(4_000)
  bytes(4_000, false)
  bytes(999, true)
  bytes(DAY)
  t.same(told, [])
})

t.test('inactivityTimeout is the limit, whatever the interval of heartbeats', async t => {
  const { bytes, told } = watched(t, 5_000)
  bytes(4_999)
  t.same(told, [])
  bytes(5_000)
  bytes(4_000, true)
  bytes(5_000)
  t.same(told, [5_000, 5_000])
})

t.test('an inactivityTimeout of 0 is no limit', async t => {
  const { bytes, told } = watched(t, 0)
  bytes(4_000, true)
  bytes(DAY)
  t.same(told, [])
})

t.test('the limit applies while the client waits for bytes, not while it processes them', async t => {
  const { bytes, told } = watched(t, 5_000)
  bytes(1)
  mock.timers.tick(DAY)
  t.same(told, [])
  bytes(1, true)
  t.same(told, [])
})

t.test('a limit longer than a timer does not fire at once', async t => {
  for (const limit of [Infinity, 2 ** 31]) {
    const watchdog = new Watchdog(limit)
    const silent = new Promise(resolve => { watchdog.watch(() => resolve('silent')) })
    t.equal(await Promise.race([silent, new Promise(resolve => { setTimeout(resolve, 20, 'patient') })]), 'patient')
    watchdog.received()
  }
})
