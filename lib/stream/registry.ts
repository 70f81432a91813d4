import type { ServerResponse } from 'node:http'
import { now, setInterval as machineInterval } from '../clock.ts'
import { drain, takingOf, type Drained, type DrainTimes } from './drain.ts'
import { StreamClosedError } from '../lifecycle.ts'
import { sharedController } from '../listeners.ts'
import type { ResolvedOptions } from './options.ts'
import { sharedScope } from '../scope.ts'
import { Sessions } from './http2-sessions.ts'

/** What the set asks of a stream. */
export interface RegisteredStream extends Drained {
  tick: (now: number) => void
  /** What it is counted by; and what was asked for, method and path. */
  record: { readonly key: string | undefined, readonly name: string }
  response: ServerResponse
  /** What it waits for, and how it is to end. */
  options: Times
  /** Where it stands in the list: for the set to write. */
  index: number
}

type Times = Pick<ResolvedOptions, 'heartbeatInterval' | 'stallTimeout' | 'maxLifetime' | 'reauthorize' | 'reauthorizeInterval' | 'onShutdown'>

/** All open streams of one registration: their one timer, and their end when the server closes. */
export class StreamRegistry<M extends RegisteredStream = RegisteredStream> {
  // A list in which each knows its seat: short streams come and go by the thousand, and a set would make its tables anew for them.
  readonly #members: M[] = []
  readonly #keys = new Map<string, number>()
  #stop: (() => void) | undefined
  /** What the timer was made with. */
  #setInterval: unknown
  #period = Infinity
  #lastTick = 0
  readonly #closing = sharedController()
  #drained: Promise<void> | undefined

  readonly sessions = new Sessions()

  /** Aborts when the server begins to close. */
  get signal (): AbortSignal { return this.#closing.signal }

  get size (): number { return this.#members.length }

  get names (): string[] { return this.#members.map(({ record: account }) => account.name) }

  [Symbol.iterator] (): Iterator<M> { return [...this.#members].values() }

  /** How many with that key are open. */
  countOf (key: string): number { return this.#keys.get(key) ?? 0 }

  /** The time that streams go by: that of the machine, or of the timer's beats where these are ahead, because a test drives them. */
  get now (): number { return Math.max(now(), this.#lastTick) }

  add (stream: M): void {
    const period = periodOf(stream.options)
    const { key } = stream.record
    if (key !== undefined) this.#keys.set(key, this.countOf(key) + 1)
    stream.index = this.#members.push(stream) - 1
    this.sessions.watch(stream.response)
    // A test has put its clock in front, or has taken it away: the timer stood on the other one.
    if (period < this.#period || this.#setInterval !== setInterval) this.#restartTimer(Math.min(period, this.#period))
  }

  delete (stream: M): void {
    if (this.#members[stream.index] !== stream) return
    if (stream.record.key !== undefined) this.#free(stream.record.key)
    const last = this.#members.pop()!
    if (last !== stream) {
      this.#members[stream.index] = last
      last.index = stream.index
    }
    // Short streams come one after the other: the timer stays until its beat finds that nobody needs it. A test's clock goes with its test.
    if (this.#members.length === 0 && this.#setInterval !== machineInterval) this.#restartTimer(Infinity)
  }

  #free (key: string): void {
    const count = this.countOf(key) - 1
    if (count > 0) this.#keys.set(key, count)
    else this.#keys.delete(key)
  }

  /** Infinity: not at all. */
  #restartTimer (period: number): void {
    this.#stop?.()
    this.#period = period
    if (period === Infinity) return
    this.#lastTick = Math.ceil(this.now)
    const { setInterval, clearInterval } = globalThis
    const timer = sharedScope.runInAsyncScope(setInterval, undefined, this.#tick, period)
    timer.unref()
    this.#setInterval = setInterval
    this.#stop = () => clearInterval(timer)
  }

  /** No more streams; those that are open end within the grace period. Settles when they are over. */
  close (times: DrainTimes): Promise<void> {
    // The listeners of the signal, and timers, do not belong to the caller.
    return (this.#drained ??= sharedScope.runInAsyncScope(this.#close, this, times))
  }

  /** The server closes and all streams are over: closes idle connections soon. */
  leave ({ shutdownTimeout }: Pick<DrainTimes, 'shutdownTimeout'>): void {
    this.sessions.close(takingOf(shutdownTimeout))
  }

  async #close (times: DrainTimes): Promise<void> {
    this.#closing.abort(new StreamClosedError('shutdown'))
    const those = (drains: boolean): M[] => this.#members.filter(({ options }) => (options.onShutdown === 'drain') === drains)
    await drain(those(false), those(true), times)
    this.#restartTimer(Infinity)
  }

  readonly #tick = (): void => {
    // In whole milliseconds: their sums are exact.
    const time = this.#lastTick = Math.max(Math.ceil(now()), this.#lastTick + this.#period)
    let shortest = Infinity
    for (const stream of [...this.#members]) {
      stream.tick(time)
      shortest = Math.min(shortest, periodOf(stream.options))
    }
    if (shortest > this.#period) this.#restartTimer(shortest)
  }
}

/** A tenth of the shortest time that a stream waits for, within reason. */
function periodOf ({ heartbeatInterval, stallTimeout, maxLifetime, reauthorize, reauthorizeInterval }: Times): number {
  const asks = reauthorize === undefined ? Infinity : reauthorizeInterval
  const shortest = Math.min(heartbeatInterval || Infinity, stallTimeout || Infinity, maxLifetime || Infinity, asks)
  return Math.max(10, Math.min(1_000, Math.round(shortest / 10)))
}
