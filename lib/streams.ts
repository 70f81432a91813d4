import type { ResolvedOptions } from './options.ts'

/** What the set asks of a stream. */
export interface Member {
  tick: (now: number) => void
  end: (reason: 'shutdown') => void
  destroy: () => void
  over: Promise<void>
}

// How long clients may take to receive the end of their stream when the server closes; then they are cut off.
const GRACE = 1_000

/** All open streams of one registration: their one timer, and their end when the server closes. */
export class Streams {
  /** True from the moment the server began to close. */
  closing = false
  readonly #members = new Map<Member, number>()
  /** How many streams need a beat of how many milliseconds. */
  readonly #periods = new Map<number, number>()
  #timer: NodeJS.Timeout | undefined
  #period = Infinity

  get size (): number { return this.#members.size }

  add (stream: Member, options: Pick<ResolvedOptions, 'heartbeatInterval' | 'stallTimeout' | 'maxLifetime'>): void {
    // A tenth of the shortest time that the stream waits for, within reason.
    const shortest = Math.min(...[options.heartbeatInterval, options.stallTimeout, options.maxLifetime].filter(time => time > 0))
    const period = Math.max(10, Math.min(1_000, shortest / 10))
    this.#members.set(stream, period)
    this.#periods.set(period, (this.#periods.get(period) ?? 0) + 1)
    if (period < this.#period) this.#beatEvery(period)
  }

  delete (stream: Member): void {
    const period = this.#members.get(stream)
    if (period === undefined) return
    this.#members.delete(stream)
    const others = this.#periods.get(period)! - 1
    if (others > 0) {
      this.#periods.set(period, others)
      return
    }
    this.#periods.delete(period)
    if (period === this.#period) this.#beatEvery(Math.min(...this.#periods.keys()))
  }

  /** Infinity: not at all. */
  #beatEvery (period: number): void {
    clearInterval(this.#timer)
    this.#period = period
    if (period === Infinity) return
    this.#timer = setInterval(this.#beat, period)
    this.#timer.unref()
  }

  /** Ends every stream and waits until the clients have it. Those that do not read are cut off after a second. */
  async close (): Promise<void> {
    this.closing = true
    const members = [...this.#members.keys()]
    for (const stream of members) stream.end('shutdown')
    const late = setTimeout(() => { for (const stream of this.#members.keys()) stream.destroy() }, GRACE)
    await Promise.all(members.map(stream => stream.over))
    clearTimeout(late)
  }

  readonly #beat = (): void => {
    const now = performance.now()
    for (const stream of this.#members.keys()) stream.tick(now)
  }
}
