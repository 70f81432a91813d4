import { setImmediate } from '../../lib/clock.ts'

/**
 * Rejects with the name of a promise that does not settle, so that its test fails instead of hanging. The limit is far
 * above the time that a busy machine needs.
 */
export async function within<T> (what: string, promise: Promise<T>, time = 30_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${time} ms`)), time)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Resolves when a number has not changed for a while, if no event signals the end. */
export async function still (value: () => number | Promise<number>, time = 150): Promise<number> {
  for (let before = -1; ;) {
    const now = await value()
    if (before === now) return now
    before = now
    await new Promise(resolve => setTimeout(resolve, time))
  }
}

/** Resolves when a source that is always ready is no longer pulled: while there is room, it is pulled in every turn. */
export async function held (pulled: () => number): Promise<number> {
  for (let before = -1; before !== pulled();) {
    before = pulled()
    for (let turns = 0; turns < 3; turns++) await new Promise(resolve => { setImmediate(resolve) })
  }
  return pulled()
}
