import { FST_SSE_SOURCE, isError } from '../errors.ts'
import type { Scope } from '../scope.ts'
import { asChannelSources, evaluateSource, iterate, type SourceDriver, type EventIterator, type ChannelSource, type PublishContext, type SourceContext } from './source.ts'
import { yieldToLoop, budgetSpent } from './loop-budget.ts'

/** Who takes the events. */
export interface EventSink {
  /** The scope in which the source runs, whatever resumes or stops it. */
  readonly scope: Scope
  /** Whether another event has room now. */
  hasRoom: () => boolean
  /** The next event. */
  write: (event: unknown) => void
  /** Takes over: the source is one that is followed, not pulled. Without it, its events are read one by one. */
  subscribe?: (channels: Array<ChannelSource<unknown>>) => void
  /** The source is done. */
  complete: () => void
  /** The source, or the way to it, threw. */
  fail: (error: unknown) => void
  /** The source threw after it was stopped. */
  failLate: (error: unknown) => void
}

type Step = IteratorResult<unknown>

/** Pulls one event after the other from a source: none that nobody takes, and none after the stop. */
export class Pump implements SourceDriver {
  readonly #sink: EventSink
  #iterator: EventIterator | undefined
  #stopped = false
  #pulling = false
  #refusal: Error | undefined
  /** The refusal that the source was told in the step that is under way. */
  #thrownIn: Error | undefined

  constructor (taker: EventSink) {
    this.#sink = taker
  }

  /** What is read event by event always comes to something. */
  get hasAnswer (): boolean { return this.#iterator !== undefined }

  start (source: unknown, context: PublishContext | SourceContext): void {
    try {
      const value = evaluateSource(source, context)
      if (value instanceof Promise) value.then(this.#begin).catch(this.#failed)
      else this.#begin(value)
    } catch (error) {
      this.#failed(error)
    }
  }

  /** Goes on, after the taker had no room. */
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
        const step = this.#step(this.#iterator)
        if (typeof (step as Promise<Step> | undefined)?.then === 'function') {
          this.#pulling = true;
          // No await: one promise per event, the source's own.
          (step as Promise<Step>).then(this.#onStep, this.#failed)
        } else {
          this.#give(step as Step)
        }
      } catch (error) {
        this.#failed(error)
      }
    }
  }

  /** The event just taken is no good: a generator is told at its `yield` and may go on; any other source has failed. */
  refuse (error: Error): void {
    if (this.#iterator?.throw !== undefined) {
      this.#refusal = error
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
      // Not awaited: an async generator queues it behind the pending next(), which may never settle.
      Promise.resolve(this.#sink.scope.runInAsyncScope(iterator.return, iterator)).catch(error => this.#sink.failLate(error))
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
    // The function that makes the source took longer than the client stayed.
    this.#stopped = false
    this.stop()
  }

  #step (iterator: EventIterator): Step | Promise<Step> {
    const refusal = this.#refusal
    if (refusal === undefined) return iterator.next()
    this.#refusal = undefined
    this.#thrownIn = refusal
    return iterator.throw!(refusal)
  }

  readonly #onStep = (step: Step): void => {
    this.#pulling = false
    try {
      this.#give(step)
    } catch (error) {
      this.#failed(error)
    }
    this.#pull()
  }

  readonly #resume = (): void => {
    this.#pulling = false
    this.#pull()
  }

  #give (step: Step): void {
    if (this.#stopped) return
    if (typeof step !== 'object' || step === null) {
      this.#failed(new FST_SSE_SOURCE('an iterator whose next() gives no result'))
      return
    }
    this.#thrownIn = undefined
    if (step.done !== true) {
      this.#sink.write(step.value)
      return
    }
    this.#stopped = true
    // A refusal that came during its last step: there is nobody to tell any more.
    if (this.#refusal === undefined) this.#sink.complete()
    else this.#sink.fail(this.#refusal)
  }

  readonly #failed = (error: unknown): void => {
    this.#pulling = false
    if (this.#stopped) {
      this.#sink.failLate(error)
      return
    }
    this.#stopped = true
    this.#sink.fail(this.#rootOf(error))
  }

  /** A generator inside of `yield *` over an array cannot be told: the engine then throws a TypeError of its own, and the refusal is what matters. */
  #rootOf (error: unknown): unknown {
    const told = this.#thrownIn
    if (told === undefined || told === error || !(isError(error) && error instanceof TypeError)) return error
    told.cause ??= error
    return told
  }
}
