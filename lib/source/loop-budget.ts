import { now, setImmediate } from '../clock.ts'

// A source that is always ready keeps the microtask queue busy for ever: timers, sockets and other
// streams would starve. All streams of the process share this much of one turn of the event loop.
const BUDGET_MS = 10

// A look at the clock costs a tenth of a small event: while they come that fast, every eighth event looks.
const FAST = 0.1
const SKIP = 7

let startedAt = 0
let lookedAt = 0
let skip = 0
const reset = (): void => { startedAt = 0 }

export { setImmediate as yieldToLoop } from '../clock.ts'

/** True when this turn of the event loop has lasted its 10 ms: come back with yieldToLoop. */
export function budgetSpent (): boolean {
  if (skip > 0) {
    skip--
    return false
  }
  const time = now()
  skip = time - lookedAt < FAST ? SKIP : 0
  lookedAt = time
  if (startedAt === 0) {
    startedAt = time
    setImmediate(reset)
    return false
  }
  return time - startedAt >= BUDGET_MS
}
