// A beat may be late, but not that late.
const PATIENCE = 2.5
// Comments of a program come thick and fast, a beat comes after a silence, and after a very long one the machine has slept. Milliseconds.
const SHORTEST = 1_000
const LONGEST = 300_000
// Who comments every second may still have nothing to say for a while.
const LEAST = 20_000
// The longest delay of a timer: a longer one would fire at once.
const LONGEST_TIMER = 2 ** 31 - 1

/**
 * Notices a connection that is dead and has no end: of a machine that slept, behind a proxy that forgot it. A stream without
 * events is not dead, so how long it may be silent is learnt from its heartbeats, which are comments after a silence.
 */
export class Watchdog {
  readonly #learns: boolean
  /** Milliseconds of silence that are too long; 0 where none is. */
  #limit: number
  #since = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  /** The limit, or undefined: it is to be learnt. */
  constructor (limit: number | undefined) {
    this.#learns = limit === undefined
    this.#limit = limit ?? 0
  }

  /** Bytes are waited for from now on. */
  watch (silent: (limit: number) => void): void {
    this.#since = Date.now()
    const limit = this.#limit
    if (limit > 0) this.#timer = setTimeout(() => silent(limit), Math.min(limit, LONGEST_TIMER))
  }

  /** There they are; `beat` where they were nothing but a comment. Whether it was a heartbeat. */
  received (beat = false): boolean {
    clearTimeout(this.#timer)
    const silence = Date.now() - this.#since
    const isHeartbeat = beat && silence >= SHORTEST
    if (isHeartbeat && this.#learns && silence < LONGEST) this.#limit = Math.max(this.#limit, LEAST, silence * PATIENCE)
    return isHeartbeat
  }
}
