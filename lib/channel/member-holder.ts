import type { FastifyBaseLogger } from 'fastify'
import { clearTimeout, setImmediate, setTimeout } from '../clock.ts'
import { newEpoch } from '../log/epoch.ts'
import type { HeldMembers, MemberLog } from '../log/log.ts'
import { logSafely } from '../log-safely.ts'
import { sharedScope } from '../scope.ts'

/** A member of this process, as the text that the log stores. */
interface LocalMember {
  /** The number of its open subscriptions. */
  count: number
  /** Whether the log holds it for this holder after the calls so far. */
  held: boolean
}

export interface HolderSetup {
  log: MemberLog
  /** The name of the channel, for the logger. */
  name: string
  logger: Pick<FastifyBaseLogger, 'warn'>
  /** Milliseconds of a lease. */
  duration: number
}

// Milliseconds. The close of the server waits for the log no longer.
const RELEASE_TIMEOUT = 1_000

/**
 * Holds the members of this process in the log of one channel. The changes of a turn of the event loop are one call of
 * the log, and one call is under way at a time: the next one has all changes since. A member that leaves and joins
 * meanwhile changes nothing.
 */
export class MemberHolder {
  readonly #setup: HolderSetup
  /** Names this process, until a call fails. */
  #holder = newEpoch()
  readonly #members = new Map<string, LocalMember>()
  /** The members whose count may differ from the log. */
  readonly #changed = new Set<string>()
  #fingerprint: string | undefined
  /** The call under way. Settles without an error. */
  #call: Promise<void> | undefined
  #scheduled = false
  #failing = false
  #closed = false

  constructor (setup: HolderSetup) {
    this.#setup = setup
  }

  /** Whether this process holds no member, and no call is under way. */
  get isIdle (): boolean { return this.#members.size === 0 && this.#call === undefined }

  /** Counts a subscription of a member. Returns the function that counts its end. */
  join (text: string, fingerprint: string | undefined): () => void {
    if (this.#closed) return () => {}
    this.#fingerprint = fingerprint
    this.#count(text, 1)
    return () => this.#count(text, -1)
  }

  /** Renews the lease, or retries after a failure. Without members, it ends expired leases if `sweeps`. */
  tick (sweeps: boolean): void {
    if (this.#call !== undefined || this.#closed) return
    if (this.#members.size > 0) this.#start(() => this.#update(true))
    else if (sweeps) this.#start(() => this.#sweep())
  }

  /** Ends the lease and all members of this process. Later changes have no effect. Waits one second at most. */
  async close (): Promise<void> {
    this.#closed = true
    if (this.isIdle) return
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<void>(resolve => { timer = setTimeout(resolve, RELEASE_TIMEOUT) })
    await Promise.race([this.#release(), timeout])
    clearTimeout(timer)
  }

  #count (text: string, change: 1 | -1): void {
    if (this.#closed) return
    const member = this.#members.get(text) ?? { count: 0, held: false }
    member.count += change
    this.#members.set(text, member)
    if (member.count > 1 || (change === -1 && member.count > 0)) return
    this.#changed.add(text)
    if (this.#scheduled) return
    this.#scheduled = true
    // Many streams open or end in one turn, each in a callback of its own.
    sharedScope.runInAsyncScope(setImmediate, undefined, () => {
      this.#scheduled = false
      if (this.#call === undefined && !this.#closed) this.#start(() => this.#update(false))
    })
  }

  #start (call: () => Promise<void>): void {
    const settle = (failure?: { err: unknown }): void => {
      this.#call = undefined
      this.#report(failure)
      if (failure === undefined && this.#changed.size > 0 && !this.#closed) this.#start(() => this.#update(false))
    }
    this.#call = call().then(() => settle(), (err: unknown) => settle({ err }))
  }

  /** Gives the log the members of this process. `renews`: also without a change. */
  async #update (renews: boolean): Promise<void> {
    const change = this.#takeChange()
    if (!renews && change.add.length + change.remove.length === 0) return
    const { log, duration } = this.#setup
    try {
      if (!await log.hold(this.#holder, change, duration)) this.#onLost(change.add)
    } catch (error) {
      this.#onFailure()
      throw error
    }
  }

  /** Returns the change to the members since the last call. From here on, they count as held. */
  #takeChange (): HeldMembers {
    const add: string[] = []
    const remove: string[] = []
    for (const text of this.#changed) {
      const { count, held } = this.#members.get(text)!
      if (count > 0 && !held) add.push(text)
      else if (count === 0 && held) remove.push(text)
      if (count > 0) this.#members.set(text, { count, held: true })
      else this.#members.delete(text)
    }
    this.#changed.clear()
    return { add, remove, fingerprint: this.#fingerprint }
  }

  /** The lease had ended: the log holds the added members alone. */
  #onLost (added: readonly string[]): void {
    const held = new Set(added)
    this.#forget(text => held.has(text))
  }

  /**
   * The call may still reach the log, so the members that the log holds for this holder are unknown. Another holder
   * begins, and the lease of this one ends by itself.
   */
  #onFailure (): void {
    this.#holder = newEpoch()
    this.#forget(() => false)
  }

  /** Marks the members that the log holds no longer. */
  #forget (isHeld: (text: string) => boolean): void {
    for (const [text, member] of this.#members) {
      if (isHeld(text)) continue
      member.held = false
      this.#changed.add(text)
    }
  }

  async #sweep (): Promise<void> {
    await this.#setup.log.members()
  }

  async #release (): Promise<void> {
    await this.#call
    const remove = [...this.#members].filter(([, { held }]) => held).map(([text]) => text)
    this.#members.clear()
    this.#changed.clear()
    try {
      await this.#setup.log.hold(this.#holder, { add: [], remove, fingerprint: this.#fingerprint }, 0)
    } catch (err) {
      this.#report({ err })
    }
  }

  /** Logs the first failure of several. The next tick tries again. */
  #report (failure: { err: unknown } | undefined): void {
    const { logger, name: channel } = this.#setup
    if (failure !== undefined && !this.#failing) {
      logSafely(logger, 'warn', { ...failure, channel }, 'sse members could not be held')
    }
    this.#failing = failure !== undefined
  }
}
