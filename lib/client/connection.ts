import { Backoff } from './backoff.ts'
import { failureIn, quietly } from './callback.ts'
import { comesBack } from './misuse.ts'
import { onPageEvent } from './page-event.ts'
import { StreamReader, type Message, type StreamState } from './stream-reader.ts'
import { networkError, request, type Attempt, type PerAttempt, type RequestOptions } from './request.ts'
import { StreamError } from './stream-error.ts'
import { Watchdog } from './watchdog.ts'

/** How to connect, and to stay connected. */
export interface ConnectionOptions extends RequestOptions {
  /** Where to begin: the id of the last event that is known. */
  lastEventId?: string
  /**
   * Whether to connect again when the response ends, the connection is lost or the server is not there. Default: with
   * GET only, since a POST would do its work again. A page that enters the back/forward cache lets go of its
   * connection, and continues after the last event when it returns. Without `reconnect` the browser decides: the client
   * neither cuts the response off nor asks for it again.
   */
  reconnect?: boolean
  /** Milliseconds, until the server tells another time (`retry:`). Doubled with each attempt that brings nothing; a random part of it is waited. Default 1000. */
  retryDelay?: number
  /** Milliseconds, the limit of that. Default 30000. */
  maxRetryDelay?: number
  /** Failures in a row, then the stream fails. Default: no limit. */
  maxAttempts?: number
  /** Milliseconds without a byte, then the connection is taken for dead; 0 = never. Default: 2.5 times the interval of the server's heartbeats, once it is known, and 20000 at least. */
  inactivityTimeout?: number
  /** Default 16777216 (16 MiB). A larger event fails the stream with FST_SSE_EVENT_SIZE. */
  maxEventBytes?: number
  /**
   * Called with each failure, and the milliseconds until the next attempt, undefined where there will be none. Where it
   * answers with a boolean, that decides: `true` for another attempt after a 401, when a new token is there, `false`
   * for none. If it throws, the stream fails with FST_SSE_CALLBACK.
   */
  onError?: (error: StreamError, next: { attempt: number, delay: number | undefined }) => boolean | void | Promise<boolean | void>
}

// Milliseconds.
const DELAY = 1_000
// The abort reason of a connection that will be made again.
const AWAY = Symbol('away')

/** Requests, one after the other, that bring one sequence of events. */
export class Connection<E extends object> {
  readonly #url: PerAttempt<string | URL>
  readonly #options: ConnectionOptions
  readonly #signal: AbortSignal
  readonly #reader: StreamReader<E>
  readonly #backoff: Backoff
  readonly #watchdog: Watchdog
  /** Ends what is waited for. */
  #leave: (reason?: unknown) => void = () => {}
  /**
   * The page is in the back/forward cache: Chromium would keep its connection, one of six, and run none of its code.
   */
  #away = false

  /** `read` makes an event of a message, or nothing of it, or throws a StreamError. */
  constructor (url: PerAttempt<string | URL>, options: ConnectionOptions, read: (message: Message) => E | undefined, signal: AbortSignal) {
    this.#url = url
    this.#options = options
    this.#signal = signal
    this.#reader = new StreamReader(read, options.lastEventId ?? '', options.maxEventBytes ?? 2 ** 24)
    this.#backoff = new Backoff(options.retryDelay ?? DELAY, options.maxRetryDelay ?? 30_000)
    this.#watchdog = new Watchdog(options.inactivityTimeout)
    signal.addEventListener('abort', () => this.#leave())
  }

  get lastEventId (): string { return this.#reader.lastEventId }

  /** Events and states in their order, as many at once as came together. Ends when nothing more is to come, and at the signal; throws a StreamError. */
  async * [Symbol.asyncIterator] (): AsyncGenerator<Array<E | StreamState>, void> {
    const leave = (away: boolean) => (): void => {
      if (this.#away === away) return
      this.#away = away
      this.#leave(AWAY)
    }
    const forget = comesBack(this.#options) ? [onPageEvent('pagehide', leave(true)), onPageEvent('pageshow', leave(false))] : []
    try {
      yield * this.#run()
    } finally {
      for (const each of forget) each()
    }
  }

  async * #run (): AsyncGenerator<Array<E | StreamState>, void> {
    const { maxAttempts = Infinity } = this.#options
    const reconnect = comesBack(this.#options)
    const reading = this.#reader
    yield ['connecting']
    for (let attempt = 1, failures = 0; !this.#signal.aborted; attempt++) {
      let error: StreamError | undefined
      let left = false
      try {
        const over = yield * this.#attempt({ attempt, lastEventId: reading.lastEventId })
        if (over || !reconnect) return
      } catch (cause) {
        left = cause === AWAY
        if (!left) error = failureIn('A function of the program', cause)
      }
      if (this.#signal.aborted) return
      if (error === undefined || reading.progressed) failures = 0
      const delay = left ? 0 : this.#backoff.next(reading.progressed, reading.reconnectionTime, error?.retryAfter)
      if (error !== undefined) {
        const goesOn = reconnect && ++failures < maxAttempts && isPassing(error)
        // `error => errors.push(error)` returns a number, which decides nothing.
        const answer: unknown = await this.#told(error, { attempt, delay: goesOn ? delay : undefined })
        if (!(typeof answer === 'boolean' ? answer : goesOn)) throw error
      }
      yield ['connecting']
      await this.#pause(delay, Math.max(reading.reconnectionTime, error?.retryAfter ?? 0))
    }
  }

  async #told (error: StreamError, next: { attempt: number, delay: number | undefined }): Promise<boolean | void> {
    try {
      return await this.#options.onError?.(error, next)
    } catch (cause) {
      throw failureIn('onError()', cause)
    }
  }

  /** One request. True where its end is the end of all. */
  async * #attempt (attempt: Attempt): AsyncGenerator<Array<E | StreamState>, boolean> {
    const reading = this.#reader
    const watchdog = this.#watchdog
    const controller = new AbortController()
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
    const leave = this.#leave = (reason?: unknown) => {
      controller.abort(reason)
      quietly(() => reader?.cancel())
    }
    const silent = (limit: number): void => leave(new StreamError('FST_SSE_INACTIVE', `Nothing came for ${limit} ms`))
    reading.begin()
    try {
      watchdog.watch(silent)
      const response = await request(this.#url, this.#options, attempt, controller.signal)
      watchdog.received()
      if (response === undefined) return true
      reader = response.body!.getReader()
      // Not every fetch listens to the signal.
      controller.signal.throwIfAborted()
      for (;;) {
        watchdog.watch(silent)
        const { done, value } = await reader.read().catch(error => { throw networkError(error) })
        // Its end may be our leaving.
        controller.signal.throwIfAborted()
        if (done) break
        const before = reading.lastEventId
        const came = reading.feed(value)
        // A stream that lived is no failure, though nothing happened in it.
        if (watchdog.received(reading.heartbeatOnly)) reading.progressed = true
        // A position alone is passed on too: another tab that shares the stream may continue from it.
        if (came.length > 0 || reading.lastEventId !== before) yield came
        if (reading.failure !== undefined) throw reading.failure
      }
    } catch (error) {
      // Not every fetch rejects with the reason.
      controller.signal.throwIfAborted()
      throw error
    } finally {
      watchdog.received()
      leave()
    }
    return reading.ended
  }

  /**
   * Waits for the delay, and while the page is in the cache. The `online` event shortens the wait to a random part of
   * the first delay, since all clients of a network are online at once; but never below the delay that the server asked
   * for.
   */
  async #pause (time: number, least: number): Promise<void> {
    const start = Date.now()
    let timer: ReturnType<typeof setTimeout> | undefined
    let forget = (): void => {}
    if (time > 0) {
      await new Promise<void>(resolve => {
        this.#leave = () => resolve()
        timer = setTimeout(resolve, time)
        forget = onPageEvent('online', () => {
          clearTimeout(timer)
          const passed = Date.now() - start
          timer = setTimeout(resolve, Math.min(time - passed, Math.max(0, least - passed) + Math.random() * (this.#options.retryDelay ?? DELAY)))
        })
        if (this.#signal.aborted || this.#away) resolve()
      })
    }
    clearTimeout(timer)
    forget()
    while (this.#away && !this.#signal.aborted) await new Promise<void>(resolve => { this.#leave = () => resolve() })
  }
}

/** Whether another attempt may bring what this one did not. */
function isPassing ({ code, status = 0 }: StreamError): boolean {
  return status >= 500 || [408, 425, 429].includes(status) || ['FST_SSE_NETWORK', 'FST_SSE_INACTIVE', 'FST_SSE_MISSING_EVENTS'].includes(code)
}
