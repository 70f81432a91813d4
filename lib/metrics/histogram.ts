// Upper bounds in milliseconds: from a turn of the event loop to a delay that users report as a failure.
const BOUNDS: readonly number[] = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000]

/** A histogram of times, with cumulative buckets as in Prometheus. */
export interface HistogramSnapshot {
  /** `count`: the number of times of at most `le` milliseconds. The last bucket, with Infinity, counts all. */
  readonly buckets: ReadonlyArray<{ readonly le: number, readonly count: number }>
  /** The number of all times. */
  readonly count: number
  /** The sum of all times, in milliseconds. */
  readonly sum: number
}

/** Counts times by their length. */
export class Histogram {
  readonly #counts = new Array<number>(BOUNDS.length + 1).fill(0)
  #sum = 0

  /** Counts a time in milliseconds. */
  record (time: number): void {
    let bucket = 0
    while (bucket < BOUNDS.length && time > BOUNDS[bucket]!) bucket++
    this.#counts[bucket]!++
    this.#sum += time
  }

  snapshot (): HistogramSnapshot {
    let count = 0
    const buckets = this.#counts.map((inBucket, index) => {
      count += inBucket
      return { le: BOUNDS[index] ?? Infinity, count }
    })
    return { buckets, count, sum: this.#sum }
  }
}
