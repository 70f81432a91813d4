/**
 * The machine's own clock and timers, also if a test replaces the global ones by fake ones. Code that yields to the
 * event loop or bounds a wait uses them: it must not stop with a fake clock.
 */
export const { setTimeout, clearTimeout, setImmediate, setInterval, clearInterval } = globalThis
/** Milliseconds of the monotonic clock. */
export const now = performance.now.bind(performance)
