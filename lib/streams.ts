import { now } from './clock.ts'
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
  readonly #members = new Map<Member, { period: number, name: string }>()
  /** How many streams need a beat of how many milliseconds. */
  readonly #periods = new Map<number, number>()
  #stop: (() => void) | undefined
  /** What the timer was made with. */
  #setInterval: unknown
  #period = Infinity
  #beaten = 0
  readonly #closing = new AbortController()

  /** Aborts when the server begins to close. */
  get signal (): AbortSignal { return this.#closing.signal }

  get size (): number { return this.#members.size }

  get names (): string[] { return [...this.#members.values()].map(({ name }) => name) }

  /** The time that streams go by: that of the machine, or of the timer's beats where these are ahead, because a test drives them. */
  get now (): number { return Math.max(now(), this.#beaten) }

  /** `name`: what was asked for, method and path. */
  add (stream: Member, options: Pick<ResolvedOptions, 'heartbeatInterval' | 'stallTimeout' | 'maxLifetime'>, name: string): void {
    // A tenth of the shortest time that the stream waits for, within reason.
    const shortest = Math.min(...[options.heartbeatInterval, options.stallTimeout, options.maxLifetime].filter(time => time > 0))
    const period = Math.max(10, Math.min(1_000, Math.round(shortest / 10)))
    this.#members.set(stream, { period, name })
    this.#periods.set(period, (this.#periods.get(period) ?? 0) + 1)
    // A test has put its clock in front, or has taken it away: the timer stood on the other one.
    if (period < this.#period || this.#setInterval !== setInterval) this.#beatEvery(Math.min(period, this.#period))
  }

  delete (stream: Member): void {
    const period = this.#members.get(stream)?.period
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
    this.#stop?.()
    this.#period = period
    if (period === Infinity) return
    this.#beaten = Math.ceil(this.now)
    const { setInterval, clearInterval } = globalThis
    const timer = setInterval(this.#beat, period)
    timer.unref()
    this.#setInterval = setInterval
    this.#stop = () => clearInterval(timer)
  }

  /** Ends every stream and waits until the clients have it. Those that do not read are cut off after a second. */
  async close (): Promise<void> {
    this.#closing.abort()
    const members = [...this.#members.keys()]
    for (const stream of members) stream.end('shutdown')
    const late = setTimeout(() => { for (const stream of this.#members.keys()) stream.destroy() }, GRACE)
    await Promise.all(members.map(stream => stream.over))
    clearTimeout(late)
  }

  readonly #beat = (): void => {
    // In whole milliseconds: their sums are exact.
    const time = this.#beaten = Math.max(Math.ceil(now()), this.#beaten + this.#period)
    for (const stream of this.#members.keys()) stream.tick(time)
  }
}
