import { ChannelReader } from './channel-reader.ts'
import { CompactedReader } from './compacted-reader.ts'
import { FST_SSE_CHANNEL_EVENTS } from '../errors.ts'
import type { Contract } from '../contract/contract.ts'
import type { Feed } from './feed.ts'
import type { Pace } from './pace.ts'
import { PacedReader } from './paced-reader.ts'
import { bindToScope, type Projection } from './projection.ts'
import { kSubscribed, type ChannelSource } from '../source/source.ts'
import type { SubscriberContext } from './subscriber-context.ts'

/** One channel of a subscriber. */
export interface ResolvedSubscription {
  readonly feed: Feed
  readonly projection: Projection
  /** Undefined: every event. */
  readonly pace?: Pace | undefined
  /** The start when the client sends no position. */
  readonly after: string | undefined
  readonly signal: AbortSignal | undefined
  /** Makes a member present. Returns the function that ends it. */
  readonly join?: () => () => void
}

/**
 * Returns the subscriptions of a route's channels, none for `noChannel`. Throws FST_SSE_CHANNEL_EVENTS if the route's
 * contract does not cover the events of a channel without a map (C4).
 */
export function resolveSubscriptions (
  channels: ReadonlyArray<ChannelSource<unknown>>,
  contract: Contract
): ResolvedSubscription[] {
  const all = channels.map(channel => channel[kSubscribed] as ResolvedSubscription | undefined)
    .filter(subscription => subscription !== undefined)
  for (const { feed: { settings: { name, events } }, projection } of all) {
    if (projection.map === undefined && !contract.declaresAll(events)) throw new FST_SSE_CHANNEL_EVENTS(name)
  }
  return all
}

/** Returns the reader of a subscription. */
export function readerOf (
  { feed, projection, pace }: Pick<ResolvedSubscription, 'feed' | 'projection' | 'pace'>,
  subscriber: SubscriberContext<ChannelReader>
): ChannelReader {
  const bound = bindToScope(projection)
  if (pace !== undefined) return new PacedReader(feed, bound, subscriber, pace)
  const Reader = feed.compaction === undefined ? ChannelReader : CompactedReader
  return new Reader(feed, bound, subscriber)
}
