// A beat may be late, but not that late.
const PATIENCE = 2.5
// Comments of a program come thick and fast, a beat comes after a silence, and after a very long one the machine has slept. Milliseconds.
const SHORTEST = 1_000
const LONGEST = 300_000
// Who comments every second may still have nothing to say for a while.
const LEAST = 20_000

/**
 * Notices a connection that is dead and has no end: of a machine that slept, behind a proxy that forgot it. A stream without
 * events is not dead, so how long it may be silent is learnt from its heartbeats, which are comments after a silence.
 */
export class Watchdog {
  readonly #fixed: number | undefined
  /** The longest silence that a beat ended. */
  #learnt = 0
  #since = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  /** Milliseconds of silence that are too long, 0 for none that is; undefined: to be learnt. */
  constructor (fixed: number | undefined) {
    this.#fixed = fixed
  }

  /** Bytes are waited for from now on. */
  watch (silent: (limit: number) => void): void {
    this.#since = Date.now()
    const limit = this.#fixed ?? (this.#learnt > 0 ? Math.max(LEAST, this.#learnt * PATIENCE) : 0)
    if (limit > 0) this.#timer = setTimeout(() => silent(limit), limit)
  }

  /** There they are; `beat` where they were nothing but a comment. Whether it was a heartbeat. */
  heard (beat = false): boolean {
    clearTimeout(this.#timer)
    const silence = Date.now() - this.#since
    if (!beat || silence < SHORTEST) return false
    if (silence < LONGEST) this.#learnt = Math.max(this.#learnt, silence)
    return true
  }
}
