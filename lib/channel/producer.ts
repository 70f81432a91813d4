import { sharedController } from '../listeners.ts'
import { Pump } from '../source/pump.ts'
import { Scope } from '../scope.ts'
import { isThenable } from '../source/source.ts'
import { toReadable } from '../thrown-value.ts'

/** Receives the events of a producer. */
export interface ProducerTarget {
  /** Appends an event. Throws, or rejects, if the event cannot be appended. */
  append: (event: unknown) => unknown
  /** Called when the source is done or has failed. */
  end: (error?: { cause: unknown }) => void
  failLate: (error: unknown) => void
  /** Called when the log rejected an append because another node has ended it. */
  logEnded: () => void
}

// The maximal number of concurrent appends.
const MAX_IN_FLIGHT = 64

/** Publishes the events of a source, as fast as the log stores them. */
export class Producer {
  readonly #scope = new Scope()
  readonly #controller = sharedController()
  readonly #target: ProducerTarget
  readonly #pump: Pump
  #inFlight = 0
  /** The end of the source, with its error; undefined before. */
  #result: { error: { cause: unknown } | undefined } | undefined
  #stopped = false

  constructor (target: ProducerTarget) {
    this.#target = target
    this.#pump = new Pump({
      scope: this.#scope,
      hasRoom: () => this.#inFlight < MAX_IN_FLIGHT,
      write: event => this.#append(event),
      complete: () => this.#finish(),
      fail: cause => this.#finish({ cause }),
      failLate: target.failLate
    })
  }

  start (source: unknown): void {
    this.#pump.start(source, { signal: this.#controller.signal, lastEventId: undefined })
  }

  stop (reason: Error): void {
    this.#stopped = true
    this.#scope.runInAsyncScope(this.#controller.abort, this.#controller, reason)
    this.#pump.stop()
  }

  #finish (error?: { cause: unknown }): void {
    this.#result = { error }
    queueMicrotask(this.#endWhenAppended)
  }

  #append (event: unknown): void {
    try {
      const appended = this.#target.append(event)
      if (!isThenable(appended)) return
      this.#inFlight++
      appended.then(this.#onSettled, cause => {
        this.#onRejected(cause)
        this.#onSettled()
      })
    } catch (error) {
      this.#onRejected(error)
    }
  }

  #onRejected (cause: unknown): void {
    if (this.#stopped) return
    if (isEndedError(cause)) this.#target.logEnded()
    // Too late to throw into the source.
    else if (this.#result !== undefined) this.#result.error ??= { cause }
    else this.#pump.rejectEvent(cause as Error)
  }

  readonly #onSettled = (): void => {
    this.#inFlight--
    this.#pump.pull()
    this.#endWhenAppended()
  }

  /** Ends after the log has stored all earlier events. */
  readonly #endWhenAppended = (): void => {
    if (this.#result === undefined || this.#inFlight > 0 || this.#stopped) return
    this.#stopped = true
    this.#target.end(this.#result.error)
  }
}

/**
 * Whether a log rejected an append because it has ended. Another copy of the package, or a log of the user, may throw
 * the error: compare the code.
 */
export const isEndedError = (cause: unknown): boolean =>
  (Object(toReadable(cause)) as { code?: unknown }).code === 'FST_SSE_CHANNEL_ENDED'
