// A source that is always ready keeps the microtask queue busy for ever: timers, sockets and other
// streams would starve. All streams of the process share this much of one turn of the event loop.
const TURN = 10

let startedAt = 0
const reset = (): void => { startedAt = 0 }

/** True when this turn of the event loop has lasted its 10 ms: come back with setImmediate. */
export function turnIsOver (): boolean {
  const now = performance.now()
  if (startedAt === 0) {
    startedAt = now
    setImmediate(reset)
    return false
  }
  return now - startedAt >= TURN
}
