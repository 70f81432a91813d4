import { clearInterval, clearTimeout, now, setImmediate, setInterval, setTimeout } from '../clock.ts'

/** What a drain asks of a stream. */
export interface Drained {
  /** Ends it, and tells its client in how many milliseconds to come back, or nothing of that. */
  shutdown: (reconnectDelay: number | undefined) => void
  destroy: () => void
  over: Promise<void>
}

// A server ends so many streams per millisecond, unless it has less time than that.
const PACE = 1
const STEP = 10
// How long a client may take to receive the end of its stream; then it is cut off.
const TAKING = 1_000

/** Milliseconds: how long it may take, and the time over which clients come back; 0: they are not told. */
export interface DrainTimes { shutdownTimeout: number, reconnectWindow: number }

/** How long a client may take, within so long a grace period. */
export const takingOf = (shutdownTimeout: number): number => Math.min(TAKING, shutdownTimeout / 2)

/**
 * Ends streams one after the other, and tells each client its own moment to come back, anywhere within the window after the last end:
 * whoever serves them next is met by a flow of clients, not by all of them at once. Those that may finish are ended when the shutdownTimeout
 * period is almost over. Settles when all are over.
 */
export async function drain (ending: readonly Drained[], finishing: readonly Drained[], { shutdownTimeout, reconnectWindow }: DrainTimes): Promise<void> {
  const span = Math.min(ending.length / PACE, shutdownTimeout / 2)
  const taking = takingOf(shutdownTimeout)
  // What a source says when it hears of the shutdown goes out before its end.
  await new Promise(resolve => setImmediate(resolve))
  const begun = now()
  let ended = 0
  /** `from` is where the window begins. A server that is late does not move it. */
  const end = (stream: Drained, from: number): void => {
    stream.shutdown(reconnectWindow === 0 ? undefined : Math.max(0, from + Math.random() * reconnectWindow - (now() - begun)))
  }
  const step = (): void => {
    const due = span === 0 ? ending.length : ending.length * (now() - begun + STEP) / span
    while (ended < ending.length && ended < due) end(ending[ended++]!, span)
  }
  const cut = (streams: readonly Drained[]): void => { for (const stream of streams) stream.destroy() }
  step()
  const steps = setInterval(step, STEP)
  const timers = [
    setTimeout(cut, span + taking, ending),
    setTimeout(() => { for (const stream of finishing) end(stream, shutdownTimeout - taking) }, shutdownTimeout - taking),
    setTimeout(cut, shutdownTimeout, finishing)
  ]
  await Promise.all([...ending, ...finishing].map(({ over }) => over))
  clearInterval(steps)
  for (const timer of timers) clearTimeout(timer)
}
