import type { StreamRecord } from './stream-record.ts'
import { FST_SSE_REAUTHORIZE_TIMEOUT } from '../errors.ts'
import type { ResolvedOptions } from './options.ts'
import { isThenable } from '../source/source.ts'

/** What a term ends. */
interface PolicyTarget {
  end: (reason: 'expired') => void
  revoke: () => void
}

/** How long a stream may go on: until its lifetime is over, and for as long as it is permitted. */
export class LifetimePolicy {
  readonly #options: ResolvedOptions
  readonly #record: StreamRecord
  readonly #stream: PolicyTarget
  readonly #deadline: number
  #nextCheckAt: number
  /** The pending answer. */
  #pending: PromiseLike<unknown> | undefined

  constructor (options: ResolvedOptions, account: StreamRecord, stream: PolicyTarget) {
    const { maxLifetime, reauthorize, reauthorizeInterval } = options
    this.#options = options
    this.#record = account
    this.#stream = stream
    const { startedAt } = account
    // Those who came together do not all end, or ask, together.
    this.#deadline = maxLifetime > 0 ? startedAt + maxLifetime * (0.9 + Math.random() * 0.2) : Infinity
    this.#nextCheckAt = reauthorize === undefined ? Infinity : startedAt + reauthorizeInterval * (0.5 + Math.random() * 0.5)
  }

  /** The shared timer's beat. */
  tick (now: number): void {
    if (now >= this.#deadline) this.#stream.end('expired')
    if (now < this.#nextCheckAt) return
    const { reauthorizeInterval } = this.#options
    this.#nextCheckAt = now + reauthorizeInterval
    if (this.#pending !== undefined) this.#onTimeout(new FST_SSE_REAUTHORIZE_TIMEOUT('reauthorize', reauthorizeInterval))
    this.#checkPermission()
  }

  /** No answer is not a no: whoever answers may be away for a moment, and with it would go all streams. */
  #checkPermission (): void {
    try {
      const permitted = this.#record.scope.runInAsyncScope(this.#options.reauthorize!, undefined, this.#record.request)
      if (!isThenable(permitted)) return this.#apply(permitted)
      this.#pending = permitted
      permitted.then(answer => {
        if (this.#pending === permitted) this.#pending = undefined
        // A late `false` counts too.
        this.#apply(answer)
      }, (error: unknown) => {
        if (this.#pending === permitted) this.#onTimeout(error)
      })
    } catch (error) {
      this.#onTimeout(error)
    }
  }

  #onTimeout (error: unknown): void {
    this.#pending = undefined
    this.#record.logError(error, 'sse stream could not be revalidated')
  }

  #apply (permitted: boolean): void {
    if (!permitted) this.#stream.revoke()
  }
}
