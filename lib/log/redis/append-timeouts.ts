import { sharedScope } from '../../scope.ts'

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
      oldest = Math.min(oldest, appends.since)
    }
    this.#timer = oldest === Infinity
      ? undefined
      : setTimeout(this.#expire, Math.max(1, oldest + this.timeout - now))
  }
}
