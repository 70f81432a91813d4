import type { StreamRecord } from './stream-record.ts'
import { FST_SSE_REAUTHORIZE_TIMEOUT } from '../errors.ts'
import type { ResolvedOptions } from './options.ts'
import { isThenable } from '../source/source.ts'

/** The stream that a policy ends. */
interface PolicyTarget {
  end: (reason: 'expired') => void
  revoke: () => void
}

/** Ends a stream when its lifetime is over or it is no longer permitted. */
export class LifetimePolicy {
  readonly #options: ResolvedOptions
  readonly #record: StreamRecord
  readonly #stream: PolicyTarget
  readonly #deadline: number
  #nextCheckAt: number
  /** The pending result of `reauthorize`. */
  #pending: PromiseLike<unknown> | undefined

  constructor (options: ResolvedOptions, record: StreamRecord, stream: PolicyTarget) {
    const { maxLifetime, reauthorize, reauthorizeInterval } = options
    this.#options = options
    this.#record = record
    this.#stream = stream
    const { startedAt } = record
    // With jitter: streams that started together do not end together, and do not call `reauthorize` together.
    this.#deadline = maxLifetime > 0 ? startedAt + maxLifetime * (0.9 + Math.random() * 0.2) : Infinity
    this.#nextCheckAt = reauthorize === undefined
      ? Infinity
      : startedAt + reauthorizeInterval * (0.5 + Math.random() * 0.5)
  }

  /** Called by the shared timer. */
  tick (now: number): void {
    if (now >= this.#deadline) this.#stream.end('expired')
    if (now < this.#nextCheckAt) return
    const { reauthorizeInterval } = this.#options
    this.#nextCheckAt = now + reauthorizeInterval
    if (this.#pending !== undefined) {
      this.#onFailure(new FST_SSE_REAUTHORIZE_TIMEOUT('reauthorize', reauthorizeInterval))
    }
    this.#checkPermission()
  }

  /** Calls `reauthorize`. A failed check does not revoke: an outage of the auth backend must not close every stream. */
  #checkPermission (): void {
    try {
      const permitted = this.#record.scope.runInAsyncScope(this.#options.reauthorize!, undefined, this.#record.request)
      if (!isThenable(permitted)) return this.#apply(permitted)
      this.#pending = permitted
      permitted.then(result => {
        if (this.#pending === permitted) this.#pending = undefined
        // A late `false` revokes, too.
        this.#apply(result)
      }, (error: unknown) => {
        if (this.#pending === permitted) this.#onFailure(error)
      })
    } catch (error) {
      this.#onFailure(error)
    }
  }

  #onFailure (error: unknown): void {
    this.#pending = undefined
    this.#record.logError(error, 'sse stream could not be reauthorized')
  }

  #apply (permitted: boolean): void {
    if (!permitted) this.#stream.revoke()
  }
}
