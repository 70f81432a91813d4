import type { HistoryLimits } from '../log/log.ts'
import type { ReviewedEntry } from './frame-batch.ts'

// The maximal number of remembered keys whose latest entry a limit removed. Older ones are only counted.
const MAX_LOST = 4_096
// Fewer slots are never sorted out.
const LEAST_SLOTS = 64

interface Slot<T> {
  readonly key: unknown
  readonly offset: number
  /** Undefined: the value was removed. */
  value: T | undefined
}

/**
 * The latest value of each key, in the order of their offsets. A removed value leaves an empty slot, and half of the
 * slots are empty at most. A `Map` alone would pass all of its removed keys at each search for the first one.
 */
class KeyedSequence<T extends { readonly offset: number }> {
  readonly #byKey = new Map<unknown, Slot<T>>()
  #slots: Array<Slot<T>> = []
  /** The slots before this one are empty. */
  #first = 0

  get size (): number { return this.#byKey.size }

  /** Adds the value of the greatest offset. Returns the earlier value of its key. */
  set (key: unknown, value: T): T | undefined {
    const earlier = this.delete(key)
    if (this.#slots.length > 2 * this.#byKey.size + LEAST_SLOTS) {
      this.#slots = this.#slots.filter(({ value }) => value !== undefined)
      this.#first = 0
    }
    const slot = { key, offset: value.offset, value }
    this.#byKey.set(key, slot)
    this.#slots.push(slot)
    return earlier
  }

  delete (key: unknown): T | undefined {
    const slot = this.#byKey.get(key)
    const value = slot?.value
    if (slot === undefined) return value
    this.#byKey.delete(key)
    slot.value = undefined
    while (this.#first < this.#slots.length && this.#slots[this.#first]!.value === undefined) this.#first++
    return value
  }

  /** Removes the value of the least offset. There must be one. */
  shift (): [key: unknown, value: T] {
    const { key } = this.#slots[this.#first]!
    return [key, this.delete(key)!]
  }

  /** Returns the values after an offset, in order. */
  * after (offset: number): Generator<[key: unknown, value: T], undefined> {
    let [low, high] = [this.#first, this.#slots.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#slots[middle]!.offset > offset) high = middle
      else low = middle + 1
    }
    for (let index = low; index < this.#slots.length; index++) {
      const { key, value } = this.#slots[index]!
      if (value !== undefined) yield [key, value]
    }
  }

  clear (): void {
    this.#byKey.clear()
    this.#slots = []
    this.#first = 0
  }
}

/** The latest entry of each key, in the order of the log and within the limits of a history. */
export class LatestByKey {
  readonly #limits: HistoryLimits
  readonly #kept = new KeyedSequence<ReviewedEntry>()
  #bytes = 0
  /** Keys whose latest entry was removed by a limit, with its offset. */
  readonly #lost = new KeyedSequence<{ readonly offset: number }>()
  /** The number of entries that left `#lost` by its own limit, and the greatest offset among them. */
  #forgotten = { count: 0, offset: 0 }

  constructor (limits: HistoryLimits) {
    this.#limits = limits
  }

  /** Adds the newest entry of the log. It replaces an earlier entry of its key. */
  add (key: unknown, entry: ReviewedEntry): void {
    this.#set(key, entry)
    this.#limit()
  }

  /** Adds older entries, in the order of the log. They replace none that was added before. */
  prepend (older: Iterable<readonly [key: unknown, entry: ReviewedEntry]>): void {
    const [newer, lost] = [[...this.#kept.after(0)], [...this.#lost.after(0)]]
    this.#kept.clear()
    this.#lost.clear()
    this.#bytes = 0
    for (const [key, entry] of older) this.#set(key, entry)
    for (const [key] of lost) this.#bytes -= this.#kept.delete(key)?.data.length ?? 0
    for (const [key, entry] of newer) this.#set(key, entry)
    // This removes older entries alone: the others were within the limits.
    this.#limit()
    for (const [key, removed] of lost) this.#lost.set(key, removed)
    this.#limit()
  }

  /**
   * Returns the entries after one offset and up to another, in order: at most `limit`, and up to `size` characters of
   * data, but at least one if there is one. `to`: the offset up to which there is no other entry.
   */
  between (after: number, upTo: number, limit: number, size: number): { entries: ReviewedEntry[], to: number } {
    const entries: ReviewedEntry[] = []
    for (const [, entry] of this.#kept.after(after)) {
      if (entry.offset > upTo) break
      size -= entry.data.length
      if (entries.length === limit || (size < 0 && entries.length > 0)) return { entries, to: entries.at(-1)!.offset }
      entries.push(entry)
    }
    return { entries, to: upTo }
  }

  /**
   * Returns the number of entries after one offset and up to another that a limit removed, and that no later entry of
   * their key replaced. With more than MAX_LOST such keys, the number is an upper bound.
   */
  lostBetween (after: number, upTo: number): number {
    const { count, offset } = this.#forgotten
    let lost = Math.max(0, Math.min(count, Math.min(offset, upTo) - after))
    for (const [, { offset }] of this.#lost.after(after)) {
      if (offset > upTo) break
      lost++
    }
    return lost
  }

  clear (): void {
    this.#kept.clear()
    this.#lost.clear()
    this.#bytes = 0
    this.#forgotten = { count: 0, offset: 0 }
  }

  #set (key: unknown, entry: ReviewedEntry): void {
    const earlier = this.#kept.set(key, entry)
    this.#lost.delete(key)
    this.#bytes += entry.data.length - (earlier?.data.length ?? 0)
  }

  /** Removes entries beyond the limits, the oldest first. */
  #limit (): void {
    while (this.#kept.size > this.#limits.maxEvents || this.#bytes > this.#limits.maxBytes) {
      const [key, { offset, data }] = this.#kept.shift()
      this.#bytes -= data.length
      this.#lost.set(key, { offset })
    }
    while (this.#lost.size > MAX_LOST) {
      const [, { offset }] = this.#lost.shift()
      this.#forgotten = { count: this.#forgotten.count + 1, offset: Math.max(offset, this.#forgotten.offset) }
    }
  }
}
