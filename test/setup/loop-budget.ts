import type { Test } from 'tap'
import { loopBudget } from '../../lib/source/loop-budget.ts'

/** Lifts the limit of time for one iteration of the event loop: on a busy machine it divides what is ready together. */
export function liftLoopBudget (t: Pick<Test, 'teardown'>): void {
  const { milliseconds } = loopBudget
  loopBudget.milliseconds = Infinity
  t.teardown(() => { loopBudget.milliseconds = milliseconds })
}
