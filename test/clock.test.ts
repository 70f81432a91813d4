import t from 'tap'
import * as clock from '../lib/clock.ts'

t.test('the clock and the timers are the machine\'s own, also with fake ones in place', async t => {
  const { setTimeout, setImmediate } = globalThis
  const now = performance.now
  t.teardown(() => {
    Object.assign(globalThis, { setTimeout, setImmediate })
    performance.now = now
  })
  const stopped = (): never => { throw new Error('the clock of the test') }
  Object.assign(globalThis, { setTimeout: stopped, setImmediate: stopped })
  performance.now = stopped
  const before = clock.now()
  await new Promise(resolve => clock.setTimeout(resolve, 5))
  await new Promise(resolve => clock.setImmediate(resolve))
  t.ok(clock.now() > before)
  clock.clearTimeout(clock.setTimeout(() => t.fail('was cleared'), 0))
  await new Promise(resolve => clock.setTimeout(resolve, 5))
})
