import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { turnIsOver } from '../lib/turn.ts'

/** Keeps the loop busy for so many milliseconds. */
function work (milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

t.test('L4: a turn of the loop is over 10 ms after its first question, and the next one starts afresh', async t => {
  await turn()
  t.equal(turnIsOver(), false, 'the first question starts the clock')
  work(11)
  t.equal(turnIsOver(), true)
  t.equal(turnIsOver(), true, 'it stays over, for every stream that asks')
  await Promise.resolve()
  t.equal(turnIsOver(), true, 'microtasks are of the same turn')
  await turn()
  t.equal(turnIsOver(), false, 'a new turn has its own 10 ms')
})

t.test('L4: work before the first question does not count', async t => {
  await turn()
  work(11)
  t.equal(turnIsOver(), false)
})
