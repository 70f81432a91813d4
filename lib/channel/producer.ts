import { sharedController } from '../listeners.ts'
import { Pump } from '../source/pump.ts'
import { Scope } from '../scope.ts'
import { isThenable } from '../source/source.ts'
import { toReadable } from '../thrown-value.ts'

/** Where a producer's events go. */
export interface ProducerTarget {
  /** Throws what is wrong with the event. */
  append: (event: unknown) => unknown
  /** The source is done, or it failed. */
  end: (error?: { cause: unknown }) => void
  failLate: (error: unknown) => void
  /** The log refuses an append because another node has ended it. */
  over: () => void
}

// How many events may be on their way to the log at once.
const WINDOW = 64

/** Publishes what a source gives, as fast as the log takes it. */
export class Producer {
  readonly #scope = new Scope()
  readonly #controller = sharedController()
  readonly #target: ProducerTarget
  readonly #pump: Pump
  #underWay = 0
  /** The source has given all that it had, and how that ended. */
  #done: { error: { cause: unknown } | undefined } | undefined
  #stopped = false

  constructor (target: ProducerTarget) {
    this.#target = target
    this.#pump = new Pump({
      scope: this.#scope,
      hasRoom: () => this.#underWay < WINDOW,
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
    this.#done = { error }
    queueMicrotask(this.#end)
  }

  #append (event: unknown): void {
    try {
      const appended = this.#target.append(event)
      if (!isThenable(appended)) return
      this.#underWay++
      appended.then(this.#settled, cause => {
        this.#refused(cause)
        this.#settled()
      })
    } catch (error) {
      this.#refused(error)
    }
  }

  #refused (cause: unknown): void {
    if (this.#stopped) return
    if (saysEnded(cause)) this.#target.over()
    // Too late to throw into the source.
    else if (this.#done !== undefined) this.#done.error ??= { cause }
    else this.#pump.rejectEvent(cause as Error)
  }

  readonly #settled = (): void => {
    this.#underWay--
    this.#pump.pull()
    this.#end()
  }

  /** Once what was given before is in the log. */
  readonly #end = (): void => {
    if (this.#done === undefined || this.#underWay > 0 || this.#stopped) return
    this.#stopped = true
    this.#target.end(this.#done.error)
  }
}

/**
 * Whether a log refused an append because it has ended. Another copy of the package, or the user's log, may throw the
 * error: compare the code.
 */
export const saysEnded = (cause: unknown): boolean => (Object(toReadable(cause)) as { code?: unknown }).code === 'FST_SSE_CHANNEL_ENDED'
