import { Backoff } from './backoff.ts'
import { callbackError, quietly } from './callback.ts'
import { reconnects } from './check-options.ts'
import { onPageEvent } from './page-event.ts'
import { Parser } from './parser.ts'
import { networkError, request, type Attempt, type PerAttempt, type RequestOptions } from './request.ts'
import { StreamError } from './stream-error.ts'
import { StreamReader, type Message, type StreamState } from './stream-reader.ts'
import { Watchdog } from './watchdog.ts'

/** Options of a connection and its reconnection. */
export interface ConnectionOptions extends RequestOptions {
  /** The id of the last known event: the stream resumes after it. */
  lastEventId?: string
  /**
   * Whether to connect again when the response ends, the connection is lost or the server is unreachable. Default: with
   * GET only, since a POST would do its work again. A page that enters the back/forward cache closes its connection,
   * and continues after the last event when it returns. Without `reconnect` the browser decides: the client neither
   * closes the response nor requests it again.
   */
  reconnect?: boolean
  /**
   * Milliseconds, until the server sends another time (`retry:`). Doubled with each attempt without an event; the
   * client waits a random part of it. Default 1000.
   */
  retryDelay?: number
  /** Milliseconds, the limit of the doubled delay. Default 30000. */
  maxRetryDelay?: number
  /** The number of consecutive failures after which the stream fails. Default: no limit. */
  maxAttempts?: number
  /**
   * Milliseconds without a byte after which the client closes the connection and connects again; 0 = never. Default:
   * 2.5 times the interval of the server's heartbeats, once it is known, and at least 20000.
   */
  inactivityTimeout?: number
  /** Default 16777216 (16 MiB). A larger event fails the stream with FST_SSE_EVENT_SIZE. */
  maxEventBytes?: number
  /**
   * Called with each failure, and the milliseconds until the next attempt; undefined if there is none. If it returns a
   * boolean, that decides: `true` for another attempt after a 401, when a new token is there, `false` for none. If it
   * throws, the stream fails with FST_SSE_CALLBACK.
   */
  onError?: (
    error: StreamError,
    next: { attempt: number, delay: number | undefined }
  ) => boolean | void | Promise<boolean | void>
}

// Milliseconds.
const DELAY = 1_000
// The abort reason of a connection that the client opens again later.
const HIDDEN = Symbol('hidden')

/** Sends requests, one after another, and yields their events as one sequence. */
export class Connection<E extends object> {
  readonly #url: PerAttempt<string | URL>
  readonly #options: ConnectionOptions
  readonly #signal: AbortSignal
  readonly #reader: StreamReader<E>
  readonly #watchdog: Watchdog
  /** Ends the request or the delay that the connection waits for. */
  #interrupt: (reason?: unknown) => void = () => {}
  /**
   * Whether the page is in the back/forward cache: Chromium would keep its connection, one of six, and run none of its
   * code.
   */
  #hidden = false

  /** `decode` makes an event of a message, returns undefined to skip it, or throws a StreamError. */
  constructor (
    url: PerAttempt<string | URL>,
    options: ConnectionOptions,
    decode: (message: Message) => E | undefined,
    signal: AbortSignal
  ) {
    this.#url = url
    this.#options = options
    this.#signal = signal
    this.#reader = new StreamReader(decode, options.lastEventId ?? '')
    this.#watchdog = new Watchdog(options.inactivityTimeout)
    signal.addEventListener('abort', () => this.#interrupt())
  }

  get lastEventId (): string { return this.#reader.lastEventId }

  /**
   * Yields events and states in their order; each array holds the items that arrived together. Ends after the last
   * event and at the signal; throws a StreamError.
   */
  async * [Symbol.asyncIterator] (): AsyncGenerator<Array<E | StreamState>, void> {
    const setHidden = (hidden: boolean) => (): void => {
      if (this.#hidden === hidden) return
      this.#hidden = hidden
      this.#interrupt(HIDDEN)
    }
    const reconnect = reconnects(this.#options)
    const removers = reconnect
      ? [onPageEvent('pagehide', setHidden(true)), onPageEvent('pageshow', setHidden(false))]
      : []
    try {
      yield * this.#run(reconnect)
    } finally {
      for (const remove of removers) remove()
    }
  }

  async * #run (reconnect: boolean): AsyncGenerator<Array<E | StreamState>, void> {
    const { retryDelay = DELAY, maxRetryDelay = 30_000, maxAttempts = Infinity } = this.#options
    const backoff = new Backoff(retryDelay, maxRetryDelay)
    const reader = this.#reader
    yield ['connecting']
    for (let attempt = 1, failures = 0; !this.#signal.aborted; attempt++) {
      let error: StreamError | undefined
      let hidden = false
      try {
        const complete = yield * this.#attempt({ attempt, lastEventId: reader.lastEventId })
        if (complete || !reconnect) return
      } catch (cause) {
        hidden = cause === HIDDEN
        if (!hidden) error = callbackError('A callback', cause)
      }
      if (this.#signal.aborted) return
      if (error === undefined || reader.progressed) failures = 0
      const delay = hidden ? 0 : backoff.next(reader.progressed, reader.reconnectionTime, error?.retryAfter)
      if (error !== undefined) {
        const willRetry = reconnect && ++failures < maxAttempts && isTransient(error)
        // `error => errors.push(error)` returns a number, which decides nothing.
        let decision: unknown
        try {
          decision = await this.#options.onError?.(error, { attempt, delay: willRetry ? delay : undefined })
        } catch (cause) {
          throw callbackError('onError()', cause)
        }
        if (!(typeof decision === 'boolean' ? decision : willRetry)) throw error
      }
      yield ['connecting']
      await this.#pause(delay, Math.max(reader.reconnectionTime, error?.retryAfter ?? 0))
    }
  }

  /** Sends one request. Returns true if the stream is complete: then no other request follows. */
  async * #attempt (attempt: Attempt): AsyncGenerator<Array<E | StreamState>, boolean> {
    const reader = this.#reader
    const watchdog = this.#watchdog
    const controller = new AbortController()
    const { maxEventBytes = 2 ** 24 } = this.#options
    let body: ReadableStreamDefaultReader<Uint8Array> | undefined
    const interrupt = this.#interrupt = (reason?: unknown) => {
      controller.abort(reason)
      quietly(() => body?.cancel())
    }
    const onSilence = (limit: number): void =>
      interrupt(new StreamError('FST_SSE_INACTIVE', `No bytes for ${limit} ms`))
    reader.begin()
    try {
      watchdog.watch(onSilence)
      const response = await request(this.#url, this.#options, attempt, controller.signal)
      watchdog.received()
      if (response === undefined) return true
      const parser = /^text/i.test(response.headers.get('content-type')!)
        ? new Parser(reader, maxEventBytes, reader.lastEventId)
        : new (await import('./json-lines.ts')).LineParser(reader, maxEventBytes, reader.lastEventId, StreamError)
      body = response.body!.getReader()
      // Not every fetch listens to the signal.
      controller.signal.throwIfAborted()
      for (;;) {
        watchdog.watch(onSilence)
        const { done, value } = await body.read().catch(error => { throw networkError(error) })
        // The abort may have ended the body.
        controller.signal.throwIfAborted()
        if (done) break
        const before = reader.lastEventId
        try {
          parser.feed(value)
        } finally {
          // A stream that sent a heartbeat is no failure, even without an event.
          if (watchdog.received(reader.heartbeatOnly)) reader.progressed = true
          const items = reader.takeItems()
          // A new position is yielded without an event too: another tab that shares the stream may continue from it.
          if (items.length > 0 || reader.lastEventId !== before) yield items
        }
      }
    } catch (error) {
      // Not every fetch rejects with the reason.
      controller.signal.throwIfAborted()
      throw error
    } finally {
      watchdog.received()
      interrupt()
    }
    return reader.ended
  }

  /**
   * Waits for the delay, and while the page is in the cache. The `online` event shortens the wait to a random part of
   * the first delay, since all clients of a network are online at once; but never below the delay of the server.
   */
  async #pause (time: number, least: number): Promise<void> {
    const start = Date.now()
    let timer: ReturnType<typeof setTimeout> | undefined
    let removeListener: (() => void) | undefined
    await new Promise<void>(resolve => {
      const end = this.#interrupt = () => { if (this.#signal.aborted || !this.#hidden) resolve() }
      timer = setTimeout(end, time)
      removeListener = onPageEvent('online', () => {
        clearTimeout(timer)
        const passed = Date.now() - start
        timer = setTimeout(end,
          Math.min(time - passed, Math.max(0, least - passed) + Math.random() * (this.#options.retryDelay ?? DELAY)))
      })
      if (time === 0 || this.#signal.aborted) end()
    })
    clearTimeout(timer)
    removeListener!()
  }
}

/** Returns whether another attempt may succeed after this error. */
function isTransient ({ code, status = 0 }: StreamError): boolean {
  return status >= 500 || [408, 425, 429].includes(status) ||
    ['FST_SSE_NETWORK', 'FST_SSE_INACTIVE', 'FST_SSE_MISSING_EVENTS'].includes(code)
}
