import { FST_SSE_CLOSING } from '../errors.ts'
import type { DecodedEvent } from './frame-batch.ts'
import type { Feed } from './feed.ts'
import type { ResolvedSubscription } from './resolved-subscription.ts'
import { SubscriptionIterator } from './subscription-iterator.ts'
import { aFunction, nameOfLength, validateOptions, type Rule } from '../validate-options.ts'
import { paceOrNullRule, resolvePace, type Pace } from './pace.ts'
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
  /**
   * A later event replaces a waiting one of its key, and the waiting events are sent at the end of an interval.
   * `filter` and `map` apply after it. All subscribers with the same `every` and the same `key` share the work. `null`:
   * every event. Default: the channel's `pace`.
   */
  pace?: Pace<R> | null | undefined
  /** Ends the subscription. */
  signal?: AbortSignal | undefined
  /**
   * The member that is present in the channel while the subscription is open: 1 to 256 characters. Check it as a
   * permission: every subscriber of `channel.presence` receives it.
   */
  as?: string | undefined
}

/** The channel of a subscription. */
export interface SubscribedChannel {
  /** The start of a subscriber without a position. */
  readonly start: 'latest' | 'earliest'
  /** The snapshot of a subscription that sets neither `start` nor `snapshot`. */
  readonly snapshot?: (() => unknown) | undefined
  /** Returns the channel in memory; undefined while the server closes. */
  get: () => { readonly feed: Feed } | undefined
  /** Returns the presence of the channel. Throws FST_SSE_LOG_METHOD if the log holds no members. */
  presence: () => { readonly members: { join: (member: string) => () => void } | undefined }
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
  pace: undefined,
  signal: undefined,
  as: undefined
}
const RULES: Record<keyof typeof DEFAULTS, Rule> = {
  after: { expected: 'an event id', fits: value => typeof value === 'string' },
  start: startRule,
  filter: aFunction,
  map: aFunction,
  snapshot: aFunction,
  pace: paceOrNullRule,
  signal: { expected: 'an AbortSignal', fits: value => value instanceof EventTarget && 'aborted' in value },
  as: nameOfLength(256)
}

/** Ends a member that did not join, because the server closes. */
const noLeave = (): void => {}

/** A subscription to a channel. Each stream and each loop that uses it reads independently. */
export class Subscription<E, R = E> implements ChannelSource<E>, AsyncIterable<R> {
  declare readonly [kEvents]?: E
  readonly #channel: SubscribedChannel
  readonly #projection: Projection
  readonly #pace: Pace | null | undefined
  readonly #after: string | undefined
  readonly #signal: AbortSignal | undefined
  readonly #member: string | undefined

  constructor (channel: SubscribedChannel, options: object) {
    const { after, signal, as: member, filter, map, start, snapshot, pace } = validateOptions(options, DEFAULTS, RULES)
    this.#channel = channel
    const byDefault = start === undefined ? channel.snapshot : undefined
    this.#projection = { filter, map, snapshot: snapshot ?? byDefault, start: start ?? channel.start }
    this.#pace = pace && resolvePace(pace)
    this.#after = after
    this.#signal = signal
    this.#member = member
  }

  get [kSubscribed] (): ResolvedSubscription {
    const channel = this.#channel
    const active = channel.get()
    if (active === undefined) throw new FST_SSE_CLOSING()
    const { feed } = active
    const subscription = {
      feed,
      projection: this.#projection,
      pace: this.#pace === undefined ? feed.settings.pace : this.#pace ?? undefined,
      after: this.#after,
      signal: this.#signal
    }
    const member = this.#member
    if (member === undefined) return subscription
    // A log without members rejects the stream before its head. The presence may leave memory until the stream opens.
    channel.presence()
    return { ...subscription, join: () => channel.presence().members?.join(member) ?? noLeave }
  }

  [Symbol.asyncIterator] (): AsyncIterator<R, undefined> {
    return new SubscriptionIterator(() => this[kSubscribed]) as AsyncIterator<unknown, undefined> as AsyncIterator<R,
      undefined>
  }
}
