import { FST_SSE_SOURCE, isError } from '../errors.ts'
import type { Scope } from '../scope.ts'
import {
  asChannelSources, evaluateSource, iterate, type SourceDriver, type EventIterator, type ChannelSource,
  type PublishContext, type SourceContext
} from './source.ts'
import { yieldToLoop, budgetSpent } from './loop-budget.ts'

/** Receives the events of a source. */
export interface EventSink {
  /** The scope in which the source runs, for every caller that resumes or stops it. */
  readonly scope: Scope
  /** Whether the sink can accept another event now. */
  hasRoom: () => boolean
  /** Accepts the next event. */
  write: (event: unknown) => void
  /** Subscribes to the channels of the source. A sink without it reads the events of a subscription one by one. */
  subscribe?: (channels: Array<ChannelSource<unknown>>) => void
  /** Called when the source has ended. */
  complete: () => void
  /** Called when the source, or the function that returns it, threw an error. */
  fail: (error: unknown) => void
  /** Called when the source threw an error after it was stopped. */
  failLate: (error: unknown) => void
}

type Step = IteratorResult<unknown>

/** Pulls events from a source, one after the other: only while the sink has room, and none after `stop`. */
export class Pump implements SourceDriver {
  readonly #sink: EventSink
  #iterator: EventIterator | undefined
  #stopped = false
  #pulling = false
  /** The error of a rejected event that the next step throws into the generator. */
  #rejection: Error | undefined
  /** The error that the current step has thrown into the generator. */
  #thrownRejection: Error | undefined

  constructor (sink: EventSink) {
    this.#sink = sink
  }

  /** Whether there is an iterator: it always leads to an event, an end or an error. */
  get hasAnswer (): boolean { return this.#iterator !== undefined }

  /** Reads the source; calls its function form first. */
  start (source: unknown, context: PublishContext | SourceContext): void {
    try {
      const value = evaluateSource(source, context)
      if (value instanceof Promise) value.then(this.#begin).catch(this.#failed)
      else this.#begin(value)
    } catch (error) {
      this.#failed(error)
    }
  }

  /** Continues after the sink had no room. */
  pull (): void {
    this.#sink.scope.runInAsyncScope(this.#pull, this)
  }

  #pull (): void {
    while (!this.#pulling && !this.#stopped && this.#iterator !== undefined && this.#sink.hasRoom()) {
      if (budgetSpent()) {
        this.#pulling = true
        yieldToLoop(this.#resume)
        return
      }
      try {
        const step = this.#nextStep(this.#iterator)
        if (typeof (step as Promise<Step> | undefined)?.then === 'function') {
          this.#pulling = true;
          // No await: one promise per event, the source's own.
          (step as Promise<Step>).then(this.#onStep, this.#failed)
        } else {
          this.#handle(step as Step)
        }
      } catch (error) {
        this.#failed(error)
      }
    }
  }

  /**
   * Rejects the last event. A generator gets the error at its `yield` and may continue; any other source has failed.
   */
  rejectEvent (error: Error): void {
    if (this.#iterator?.throw !== undefined) {
      this.#rejection = error
      return
    }
    this.stop()
    this.#sink.fail(error)
  }

  /** Ends the source, once, also while a `next()` is pending. */
  stop (): void {
    if (this.#stopped) return
    this.#stopped = true
    try {
      const iterator = this.#iterator
      if (iterator?.return === undefined) return
      // Not awaited: an async generator queues return() behind the pending next(), which may never settle.
      Promise.resolve(this.#sink.scope.runInAsyncScope(iterator.return, iterator)).catch(error =>
        this.#sink.failLate(error)
      )
    } catch (error) {
      this.#sink.failLate(error)
    }
  }

  readonly #begin = (source: unknown): void => {
    const channels = this.#sink.subscribe === undefined ? undefined : asChannelSources(source)
    if (channels !== undefined) {
      if (!this.#stopped) this.#sink.subscribe!(channels)
      return
    }
    this.#iterator = iterate(source)
    if (!this.#stopped) {
      this.#pull()
      return
    }
    // The client disconnected before the function returned the source.
    this.#stopped = false
    this.stop()
  }

  #nextStep (iterator: EventIterator): Step | Promise<Step> {
    const rejection = this.#rejection
    if (rejection === undefined) return iterator.next()
    this.#rejection = undefined
    this.#thrownRejection = rejection
    return iterator.throw!(rejection)
  }

  readonly #onStep = (step: Step): void => {
    this.#pulling = false
    try {
      this.#handle(step)
    } catch (error) {
      this.#failed(error)
    }
    this.#pull()
  }

  readonly #resume = (): void => {
    this.#pulling = false
    this.#pull()
  }

  #handle (step: Step): void {
    if (this.#stopped) return
    if (typeof step !== 'object' || step === null) {
      this.#failed(new FST_SSE_SOURCE('an iterator whose next() returns no result'))
      return
    }
    this.#thrownRejection = undefined
    if (step.done !== true) {
      this.#sink.write(step.value)
      return
    }
    this.#stopped = true
    // An event was rejected during the last step: the generator has ended and cannot get the error.
    if (this.#rejection === undefined) this.#sink.complete()
    else this.#sink.fail(this.#rejection)
  }

  readonly #failed = (error: unknown): void => {
    this.#pulling = false
    if (this.#stopped) {
      this.#sink.failLate(error)
      return
    }
    this.#stopped = true
    this.#sink.fail(this.#rootCause(error))
  }

  /**
   * Returns the error to report. A generator inside `yield *` over an array cannot get the error of a rejected event:
   * the engine throws its own TypeError instead. The rejection is then reported, with that TypeError as its cause.
   */
  #rootCause (error: unknown): unknown {
    const rejection = this.#thrownRejection
    if (rejection === undefined || rejection === error || !(isError(error) && error instanceof TypeError)) return error
    rejection.cause ??= error
    return rejection
  }
}
