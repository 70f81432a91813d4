import type { DecodedEvent } from './frame-batch.ts'
import type { Feed } from './feed.ts'
import type { ResolvedSubscription } from './subscriber.ts'
import { SubscriptionIterator } from './subscription-iterator.ts'
import { aFunction, validateOptions, type Rule } from '../validate-options.ts'
import type { Projection } from './projection.ts'
import { startRule } from './settings.ts'
import { kSubscribed, type ChannelSource, type kEvents } from '../source/source.ts'

/** Options of `channel.subscribe()`. `R` is the type of a received event, `T` of a projected event. */
export interface SubscribeOptions<R, T> {
  /**
   * The id of the last event that the subscriber has. A stream starts there if its client sends no `Last-Event-ID`. If
   * the id cannot be resumed, the first event is `sse.reset`.
   */
  after?: string | undefined
  /**
   * The start without a position: 'earliest' begins with the oldest stored event, 'latest' with the next event.
   * Default: the channel's `start`.
   */
  start?: 'latest' | 'earliest' | undefined
  /**
   * Returns whether this subscriber receives an event, which is one frozen object for all subscribers. A filter does
   * not narrow the types that the channel declares; a `map` does.
   */
  filter?: ((event: R) => boolean) | undefined
  /**
   * Returns another event in place of the given one, which the route's `schema.sse` validates; undefined or null drops
   * the event.
   */
  map?: ((event: R) => T | null | undefined) | undefined
  /**
   * Returns the state for a subscriber without a valid position: it is sent first, then the events after it. A
   * synchronous function runs between two events. With a promise, all events published since the call follow: applying
   * an update twice must be harmless. An `id` on the last event of the snapshot is the position of the last event in
   * it.
   */
  snapshot?: (() => Snapshot<T> | Promise<Snapshot<T>>) | undefined
  /** Ends the subscription. */
  signal?: AbortSignal | undefined
}

/** One event, several, or none. */
export type Snapshot<T> = (T & { id?: string | undefined }) | ReadonlyArray<T & { id?: string | undefined }> | null
  | undefined

/** The events of a snapshot. */
export type SnapshotEvent<S> = Awaited<S> extends infer G ? G extends readonly unknown[] ? G[number] : NonNullable<G>
  : never

const DEFAULTS: Required<SubscribeOptions<DecodedEvent, unknown>> = {
  after: undefined,
  start: undefined,
  filter: undefined,
  map: undefined,
  snapshot: undefined,
  signal: undefined
}
const RULES: Record<keyof typeof DEFAULTS, Rule> = {
  after: { expected: 'an event id', fits: value => typeof value === 'string' },
  start: startRule,
  filter: aFunction,
  map: aFunction,
  snapshot: aFunction,
  signal: { expected: 'an AbortSignal', fits: value => value instanceof EventTarget && 'aborted' in value }
}

/** A subscription to a channel. Each stream and each loop that uses it reads independently. */
export class Subscription<E, R = E> implements ChannelSource<E>, AsyncIterable<R> {
  declare readonly [kEvents]?: E
  readonly #feed: () => Feed
  readonly #projection: Projection
  readonly #after: string | undefined
  readonly #signal: AbortSignal | undefined

  constructor (feed: () => Feed, defaultStart: 'latest' | 'earliest', options: object) {
    const { after, signal, filter, map, snapshot, start = defaultStart } = validateOptions(options, DEFAULTS, RULES)
    this.#feed = feed
    this.#projection = { filter, map, snapshot, start }
    this.#after = after
    this.#signal = signal
  }

  get [kSubscribed] (): ResolvedSubscription {
    return { feed: this.#feed(), projection: this.#projection, after: this.#after, signal: this.#signal }
  }

  [Symbol.asyncIterator] (): AsyncIterator<R, undefined> {
    return new SubscriptionIterator(() => this[kSubscribed]) as AsyncIterator<unknown, undefined> as AsyncIterator<R,
      undefined>
  }
}
