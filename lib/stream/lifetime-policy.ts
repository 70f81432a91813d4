import type { Account } from './stream-record.ts'
import { FST_SSE_UNSETTLED } from '../errors.ts'
import type { ResolvedOptions } from './options.ts'
import { isThenable } from '../source/source.ts'

/** What a term ends. */
interface Ended {
  end: (reason: 'lifetime') => void
  revoke: () => void
}

/** How long a stream may go on: until its lifetime is over, and for as long as it is permitted. */
export class Term {
  readonly #options: ResolvedOptions
  readonly #account: Account
  readonly #stream: Ended
  readonly #deadline: number
  #askAt: number
  /** The pending answer. */
  #pending: PromiseLike<unknown> | undefined

  constructor (options: ResolvedOptions, account: Account, stream: Ended) {
    const { maxLifetime, revalidate, revalidateInterval } = options
    this.#options = options
    this.#account = account
    this.#stream = stream
    const { startedAt } = account
    // Those who came together do not all end, or ask, together.
    this.#deadline = maxLifetime > 0 ? startedAt + maxLifetime * (0.9 + Math.random() * 0.2) : Infinity
    this.#askAt = revalidate === undefined ? Infinity : startedAt + revalidateInterval * (0.5 + Math.random() * 0.5)
  }

  /** The shared timer's beat. */
  tick (now: number): void {
    if (now >= this.#deadline) this.#stream.end('lifetime')
    if (now < this.#askAt) return
    const { revalidateInterval } = this.#options
    this.#askAt = now + revalidateInterval
    if (this.#pending !== undefined) this.#unanswered(new FST_SSE_UNSETTLED('revalidate', revalidateInterval))
    this.#ask()
  }

  /** No answer is not a no: whoever answers may be away for a moment, and with it would go all streams. */
  #ask (): void {
    try {
      const permitted = this.#account.scope.runInAsyncScope(this.#options.revalidate!, undefined, this.#account.request)
      if (!isThenable(permitted)) return this.#heed(permitted)
      this.#pending = permitted
      permitted.then(answer => {
        if (this.#pending === permitted) this.#pending = undefined
        // A late `false` counts too.
        this.#heed(answer)
      }, (error: unknown) => {
        if (this.#pending === permitted) this.#unanswered(error)
      })
    } catch (error) {
      this.#unanswered(error)
    }
  }

  #unanswered (error: unknown): void {
    this.#pending = undefined
    this.#account.complain(error, 'sse stream could not be revalidated')
  }

  #heed (permitted: boolean): void {
    if (!permitted) this.#stream.revoke()
  }
}
