import { Backoff } from './backoff.ts'
import { Reading, type Message, type StreamState } from './reading.ts'
import { request, type Attempt, type PerAttempt, type RequestOptions } from './request.ts'
import { StreamError } from './stream-error.ts'
import { Watchdog } from './watchdog.ts'

/** How to connect, and to stay connected. */
export interface ConnectionOptions extends RequestOptions {
  /** Where to begin: the id of the last event that is known. */
  lastEventId?: string
  /**
   * Whether to connect again when the response ends, the connection is lost or the server is not there. Default: with GET only, since a
   * POST would do its work again.
   */
  reconnect?: boolean
  /** Milliseconds, until the server tells another time (`retry:`). Doubled with each attempt that brings nothing; a random part of it is waited. Default 1000. */
  retryDelay?: number
  /** Milliseconds, the limit of that. Default 30000. */
  maxRetryDelay?: number
  /** Failures in a row, then the stream fails. Default: no limit. */
  maxAttempts?: number
  /** Milliseconds without a byte, then the connection is taken for dead; 0 = never. Default: 2.5 times the interval of the server's heartbeats, once it is known. */
  inactivityTimeout?: number
  /** Default 16777216 (16 MiB). A larger event fails the stream with FST_SSE_EVENT_SIZE. */
  maxEventBytes?: number
  /**
   * Called with each failure, and the milliseconds until the next attempt, undefined where there will be none. Where it answers with
   * a boolean, that decides: `true` for another attempt after a 401, when a new token is there, `false` for none.
   */
  onError?: (error: StreamError, next: { attempt: number, delay: number | undefined }) => boolean | void | Promise<boolean | void>
}

/** Requests, one after the other, that bring one sequence of events. */
export class Connection<E extends object> {
  readonly #url: PerAttempt<string | URL>
  readonly #options: ConnectionOptions
  readonly #signal: AbortSignal
  readonly #reading: Reading<E>
  readonly #backoff: Backoff
  readonly #watchdog: Watchdog

  constructor (url: PerAttempt<string | URL>, options: ConnectionOptions, read: (message: Message) => E | undefined, signal: AbortSignal) {
    this.#url = url
    this.#options = options
    this.#signal = signal
    this.#reading = new Reading(read, options.lastEventId ?? '', options.maxEventBytes ?? 16 * 1024 * 1024)
    this.#backoff = new Backoff(options.retryDelay ?? 1_000, options.maxRetryDelay ?? 30_000)
    this.#watchdog = new Watchdog(options.inactivityTimeout)
  }

  get lastEventId (): string { return this.#reading.lastEventId }

  /** Events and states in their order, as many at once as came together. Ends when nothing more is to come; throws a StreamError. */
  async * [Symbol.asyncIterator] (): AsyncGenerator<Array<E | StreamState>, void> {
    const { method = 'GET', reconnect = method.toUpperCase() === 'GET', maxAttempts = Infinity, onError } = this.#options
    for (let attempt = 1, failures = 0; !this.#signal.aborted; attempt++) {
      yield ['connecting']
      let delay: number
      try {
        if ((yield * this.#attempt({ attempt, lastEventId: this.#reading.lastEventId })) || !reconnect) return
        failures = 0
        delay = this.#next()
      } catch (cause) {
        if (this.#signal.aborted) return
        const error = cause instanceof StreamError ? cause : new StreamError('FST_SSE_NETWORK', `The connection failed: ${(cause as Error | null)?.message}`, { cause })
        failures = this.#reading.fruitful ? 1 : failures + 1
        delay = this.#next(error.retryAfter)
        const goesOn = reconnect && failures < maxAttempts && isPassing(error)
        if (!(await onError?.(error, { attempt, delay: goesOn ? delay : undefined }) ?? goesOn)) throw error
      }
      await pause(delay, this.#signal)
    }
  }

  #next (retryAfter?: number): number {
    return this.#backoff.next(this.#reading.fruitful, this.#reading.retry, retryAfter)
  }

  /** One request. True where its end is the end of all. */
  async * #attempt (attempt: Attempt): AsyncGenerator<Array<E | StreamState>, boolean> {
    const reading = this.#reading
    const watchdog = this.#watchdog
    const controller = new AbortController()
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
    const leave = (reason: unknown): void => {
      controller.abort(reason)
      reader?.cancel().catch(() => {})
    }
    const left = (): void => leave(this.#signal.reason)
    const silent = (limit: number): void => leave(new StreamError('FST_SSE_INACTIVE', `Nothing came for ${limit} ms`))
    this.#signal.addEventListener('abort', left)
    reading.begin()
    try {
      watchdog.watch(silent)
      const response = await request(this.#url, this.#options, attempt, controller.signal)
      watchdog.heard(false)
      if (response === undefined) return true
      reader = response.body!.getReader()
      for (;;) {
        watchdog.watch(silent)
        const { done, value } = await reader.read()
        // Its end may be our leaving.
        controller.signal.throwIfAborted()
        if (done) return reading.ended
        const failure = reading.feed(value)
        watchdog.heard(reading.beat)
        const came = reading.taken()
        if (came.length > 0) yield came
        if (failure !== undefined) throw failure
      }
    } catch (error) {
      // Not every fetch rejects with the reason.
      throw controller.signal.aborted ? controller.signal.reason : error
    } finally {
      watchdog.heard(false)
      this.#signal.removeEventListener('abort', left)
      leave(undefined)
    }
  }
}

/** Whether another attempt may bring what this one did not. */
function isPassing ({ code, status = 0 }: StreamError): boolean {
  if (code === 'FST_SSE_STATUS') return status >= 500 || [408, 425, 429].includes(status)
  return ['FST_SSE_NETWORK', 'FST_SSE_INACTIVE', 'FST_SSE_HOLE'].includes(code)
}

function pause (time: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    const over = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', over)
      resolve()
    }
    const timer = setTimeout(over, time)
    signal.addEventListener('abort', over)
  })
}
