import { now, setImmediate } from '../clock.ts'

// A source that is always ready keeps the microtask queue busy for ever, and timers, sockets and other streams starve.
// All streams of the process share this much time of one iteration of the event loop. Tests of exact writes raise it: a
// busy machine can take it away at any event.
export const loopBudget = { milliseconds: 10 }

// Reading the clock costs a tenth of a small event. If two calls are less than FAST_MS apart, then only every eighth
// call reads it.
const FAST_MS = 0.1
const SKIPPED_CALLS = 7

let startedAt = 0
let lastReadAt = 0
let callsToSkip = 0
const reset = (): void => { startedAt = 0 }

export { setImmediate as yieldToLoop } from '../clock.ts'

/** Whether this iteration of the event loop has lasted 10 ms. If true, then continue after `yieldToLoop`. */
export function budgetSpent (): boolean {
  if (callsToSkip > 0) {
    callsToSkip--
    return false
  }
  const time = now()
  callsToSkip = time - lastReadAt < FAST_MS ? SKIPPED_CALLS : 0
  lastReadAt = time
  if (startedAt === 0) {
    startedAt = time
    setImmediate(reset)
    return false
  }
  return time - startedAt >= loopBudget.milliseconds
}
