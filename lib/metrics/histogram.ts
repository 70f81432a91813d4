/** Upper bounds in milliseconds: from what a turn of the event loop takes to what a person calls broken. */
const BOUNDS: readonly number[] = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000]

/** Times by how long they are. Cumulative, as Prometheus counts them. */
export interface HistogramSnapshot {
  /** How many took at most so many milliseconds; the last one, with Infinity, is all of them. */
  readonly buckets: ReadonlyArray<{ readonly le: number, readonly count: number }>
  readonly count: number
  /** Milliseconds, all together. */
  readonly sum: number
}

/** Counts times. */
export class Histogram {
  readonly #counts = new Array<number>(BOUNDS.length + 1).fill(0)
  #sum = 0

  /** A time in milliseconds. */
  record (time: number): void {
    let bucket = 0
    while (bucket < BOUNDS.length && time > BOUNDS[bucket]!) bucket++
    this.#counts[bucket]!++
    this.#sum += time
  }

  snapshot (): HistogramSnapshot {
    let count = 0
    const buckets = this.#counts.map((own, index) => {
      count += own
      return { le: BOUNDS[index] ?? Infinity, count }
    })
    return { buckets, count, sum: this.#sum }
  }
}
