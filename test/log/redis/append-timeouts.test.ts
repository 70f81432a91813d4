import t, { type Test } from 'tap'
import { AppendTimeouts, type WaitingAppends } from '../../../lib/log/redis/append-timeouts.ts'

interface Timer { step: () => void, at: number }

/** The clock and the timers of the test. */
class Clock {
  now = 0
  readonly timers = new Set<Timer>()

  constructor (t: Test) {
    t.intercept(performance, 'now', { value: () => this.now })
    t.intercept(globalThis, 'setTimeout', {
      value: (step: () => void, time: number) => {
        const timer = { step, at: this.now + time }
        this.timers.add(timer)
        return timer
      }
    })
    t.intercept(globalThis, 'clearTimeout', { value: (timer: Timer) => { this.timers.delete(timer) } })
  }

  /** Moves the clock, and calls the timers that are due. */
  moveTo (time: number): void {
    this.now = time
    for (const timer of this.timers) {
      if (timer.at > time) continue
      this.timers.delete(timer)
      timer.step()
    }
  }
}

/** An append of a channel that is added now. */
function waiting (): WaitingAppends & { expired: boolean } {
  const since = performance.now()
  return {
    expired: false,
    get since () { return this.expired ? Infinity : since },
    expire (before) { if (since < before) this.expired = true }
  }
}

t.test('appends expire after the timeout, each at its own time, by one timer', async t => {
  const clock = new Clock(t)
  const timeouts = new AppendTimeouts(100)
  const first = waiting()
  timeouts.add(first)
  clock.moveTo(60)
  const second = waiting()
  timeouts.add(second)
  timeouts.add(second)
  t.equal(clock.timers.size, 1)
  for (const [time, ...expired] of [[99, false, false], [100, true, false], [159, true, false], [160, true, true]]) {
    clock.moveTo(Number(time))
    t.strictSame([first.expired, second.expired], expired, `after ${time} ms`)
  }
  t.equal(clock.timers.size, 0)
  clock.moveTo(1_000)
  const third = waiting()
  timeouts.add(third)
  clock.moveTo(1_100)
  t.equal(third.expired, true, 'the next one has a timer again')
})

t.test('while many expire one after the other, they are looked for every hundredth of the timeout, or 20 ms', async t => {
  for (const [timeout, interval] of [[50, 1], [1_000, 10], [5_000, 20]] as const) {
    const clock = new Clock(t)
    const timeouts = new AppendTimeouts(timeout)
    const all = Array.from({ length: 100 }, (_, n) => {
      clock.now = n / 4
      const appends = waiting()
      timeouts.add(appends)
      return appends
    })
    let looks = 0
    for (let time = timeout; clock.timers.size > 0; time++) {
      const [timer] = clock.timers
      clock.moveTo(time)
      if (!clock.timers.has(timer!)) looks++
      const late = all.filter(({ expired }, n) => !expired && time - n / 4 >= timeout + interval)
      t.strictSame(late, [], `after ${time} of ${timeout} ms`)
    }
    t.ok(looks <= 25 / interval + 2, `${looks} looks`)
    t.ok(all.every(({ expired }) => expired))
  }
})

t.test('appends of a channel that wait no longer are not looked at again', async t => {
  const clock = new Clock(t)
  const timeouts = new AppendTimeouts(100)
  let looks = 0
  timeouts.add({ get since () { looks++; return Infinity }, expire () {} })
  clock.now = 60
  timeouts.add(waiting())
  clock.moveTo(100)
  const before = looks
  clock.moveTo(160)
  t.ok(before > 0)
  t.equal(looks, before)
})

t.test('a timer that fires a part of a millisecond early is not late by another timer', async t => {
  const clock = new Clock(t)
  const timeouts = new AppendTimeouts(100)
  clock.now = 0.9
  const appends = waiting()
  timeouts.add(appends)
  const [timer] = clock.timers
  clock.now = 100.2
  timer!.step()
  t.equal(appends.expired, true)
})

t.test('without appends there is no timer', async t => {
  const clock = new Clock(t)
  const timeouts = new AppendTimeouts(100)
  const [first, second] = [waiting(), waiting()]
  timeouts.add(first)
  timeouts.add(second)
  timeouts.delete(first)
  t.equal(clock.timers.size, 1)
  timeouts.delete(second)
  t.equal(clock.timers.size, 0)
})
