import t from 'tap'
import { AppendTimeouts, type WaitingAppends } from '../../../lib/log/redis/append-timeouts.ts'
import { within } from '../../setup/within.ts'

const TIMEOUT = 30

/** An append that is added now. `expired` resolves to its age when it expires. */
function waiting (): WaitingAppends & { expired: Promise<number> } {
  const added = performance.now()
  let since = added
  let settle!: (age: number) => void
  const expired = new Promise<number>(resolve => { settle = resolve })
  return {
    expired,
    get since () { return since },
    expire (before) {
      if (added >= before) return
      since = Infinity
      settle(performance.now() - added)
    }
  }
}

const timers = (): number => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length

t.test('appends expire after the timeout, each at its own time, by one timer', async t => {
  const before = timers()
  const timeouts = new AppendTimeouts(TIMEOUT)
  const first = waiting()
  timeouts.add(first)
  timeouts.add(first)
  t.equal(timers(), before + 1)
  await new Promise(resolve => setTimeout(resolve, TIMEOUT / 2))
  const second = waiting()
  timeouts.add(second)
  t.equal(timers(), before + 1)
  for (const appends of [first, second]) t.ok(await within('the timeout', appends.expired) >= TIMEOUT - 1)
  t.equal(timers(), before)
  const third = waiting()
  timeouts.add(third)
  t.ok(await within('the next timeout', third.expired) >= TIMEOUT - 1)
})

t.test('without appends there is no timer', async t => {
  const before = timers()
  const timeouts = new AppendTimeouts(60_000)
  const [first, second] = [waiting(), waiting()]
  timeouts.add(first)
  timeouts.add(second)
  timeouts.delete(first)
  t.equal(timers(), before + 1)
  timeouts.delete(second)
  t.equal(timers(), before)
})
