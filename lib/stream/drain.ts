import { clearInterval, clearTimeout, now, setImmediate, setInterval, setTimeout } from '../clock.ts'

/** A stream that a drain ends. */
export interface Drained {
  /** Ends the stream. `reconnectDelay`: the client's reconnection delay in milliseconds, if it gets one. */
  shutdown: (reconnectDelay: number | undefined) => void
  destroy: () => void
  over: Promise<void>
}

// Streams ended per millisecond, unless there is less time.
const PACE = 1
const STEP = 10
// Milliseconds for a client to read the end of its stream. Then it is cut off.
const END_TIMEOUT = 1_000

/** The time for the whole drain, and the time over which clients reconnect (0: they get no delay), in milliseconds. */
export interface DrainTimes { shutdownTimeout: number, reconnectWindow: number }

/** Returns the milliseconds for a client to read the end of its stream. */
export const endTimeout = (shutdownTimeout: number): number => Math.min(END_TIMEOUT, shutdownTimeout / 2)

/**
 * Ends the streams of `closing` one after the other. Each client gets its own random reconnection delay within the
 * window after the last end, so that other nodes get a flow of clients and not all at once. The streams of `draining`
 * are ended shortly before `shutdownTimeout`. Settles when all streams are over.
 */
export async function drain (
  closing: readonly Drained[],
  draining: readonly Drained[],
  { shutdownTimeout, reconnectWindow }: DrainTimes
): Promise<void> {
  const span = Math.min(closing.length / PACE, shutdownTimeout / 2)
  const timeout = endTimeout(shutdownTimeout)
  // Events that a source emits on `shutdownSignal` are sent before its end.
  await new Promise(resolve => setImmediate(resolve))
  const begun = now()
  let ended = 0
  /** Ends a stream. `from`: the start of the window, which does not move if the drain is late. */
  const end = (stream: Drained, from: number): void => {
    stream.shutdown(
      reconnectWindow === 0 ? undefined : Math.max(0, from + Math.random() * reconnectWindow - (now() - begun))
    )
  }
  const step = (): void => {
    const due = span === 0 ? closing.length : closing.length * (now() - begun + STEP) / span
    while (ended < closing.length && ended < due) end(closing[ended++]!, span)
  }
  const cut = (streams: readonly Drained[]): void => { for (const stream of streams) stream.destroy() }
  step()
  const steps = setInterval(step, STEP)
  const timers = [
    setTimeout(cut, span + timeout, closing),
    setTimeout(() => {
      for (const stream of draining) end(stream, shutdownTimeout - timeout)
    }, shutdownTimeout - timeout),
    setTimeout(cut, shutdownTimeout, draining)
  ]
  await Promise.all([...closing, ...draining].map(({ over }) => over))
  clearInterval(steps)
  for (const timer of timers) clearTimeout(timer)
}
