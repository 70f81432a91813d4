// A silence is too long from this multiple of the heartbeat interval on.
const PATIENCE = 2.5
// A heartbeat follows a silence; comments of a program may follow each other faster. After a very long silence the
// machine has slept. Milliseconds.
const SHORTEST = 1_000
const LONGEST = 300_000
// The lowest limit, since a server that comments every second may also stop for a while.
const LEAST = 20_000
// The longest delay that a timer can hold: a longer one fires at once.
const LONGEST_TIMER = 2 ** 31 - 1

/**
 * Detects a dead connection that was never closed: a machine that slept, a proxy that dropped it. A stream may be
 * silent without being dead, so the watchdog learns the limit from heartbeats, which are comments after a silence.
 */
export class Watchdog {
  readonly #learns: boolean
  /** The limit of a silence in milliseconds; 0 = none. */
  #limit: number
  #since = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  /** Learns the limit if it is undefined. */
  constructor (limit: number | undefined) {
    this.#learns = limit === undefined
    this.#limit = limit ?? 0
  }

  /** Starts a wait for bytes. Calls back if the limit passes before `received()`. */
  watch (onSilence: (limit: number) => void): void {
    this.#since = Date.now()
    const limit = this.#limit
    if (limit > 0) this.#timer = setTimeout(() => onSilence(limit), Math.min(limit, LONGEST_TIMER))
  }

  /** Ends the wait. Returns whether the bytes were a heartbeat: only comments (`commentOnly`), after a silence. */
  received (commentOnly = false): boolean {
    clearTimeout(this.#timer)
    const silence = Date.now() - this.#since
    const isHeartbeat = commentOnly && silence >= SHORTEST
    if (isHeartbeat && this.#learns && silence < LONGEST) this.#limit = Math.max(this.#limit, LEAST, silence * PATIENCE)
    return isHeartbeat
  }
}
