import type { ServerResponse } from 'node:http'
import { now, setInterval as machineInterval } from './clock.ts'
import { drain, takingOf, type Drained, type DrainTimes } from './drain.ts'
import { StreamClosedError } from './life.ts'
import { sharedController } from './listeners.ts'
import type { ResolvedOptions } from './options.ts'
import { shared } from './scope.ts'
import { Sessions } from './sessions.ts'

/** What the set asks of a stream. */
export interface Member extends Drained {
  tick: (now: number) => void
  /** What it is counted by; and what was asked for, method and path. */
  account: { readonly key: string | undefined, readonly name: string }
  response: ServerResponse
  /** What it waits for, and how it is to end. */
  options: Times
  /** Where it stands in the list: for the set to write. */
  seat: number
}

type Times = Pick<ResolvedOptions, 'heartbeatInterval' | 'stallTimeout' | 'maxLifetime' | 'revalidate' | 'revalidateInterval' | 'shutdown'>

/** All open streams of one registration: their one timer, and their end when the server closes. */
export class Streams<M extends Member = Member> {
  // A list in which each knows its seat: short streams come and go by the thousand, and a set would make its tables anew for them.
  readonly #members: M[] = []
  readonly #keys = new Map<string, number>()
  #stop: (() => void) | undefined
  /** What the timer was made with. */
  #setInterval: unknown
  #period = Infinity
  #beaten = 0
  readonly #closing = sharedController()
  #drained: Promise<void> | undefined

  readonly sessions = new Sessions()

  /** Aborts when the server begins to close. */
  get signal (): AbortSignal { return this.#closing.signal }

  get size (): number { return this.#members.length }

  get names (): string[] { return this.#members.map(({ account }) => account.name) }

  [Symbol.iterator] (): Iterator<M> { return [...this.#members].values() }

  /** How many with that key are open. */
  countOf (key: string): number { return this.#keys.get(key) ?? 0 }

  /** The time that streams go by: that of the machine, or of the timer's beats where these are ahead, because a test drives them. */
  get now (): number { return Math.max(now(), this.#beaten) }

  add (stream: M): void {
    const period = periodOf(stream.options)
    const { key } = stream.account
    if (key !== undefined) this.#keys.set(key, this.countOf(key) + 1)
    stream.seat = this.#members.push(stream) - 1
    this.sessions.watch(stream.response)
    // A test has put its clock in front, or has taken it away: the timer stood on the other one.
    if (period < this.#period || this.#setInterval !== setInterval) this.#beatEvery(Math.min(period, this.#period))
  }

  delete (stream: M): void {
    if (this.#members[stream.seat] !== stream) return
    if (stream.account.key !== undefined) this.#free(stream.account.key)
    const last = this.#members.pop()!
    if (last !== stream) {
      this.#members[stream.seat] = last
      last.seat = stream.seat
    }
    // Short streams come one after the other: the timer stays until its beat finds that nobody needs it. A test's clock goes with its test.
    if (this.#members.length === 0 && this.#setInterval !== machineInterval) this.#beatEvery(Infinity)
  }

  #free (key: string): void {
    const count = this.countOf(key) - 1
    if (count > 0) this.#keys.set(key, count)
    else this.#keys.delete(key)
  }

  /** Infinity: not at all. */
  #beatEvery (period: number): void {
    this.#stop?.()
    this.#period = period
    if (period === Infinity) return
    this.#beaten = Math.ceil(this.now)
    const { setInterval, clearInterval } = globalThis
    const timer = shared.runInAsyncScope(setInterval, undefined, this.#beat, period)
    timer.unref()
    this.#setInterval = setInterval
    this.#stop = () => clearInterval(timer)
  }

  /** No more streams; those that are open end within the grace period. Settles when they are over. */
  close (times: DrainTimes): Promise<void> {
    // The listeners of the signal, and timers, do not belong to the caller.
    return (this.#drained ??= shared.runInAsyncScope(this.#close, this, times))
  }

  /** The server closes and all streams are over: closes idle connections soon. */
  leave ({ grace }: Pick<DrainTimes, 'grace'>): void {
    this.sessions.close(takingOf(grace))
  }

  async #close (times: DrainTimes): Promise<void> {
    this.#closing.abort(new StreamClosedError('shutdown'))
    const those = (finish: boolean): M[] => this.#members.filter(({ options }) => (options.shutdown === 'finish') === finish)
    await drain(those(false), those(true), times)
    this.#beatEvery(Infinity)
  }

  readonly #beat = (): void => {
    // In whole milliseconds: their sums are exact.
    const time = this.#beaten = Math.max(Math.ceil(now()), this.#beaten + this.#period)
    let shortest = Infinity
    for (const stream of [...this.#members]) {
      stream.tick(time)
      shortest = Math.min(shortest, periodOf(stream.options))
    }
    if (shortest > this.#period) this.#beatEvery(shortest)
  }
}

/** A tenth of the shortest time that a stream waits for, within reason. */
function periodOf ({ heartbeatInterval, stallTimeout, maxLifetime, revalidate, revalidateInterval }: Times): number {
  const asks = revalidate === undefined ? Infinity : revalidateInterval
  const shortest = Math.min(heartbeatInterval || Infinity, stallTimeout || Infinity, maxLifetime || Infinity, asks)
  return Math.max(10, Math.min(1_000, Math.round(shortest / 10)))
}
