import type { KnownPosition } from './known-position.ts'

// Milliseconds. The last message may be lost, and no later one shows it.
const CHECK_INTERVAL = 15_000
// Redis does not answer meanwhile. The oldest positions are checked.
const MAX_WAITING = 64

/** Checks the known positions of a channel in the store, one at a time. */
export class PositionChecks {
  readonly #check: (known: KnownPosition) => Promise<void>
  /** The check of another position says nothing of these. */
  readonly #waiting: KnownPosition[] = []
  #checking = false
  #checkedAt = 0

  constructor (check: (known: KnownPosition) => Promise<void>) {
    this.#check = check
  }

  /** Checks a position, also one whose check is under way: that answer may be older than this call. */
  add (known: KnownPosition): void {
    if (this.#waiting.at(-1) !== known && this.#waiting.length < MAX_WAITING) this.#waiting.push(known)
    if (!this.#checking) this.#run()
  }

  isDue (now: number): boolean { return now - this.#checkedAt >= CHECK_INTERVAL }

  async #run (): Promise<void> {
    this.#checking = true
    for (let known = this.#waiting.shift(); known !== undefined; known = this.#waiting.shift()) {
      this.#checkedAt = performance.now()
      try {
        await this.#check(known)
      } catch {
        // Rejected: the next call of a user reports the reason.
      }
    }
    this.#checking = false
  }
}
