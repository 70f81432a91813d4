import { now, setInterval as machineInterval } from './clock.ts'
import type { ResolvedOptions } from './options.ts'

/** What the set asks of a stream. */
export interface Member {
  tick: (now: number) => void
  end: (reason: 'shutdown') => void
  destroy: () => void
  over: Promise<void>
  /** What was asked for, method and path. */
  name: string
  /** Where it stands in the list: for the set to write. */
  seat: number
}

type Times = Pick<ResolvedOptions, 'heartbeatInterval' | 'stallTimeout' | 'maxLifetime'>

// How long clients may take to receive the end of their stream when the server closes; then they are cut off.
const GRACE = 1_000

/** All open streams of one registration: their one timer, and their end when the server closes. */
export class Streams {
  // A list in which each knows its seat: short streams come and go by the thousand, and a set would make its tables anew for them.
  readonly #members: Array<{ stream: Member, period: number }> = []
  #stop: (() => void) | undefined
  /** What the timer was made with. */
  #setInterval: unknown
  #period = Infinity
  #beaten = 0
  readonly #closing = new AbortController()

  /** Aborts when the server begins to close. */
  get signal (): AbortSignal { return this.#closing.signal }

  get size (): number { return this.#members.length }

  get names (): string[] { return this.#members.map(({ stream }) => stream.name) }

  /** The time that streams go by: that of the machine, or of the timer's beats where these are ahead, because a test drives them. */
  get now (): number { return Math.max(now(), this.#beaten) }

  add (stream: Member, times: Times): void {
    const period = periodOf(times)
    stream.seat = this.#members.push({ stream, period }) - 1
    // A test has put its clock in front, or has taken it away: the timer stood on the other one.
    if (period < this.#period || this.#setInterval !== setInterval) this.#beatEvery(Math.min(period, this.#period))
  }

  delete (stream: Member): void {
    const member = this.#members[stream.seat]
    if (member?.stream !== stream) return
    const last = this.#members.pop()!
    if (last !== member) {
      this.#members[stream.seat] = last
      last.stream.seat = stream.seat
    }
    // Short streams come one after the other: the timer stays until its beat finds that nobody needs it. A test's clock goes with its test.
    if (this.#members.length === 0 && this.#setInterval !== machineInterval) this.#beatEvery(Infinity)
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
    const members = [...this.#members]
    for (const { stream } of members) stream.end('shutdown')
    const late = setTimeout(() => { for (const { stream } of [...this.#members]) stream.destroy() }, GRACE)
    await Promise.all(members.map(({ stream }) => stream.over))
    this.#beatEvery(Infinity)
    clearTimeout(late)
  }

  readonly #beat = (): void => {
    // In whole milliseconds: their sums are exact.
    const time = this.#beaten = Math.max(Math.ceil(now()), this.#beaten + this.#period)
    let shortest = Infinity
    for (const { stream, period } of [...this.#members]) {
      stream.tick(time)
      shortest = Math.min(shortest, period)
    }
    if (shortest > this.#period) this.#beatEvery(shortest)
  }
}

/** A tenth of the shortest time that a stream waits for, within reason. */
function periodOf ({ heartbeatInterval, stallTimeout, maxLifetime }: Times): number {
  const shortest = Math.min(heartbeatInterval || Infinity, stallTimeout || Infinity, maxLifetime || Infinity)
  return Math.max(10, Math.min(1_000, Math.round(shortest / 10)))
}
