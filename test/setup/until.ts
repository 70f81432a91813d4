import { setTimeout as pause } from 'node:timers/promises'

/** Waits for a state of other processes, of which nothing tells. */
export async function until (what: string, holds: () => boolean | Promise<boolean>, time = 60_000): Promise<void> {
  const deadline = performance.now() + time
  while (!await holds()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${time} ms`)
    await pause(20)
  }
}
