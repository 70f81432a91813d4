import { sharedScope } from '../../scope.ts'

// An append expires later than its timeout by this part of it, at most by so many milliseconds: each look at all
// channels costs time.
const LATENESS = 0.01
const MAX_LATENESS = 20

/** Appends of one channel that wait. */
export interface WaitingAppends {
  /** When the oldest of them was added, in milliseconds of `performance.now()`; Infinity if none waits. */
  readonly since: number
  /** Rejects those that were added before that time. */
  expire: (before: number) => void
}

/** The timeout of the appends of all channels. They share one timer, because a timer costs as much as an append. */
export class AppendTimeouts {
  /** Milliseconds. */
  readonly timeout: number
  readonly #waiting = new Set<WaitingAppends>()
  #timer: NodeJS.Timeout | undefined

  constructor (timeout: number) {
    this.timeout = timeout
  }

  add (appends: WaitingAppends): void {
    this.#waiting.add(appends)
    // Those that are added later time out later: the timer is that of the oldest.
    this.#timer ??= sharedScope.runInAsyncScope(setTimeout, undefined, this.#expire, this.timeout)
  }

  delete (appends: WaitingAppends): void {
    this.#waiting.delete(appends)
    if (this.#waiting.size > 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  readonly #expire = (): void => {
    const now = performance.now()
    let oldest = Infinity
    for (const appends of this.#waiting) {
      // A timer may fire a part of a millisecond early.
      if (appends.since < now - this.timeout + 1) appends.expire(now - this.timeout + 1)
      const { since } = appends
      if (since === Infinity) this.#waiting.delete(appends)
      else oldest = Math.min(oldest, since)
    }
    // While Redis does not answer, many expire one after the other.
    const interval = Math.max(1, Math.min(this.timeout * LATENESS, MAX_LATENESS))
    this.#timer = oldest === Infinity
      ? undefined
      : setTimeout(this.#expire, Math.max(interval, oldest + this.timeout - now))
  }
}
