// The longest delay that a timer can hold: a longer one fires at once.
const LONGEST = 2 ** 31 - 1

/**
 * Computes the delay before the next attempt: exponential, with full jitter, so that clients do not reconnect together.
 */
export class Backoff {
  readonly #delay: number
  readonly #max: number
  /** Consecutive attempts without an event or a position. More than 30 do not change the delay. */
  #fruitless = 0

  constructor (delay: number, max: number) {
    this.#delay = delay
    this.#max = max
  }

  /**
   * Returns milliseconds. The delay is never below the reconnection time of the stream (WHATWG HTML §9.2.3) or the
   * `Retry-After` of a response.
   */
  next (progressed: boolean, retry: number, retryAfter = 0): number {
    if (progressed) this.#fruitless = 0
    const ceiling = Math.min(this.#max, (retry || this.#delay) * 2 ** Math.min(30, this.#fruitless++))
    return Math.min(LONGEST, Math.max(retry, retryAfter) + Math.random() * ceiling)
  }
}
