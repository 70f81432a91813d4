import { setTimeout as pause } from 'node:timers/promises'

/** Polls until a condition holds, for states of other processes that send no event. */
export async function until (what: string, holds: () => boolean | Promise<boolean>, time = 60_000): Promise<void> {
  const deadline = performance.now() + time
  while (!await holds()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${time} ms`)
    await pause(20)
  }
}
