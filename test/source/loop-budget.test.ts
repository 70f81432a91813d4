import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { budgetSpent } from '../../lib/source/loop-budget.ts'

/** Blocks the event loop for some milliseconds. */
function work (milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

/** Starts an iteration of the loop whose first call of budgetSpent() reads the clock, after slow calls. */
async function newTurn (): Promise<void> {
  for (let question = 0; question < 10; question++) {
    work(0.2)
    budgetSpent()
  }
  await turn()
  work(0.2)
}

t.test('L4: the budget is spent 10 ms after the first call of budgetSpent(), and is new in the next iteration', async t => {
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

t.test('L4: work before the first call of budgetSpent() does not count', async t => {
  await newTurn()
  work(11)
  t.equal(budgetSpent(), false)
})

t.test('L4: at any rate of calls, the budget is spent after 10 ms and not before', async t => {
  await newTurn()
  const startedAt = performance.now()
  const elapsed = () => performance.now() - startedAt
  while (!budgetSpent()) if (elapsed() > 5_000) t.bailout('the turn never ends')
  t.ok(elapsed() >= 10, `after ${elapsed()} ms`)
})
