import { now } from '../clock.ts'
import type { RunLog } from '../log/log.ts'

/** A lease of a run's log, which its owner renews while the run has a producer. */
export class Lease {
  /** Names the holder: no two leases share an owner. */
  readonly owner: string
  readonly #log: RunLog
  /** Milliseconds. */
  readonly #duration: number
  /** The time of the last request that acquired or renewed it. */
  #heldAt = -Infinity
  #pending = false

  constructor (log: RunLog, owner: string, duration: number) {
    this.#log = log
    this.owner = owner
    this.#duration = duration
  }

  /** Acquires or renews the lease. Resolves to false if another owner holds it, or the log has ended. */
  async acquire (): Promise<boolean> {
    const requestedAt = now()
    this.#pending = true
    try {
      const held = await this.#log.lease(this.owner, this.#duration)
      if (held) this.#heldAt = requestedAt
      return held
    } finally {
      this.#pending = false
    }
  }

  /**
   * Renews the lease. Resolves to whether it may still be held: a log that does not answer is no loss until the lease
   * has expired.
   */
  async renew (): Promise<boolean> {
    const mayBeHeld = (): boolean => now() - this.#heldAt < this.#duration
    if (this.#pending) return mayBeHeld()
    return await this.acquire().catch(mayBeHeld)
  }
}
