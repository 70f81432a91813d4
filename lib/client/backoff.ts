// What a timer holds; a longer delay would fire at once.
const LONGEST = 2 ** 31 - 1

/** How long to wait before the next attempt: exponential, with full jitter, so that many who lost a server do not come back together. */
export class Backoff {
  readonly #delay: number
  readonly #max: number
  /** Attempts in a row that brought nothing; more than 30 make no difference. */
  #fruitless = 0

  constructor (delay: number, max: number) {
    this.#delay = delay
    this.#max = max
  }

  /**
   * Milliseconds. Less than the server told is never waited, be it the reconnection time of the stream (WHATWG HTML §9.2.3), or what
   * a response asked for (`Retry-After`).
   */
  next (fruitful: boolean, retry: number, retryAfter = 0): number {
    if (fruitful) this.#fruitless = 0
    const ceiling = Math.min(this.#max, (retry || this.#delay) * 2 ** Math.min(30, this.#fruitless++))
    return Math.min(LONGEST, Math.max(retry, retryAfter) + Math.random() * ceiling)
  }
}
