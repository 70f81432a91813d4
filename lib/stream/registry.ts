import type { ServerResponse } from 'node:http'
import { now, setInterval as machineInterval } from '../clock.ts'
import { drain, endTimeout, type Drained, type DrainTimes } from './drain.ts'
import { StreamClosedError } from '../lifecycle.ts'
import { sharedController } from '../listeners.ts'
import type { ResolvedOptions } from './options.ts'
import { sharedScope } from '../scope.ts'
import { Sessions } from './http2-sessions.ts'

/** A stream in a registry. */
export interface RegisteredStream extends Drained {
  tick: (now: number) => void
  /** `key`: the key of `limits.maxStreamsPerKey`. `name`: method and URL of the request. */
  record: { readonly key: string | undefined, readonly name: string }
  response: ServerResponse
  /** Its intervals and its behavior on shutdown. */
  options: Times
  /** Its index in the registry, which only the registry sets. */
  index: number
}

type Times = Pick<ResolvedOptions,
  'heartbeatInterval' | 'stallTimeout' | 'maxLifetime' | 'reauthorize' | 'reauthorizeInterval' | 'onShutdown'>

/** The open streams of one registration. It runs their shared timer, and ends them when the server closes. */
export class StreamRegistry<M extends RegisteredStream = RegisteredStream> {
  // An array in which each stream knows its index: a Set would rebuild its tables for thousands of short streams.
  readonly #members: M[] = []
  readonly #keys = new Map<string, number>()
  #stop: (() => void) | undefined
  /** The `setInterval` that made the timer. */
  #setInterval: unknown
  #period = Infinity
  #lastTick = 0
  readonly #closing = sharedController()
  #drained: Promise<void> | undefined

  readonly sessions = new Sessions()

  /** Aborts when the server begins to close. */
  get signal (): AbortSignal { return this.#closing.signal }

  get size (): number { return this.#members.length }

  /** The open streams. The list changes as streams open and close. */
  get open (): readonly M[] { return this.#members }

  get names (): string[] { return this.#members.map(({ record }) => record.name) }

  [Symbol.iterator] (): Iterator<M> { return [...this.#members].values() }

  /** Returns the number of open streams with that key. */
  countOf (key: string): number { return this.#keys.get(key) ?? 0 }

  /**
   * The clock of the streams: the machine's, or the time of the last tick if that is ahead, because a test drives the
   * timer.
   */
  get now (): number { return Math.max(now(), this.#lastTick) }

  add (stream: M): void {
    const period = periodOf(stream.options)
    const { key } = stream.record
    if (key !== undefined) this.#keys.set(key, this.countOf(key) + 1)
    stream.index = this.#members.push(stream) - 1
    this.sessions.watch(stream.response)
    // A test has installed or removed a fake clock: the timer runs on the other one.
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
    // Short streams follow each other, so the timer stays until a tick finds no stream. A timer of a fake clock ends at
    // once.
    if (this.#members.length === 0 && this.#setInterval !== machineInterval) this.#restartTimer(Infinity)
  }

  #free (key: string): void {
    const count = this.countOf(key) - 1
    if (count > 0) this.#keys.set(key, count)
    else this.#keys.delete(key)
  }

  /** Starts the timer with another period, or stops it for Infinity. */
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

  /** Ends all streams within `shutdownTimeout`. Settles when they are over. */
  close (times: DrainTimes): Promise<void> {
    // Listeners of the signal and timers must not run in the caller's async context.
    return (this.#drained ??= sharedScope.runInAsyncScope(this.#close, this, times))
  }

  /** Closes idle HTTP/2 connections soon. Called when all streams are over. */
  closeSessions ({ shutdownTimeout }: Pick<DrainTimes, 'shutdownTimeout'>): void {
    this.sessions.close(endTimeout(shutdownTimeout))
  }

  async #close (times: DrainTimes): Promise<void> {
    this.#closing.abort(new StreamClosedError('shutdown'))
    const on = (behavior: Times['onShutdown']): M[] =>
      this.#members.filter(({ options }) => options.onShutdown === behavior)
    await drain(on('close'), on('drain'), times)
    this.#restartTimer(Infinity)
  }

  readonly #tick = (): void => {
    // Whole milliseconds have exact sums.
    const time = this.#lastTick = Math.max(Math.ceil(now()), this.#lastTick + this.#period)
    let shortest = Infinity
    for (const stream of [...this.#members]) {
      stream.tick(time)
      shortest = Math.min(shortest, periodOf(stream.options))
    }
    if (shortest > this.#period) this.#restartTimer(shortest)
  }
}

/** Returns a tenth of the shortest interval of a stream, from 10 ms to 1 s. */
function periodOf ({ heartbeatInterval, stallTimeout, maxLifetime, reauthorize, reauthorizeInterval }: Times): number {
  const checkInterval = reauthorize === undefined ? Infinity : reauthorizeInterval
  const shortest = Math.min(heartbeatInterval || Infinity, stallTimeout || Infinity, maxLifetime || Infinity,
    checkInterval)
  return Math.max(10, Math.min(1_000, Math.round(shortest / 10)))
}
