/**
 * The clock of the machine, also where a test has put one of its own in its place: what stands for a turn of the event loop, or
 * bounds a wait, is not to stand still with it.
 */
export const { setTimeout, clearTimeout, setImmediate, setInterval, clearInterval } = globalThis
export const now = performance.now.bind(performance)
