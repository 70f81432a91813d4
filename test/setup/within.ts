import { setImmediate } from '../../lib/clock.ts'

/**
 * A promise that must settle: one that does not fails its test with a name instead of hanging it. The bound is far above what a busy machine takes.
 */
export async function within<T> (what: string, promise: Promise<T>, time = 30_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${time} ms`)), time)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Settles when a number has stood still for a while: nothing says "from here on, nothing happens". */
export async function still (value: () => number | Promise<number>, time = 150): Promise<number> {
  for (let before = -1; ;) {
    const now = await value()
    if (before === now) return now
    before = now
    await new Promise(resolve => setTimeout(resolve, time))
  }
}

/** Settles when a source that is always ready is pulled no more: as long as there is room, it is in every turn. */
export async function held (pulled: () => number): Promise<number> {
  for (let before = -1; before !== pulled();) {
    before = pulled()
    for (let turns = 0; turns < 3; turns++) await new Promise(resolve => { setImmediate(resolve) })
  }
  return pulled()
}
