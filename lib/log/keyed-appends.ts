import { KEY_DURATION } from './log.ts'

/** The keys of the appends of the last `KEY_DURATION` milliseconds, and their offsets. */
export class KeyedAppends {
  /** In the order of the appends: the first key expires first. */
  readonly #appends = new Map<string, { offset: number, at: number }>()

  /** Returns the offset of the append with that key; undefined if there is none, or if it has expired. */
  find (key: string, now: number): number | undefined {
    this.#evict(now)
    return this.#appends.get(key)?.offset
  }

  /** Adds a key that `find` has not found. */
  add (key: string, offset: number, now: number): void {
    this.#appends.set(key, { offset, at: now })
  }

  /** Whether all keys have expired. */
  isEmpty (now: number): boolean {
    this.#evict(now)
    return this.#appends.size === 0
  }

  #evict (now: number): void {
    for (const [key, { at }] of this.#appends) {
      if (now - at < KEY_DURATION) return
      this.#appends.delete(key)
    }
  }
}
