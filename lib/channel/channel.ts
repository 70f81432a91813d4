import { FST_SSE_CLOSING, FST_SSE_SOURCE, describe } from '../errors.ts'
import type {
  AnyEvent, EventMap, EventOf, PublishEventOf, ReceivedEventOf,
  SystemEventReceived
} from '../contract/event-types.ts'
import type { LogState, LogPosition } from '../log/log.ts'
import {
  dispose, isSource, kSubscribed, type EventSequence, type ChannelSource, type PublishContext,
  type kEvents
} from '../source/source.ts'
import {
  Subscription, type SnapshotEvent, type Snapshot, type SubscribedChannel,
  type SubscribeOptions
} from './subscription.ts'
import type { ActiveChannel } from './active-channel.ts'
import type { ActivePresence } from './active-presence.ts'
import type { presenceEvents } from './presence-events.ts'
import type { PublishOptions } from './publish-options.ts'

/** The state of a channel, and its position as an event id. */
export interface ChannelPosition extends LogState {
  /** The position after the newest event: a subscriber with this id in `after` receives the next event first. */
  id: string
}

/** The source of a channel's producer. The function form is called once, if the channel has no producer yet. */
export type PublishSource<E> = ((context: PublishContext) => EventSequence<E> | Promise<EventSequence<E>>)
  | EventSequence<E>

/** An event that a map or a snapshot returns. */
interface MadeEvent<N extends string> { event?: N | undefined, data: unknown }

/** Finds the active channel behind a name. */
export interface ChannelResolver extends SubscribedChannel {
  find: () => ActiveChannel | undefined
  /**
   * Returns the active channel, created if there is none; undefined while the server closes. Throws
   * FST_SSE_CHANNEL_OPTIONS if the name belongs to a channel with other options.
   */
  get: () => ActiveChannel | undefined
  /**
   * Returns the channel with the changes of the members, and the members; undefined while the server closes. Throws
   * FST_SSE_LOG_METHOD if the log holds no members.
   */
  presence: () => { channel: Presence, members: ActivePresence | undefined }
  /** Logs the rejection of a call, for callers that ignore the promise. */
  watch: (call: string, answer: Promise<unknown>) => void
}

/**
 * A named, bounded, ordered log of events with live delivery to many subscribers. This object is only a name: an idle
 * channel leaves memory and is created again on the next use.
 */
export class Channel<M extends EventMap = EventMap> implements ChannelSource<EventOf<M>> {
  readonly name: string
  declare readonly [kEvents]?: EventOf<M>
  readonly #resolver: ChannelResolver
  #active: ActiveChannel | undefined
  /** Made for the first stream of the channel. */
  #defaultSubscription: Subscription<EventOf<M>> | undefined

  constructor (name: string, resolver: ChannelResolver) {
    this.name = name
    this.#resolver = resolver
  }

  get #activeOrClosed (): ActiveChannel | undefined {
    if (this.#active?.open !== true) this.#active = this.#resolver.get()
    return this.#active
  }

  get #requiredActive (): ActiveChannel {
    const active = this.#activeOrClosed
    if (active === undefined) throw new FST_SSE_CLOSING()
    return active
  }

  /** The number of subscribers in this process. */
  get subscribers (): number { return this.#resolver.find()?.readers ?? 0 }

  get [kSubscribed] (): unknown {
    return (this.#defaultSubscription ??= new Subscription(this.#resolver, {}))[kSubscribed]
  }

  /**
   * Validates and serializes the event, appends it to the log and delivers it to all subscribers. Resolves to its id
   * when the log has stored it; never waits for a subscriber. Rejects an invalid event with the code that `reply.sse`
   * has for it, with FST_SSE_PUBLISH or with FST_SSE_CHANNEL_ENDED: no subscriber receives the event. With a `key`, the
   * event is published once over all nodes; with a `client`, when its transaction is committed. Rejects with
   * FST_SSE_OPTION for an invalid option, FST_SSE_LOG_METHOD if the event log cannot do that.
   */
  publish<C extends object | undefined = undefined> (
    event: PublishEventOf<M>,
    options: PublishOptions<C> | undefined
  ): Promise<C extends object ? undefined : string>
  publish (event: PublishEventOf<M>): Promise<string>
  publish (event: unknown, options?: unknown): Promise<string | undefined> {
    if (options !== undefined) return this.#watched('publish', this.#publishWith(event, options))
    try {
      const id = this.#requiredActive.append(event)
      return typeof id === 'string' ? Promise.resolve(id) : this.#watched('publish', id)
    } catch (error) {
      return this.#watched('publish', Promise.reject(error))
    }
  }

  /**
   * Publishes all events of a source, then ends the channel. If the source fails, its error becomes the last event.
   * Settles with the source. A channel has one producer: a second call disposes of its source and returns the promise
   * of the first. A function source gets a signal, which aborts if the channel ends before the source, on this node or
   * on another one.
   */
  publishFrom (source: PublishSource<PublishEventOf<M>>): Promise<void> {
    try {
      // A wrong argument is not a failure of the producer: the channel stays open.
      if (source instanceof Channel) throw new FST_SSE_SOURCE('a channel: read it with a loop over subscribe()')
      if (!isSource(source)) throw new FST_SSE_SOURCE(describe(source))
      return this.#requiredActive.publishFrom(source)
    } catch (error) {
      dispose(source)
      return this.#watched('publishFrom', Promise.reject(error))
    }
  }

  /**
   * Ends the channel: subscribers receive the published events, then their streams end. A client that reconnects at the
   * end gets 204. Stops the producer. `event` is published in the same step, as the last event of the channel. Rejects
   * an invalid event as `publish` does: then the channel stays open. A channel that has ended gets no event more.
   */
  end (event?: PublishEventOf<M>): Promise<void> {
    return this.#watched('end', this.#end(event))
  }

  /** Returns the state of the log and the id of the current position. */
  async position (): Promise<ChannelPosition> {
    const state = await this.#requiredActive.state()
    return { ...state, id: idOf({ epoch: state.epoch, offset: state.newest }) }
  }

  /**
   * Subscribes with options, for `reply.sse` or for a loop in this process. The loop ends without an error when the
   * channel ends, the signal aborts or the server closes.
   */
  subscribe (
    options?: SubscribeOptions<ReceivedEventOf<M>, PublishEventOf<M>> & { map?: undefined }
  ): Subscription<EventOf<M>, ReceivedEventOf<M> | SystemEventReceived<M>>
  // The names are type parameters, so that `{ event: 'size' }` in a map keeps its literal type instead of becoming any
  // string.
  subscribe<N extends string, T extends MadeEvent<N>, O extends string,
    S extends Snapshot<MadeEvent<O>> | Promise<Snapshot<MadeEvent<O>>> = never> (
    options: Omit<SubscribeOptions<ReceivedEventOf<M>, T>, 'map' | 'snapshot'> & {
      map: (event: ReceivedEventOf<M>) => T | null | undefined
      snapshot?: (() => S) | undefined
    }
  ): Subscription<T | SnapshotEvent<S>, ((T | SnapshotEvent<S>) & { id: string }) | SystemEventReceived<M>>
  // Options from elsewhere, for which the compiler does not know whether there is a map.
  subscribe (
    options: SubscribeOptions<ReceivedEventOf<M>, PublishEventOf<M>>
  ): Subscription<EventOf<M>, ReceivedEventOf<M> | SystemEventReceived<M>>
  subscribe (options: object = {}): Subscription<unknown> {
    return new Subscription(this.#resolver, options)
  }

  /**
   * Returns the members that are present: each has an open subscription with `as` on some node. Rejects with
   * FST_SSE_CLOSING, FST_SSE_LOG_METHOD if the event log holds no members, and the errors of the event log.
   */
  async members (): Promise<string[]> {
    const { members } = this.#resolver.presence()
    if (members === undefined) throw new FST_SSE_CLOSING()
    return await members.members()
  }

  /**
   * The channel with the events `join` and `leave` of the members, over all nodes. A subscriber without a position gets
   * `members` first, with all of them. Throws FST_SSE_LOG_METHOD if the event log holds no members.
   */
  get presence (): Presence { return this.#resolver.presence().channel }

  async #publishWith (event: unknown, options: unknown): Promise<string | undefined> {
    const position = await this.#requiredActive.appendWith(event, options)
    return position === undefined ? undefined : idOf(position)
  }

  async #end (event: unknown): Promise<void> {
    await (event === undefined ? this.#activeOrClosed : this.#requiredActive)?.end(event)
  }

  /** A caller may ignore the promise: its rejection is logged and does not end the process. */
  #watched<T> (call: string, answer: Promise<T>): Promise<T> {
    this.#resolver.watch(call, answer)
    return answer
  }
}

/** The presence of a channel: the changes of its members, as a channel that only the members publish to. */
export type Presence = Pick<Channel<typeof presenceEvents>, 'name' | 'subscribers' | 'position' | 'subscribe'> &
  ChannelSource<EventOf<typeof presenceEvents>>

/** A channel of any events, for code that only manages it. */
export type AnyChannel = Pick<Channel, 'name' | 'subscribers' | 'position' | 'end'> & ChannelSource<AnyEvent>

const idOf = ({ epoch, offset }: LogPosition): string => `${epoch}-${offset}`
