import type { DecodedEvent } from './frame-batch.ts'
import type { Feed } from './feed.ts'
import type { ResolvedSubscription } from './subscriber.ts'
import { SubscriptionIterator } from './subscription-iterator.ts'
import { aFunction, validateOptions, type Rule } from '../validate-options.ts'
import type { Projection } from './projection.ts'
import { whereToBegin } from './settings.ts'
import { kSubscribed, type ChannelSource, type kEvents } from '../source/source.ts'

/** How to follow a channel. `R` is what it gives, `T` what comes of it. */
export interface SubscribeOptions<R, T> {
  /**
   * The id of the last event that is not to come again. A stream begins there when its client brings no `Last-Event-ID`.
   * One that cannot be honoured makes `sse.reset` the first event.
   */
  after?: string | undefined
  /** Where to begin without a position: with the oldest event that the history holds, or with what comes next. Default: as the channel says. */
  start?: 'latest' | 'earliest' | undefined
  /** Whether this subscriber gets an event. It is given one frozen object for all subscribers. What may come is still all that the channel declares: `map` narrows. */
  filter?: ((event: R) => boolean) | undefined
  /** Another event in place of one, checked by the route's `schema.sse`; undefined or null leaves it out. */
  map?: ((event: R) => T | null | undefined) | undefined
  /**
   * The state for a subscriber that brings no position, or none that holds: sent first, followed by what came after it.
   * A function that answers at once is asked between two events; with a promise, all that is published since it was asked
   * follows, so that updates should bear being applied twice. An `id` on its last event says exactly which events are in it.
   */
  snapshot?: (() => Snapshot<T> | Promise<Snapshot<T>>) | undefined
  /** Ends the subscription. */
  signal?: AbortSignal | undefined
}

/** One event, several, or none. */
export type Snapshot<T> = (T & { id?: string | undefined }) | ReadonlyArray<T & { id?: string | undefined }> | null | undefined

/** The events in what a snapshot gives. */
export type Said<S> = Awaited<S> extends infer G ? G extends readonly unknown[] ? G[number] : NonNullable<G> : never

const DEFAULTS: Required<SubscribeOptions<DecodedEvent, unknown>> = { after: undefined, start: undefined, filter: undefined, map: undefined, snapshot: undefined, signal: undefined }
const RULES: Record<keyof typeof DEFAULTS, Rule> = {
  after: { expected: 'an event id', fits: value => typeof value === 'string' },
  start: whereToBegin,
  filter: aFunction,
  map: aFunction,
  snapshot: aFunction,
  signal: { expected: 'an AbortSignal', fits: value => value instanceof EventTarget && 'aborted' in value }
}

/** One way of following a channel. Each stream that it is given to, and each loop over it, follows by itself. */
export class Subscription<E, R = E> implements ChannelSource<E>, AsyncIterable<R> {
  declare readonly [kEvents]?: E
  readonly #feed: () => Feed
  readonly #projection: Projection
  readonly #after: string | undefined
  readonly #signal: AbortSignal | undefined

  constructor (feed: () => Feed, first: 'latest' | 'earliest', given: object) {
    const { after, signal, filter, map, snapshot, start = first } = validateOptions(given, DEFAULTS, RULES)
    this.#feed = feed
    this.#projection = { filter, map, snapshot, start }
    this.#after = after
    this.#signal = signal
  }

  get [kSubscribed] (): ResolvedSubscription {
    return { feed: this.#feed(), projection: this.#projection, after: this.#after, signal: this.#signal }
  }

  [Symbol.asyncIterator] (): AsyncIterator<R, undefined> {
    return new SubscriptionIterator(() => this[kSubscribed]) as AsyncIterator<unknown, undefined> as AsyncIterator<R, undefined>
  }
}
