import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { budgetSpent } from '../../lib/source/loop-budget.ts'

/** Keeps the loop busy for so many milliseconds. */
function work (milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

/** A new turn of the loop, whose first question will look at the clock: slow ones before it saw to that. */
async function newTurn (): Promise<void> {
  for (let question = 0; question < 10; question++) {
    work(0.2)
    budgetSpent()
  }
  await turn()
  work(0.2)
}

t.test('L4: a turn of the loop is over 10 ms after its first question, and the next one starts afresh', async t => {
  await newTurn()
  t.equal(budgetSpent(), false, 'the first question starts the clock')
  work(11)
  t.equal(budgetSpent(), true)
  await Promise.resolve()
  work(0.2)
  t.equal(budgetSpent(), true, 'microtasks are of the same turn')
  await turn()
  work(0.2)
  t.equal(budgetSpent(), false, 'a new turn has its own 10 ms')
})

t.test('L4: work before the first question does not count', async t => {
  await newTurn()
  work(11)
  t.equal(budgetSpent(), false)
})

t.test('L4: however fast the questions come, the turn ends, and not before its 10 ms', async t => {
  await newTurn()
  const startedAt = performance.now()
  const elapsed = () => performance.now() - startedAt
  while (!budgetSpent()) if (elapsed() > 5_000) t.bailout('the turn never ends')
  t.ok(elapsed() >= 10, `after ${elapsed()} ms`)
})
