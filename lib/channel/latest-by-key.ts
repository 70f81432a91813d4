import type { HistoryLimits, LogEntry } from '../log/log.ts'

/**
 * The latest event of each key, within the limits of a history: a slow reader receives these events in place of all.
 */
export class LatestByKey {
  readonly #bounds: HistoryLimits
  readonly #keyOf: (entry: LogEntry) => unknown
  /** Entries in the order of insertion: an older entry of the history may be added after a newer entry of the tail. */
  readonly #byKey = new Map<unknown, LogEntry>()
  #bytes = 0

  constructor (bounds: HistoryLimits, keyOf: (entry: LogEntry) => unknown) {
    this.#bounds = bounds
    this.#keyOf = keyOf
  }

  add (entry: LogEntry): void {
    const key = this.#keyOf(entry)
    if ((this.#byKey.get(key)?.offset ?? 0) >= entry.offset) return
    this.#delete(key)
    this.#byKey.set(key, entry)
    this.#bytes += entry.data.length
    for (const oldest of this.#byKey.keys()) {
      if (this.#byKey.size <= this.#bounds.maxEvents && this.#bytes <= this.#bounds.maxBytes) break
      this.#delete(oldest)
    }
  }

  /**
   * Returns the entries after a position, in order, up to `size` characters of data, but at least one if there is one.
   */
  after (position: number, size: number): LogEntry[] {
    const entries: LogEntry[] = []
    const later = [...this.#byKey.values()].filter(entry => entry.offset > position)
    for (const entry of later.sort((a, b) => a.offset - b.offset)) {
      size -= entry.data.length
      if (size < 0 && entries.length > 0) break
      entries.push(entry)
    }
    return entries
  }

  clear (): void {
    this.#byKey.clear()
    this.#bytes = 0
  }

  #delete (key: unknown): void {
    const entry = this.#byKey.get(key)
    if (entry === undefined) return
    this.#byKey.delete(key)
    this.#bytes -= entry.data.length
  }
}
