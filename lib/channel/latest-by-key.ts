import type { HistoryLimits, LogEntry } from '../log/log.ts'

/** The last event by key of those that went by, within the bounds of a history: what a slow reader is given in place of them all. */
export class LatestByKey {
  readonly #bounds: HistoryLimits
  readonly #keyOf: (entry: LogEntry) => unknown
  /** In the order of their arrival: an older one of the history may come after a newer one of the tail. */
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

  /** Those after a position, in order, as many as fit a size of so many characters: one at least, if there is one. */
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
