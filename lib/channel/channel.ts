import { FST_SSE_CLOSING, FST_SSE_SOURCE, describe } from '../errors.ts'
import type { AnyEvent, EventMap, EventOf, PublishEventOf, ReceivedEventOf, SystemEventReceived } from '../contract/event-types.ts'
import type { LogState, LogPosition } from '../log/log.ts'
import { dispose, isSource, isThenable, kSubscribed, type EventSequence, type ChannelSource, type PublishContext, type kEvents } from '../source/source.ts'
import { Subscription, type Said, type Snapshot, type SubscribeOptions } from './subscription.ts'
import type { ActiveChannel } from './active-channel.ts'

/** What a channel holds, and the id that stands for all of it. */
export interface ChannelPosition extends LogState {
  /** The position after the newest event: who subscribes `after` it gets what comes next. */
  id: string
}

/** What a channel is fed by. The function form is called once, when the channel has no producer yet. */
export type PublishSource<E> = ((context: PublishContext) => EventSequence<E> | Promise<EventSequence<E>>) | EventSequence<E>

/** What a map or a snapshot makes. */
interface Made<N extends string> { event?: N | undefined, data: unknown }

/** Where a channel finds what lives under its name. */
export interface ChannelResolver {
  find: () => ActiveChannel | undefined
  /** Makes it where there is none; undefined when the server is closing. Throws FST_SSE_CHANNEL_OPTIONS where the name is another channel's by now. */
  get: () => ActiveChannel | undefined
  /** What a caller was refused, for those who do not look at the promise. */
  refused: (call: string, error: unknown) => void
}

/**
 * A named, bounded, ordered sequence of events that many streams follow. It is a name for what lives under it:
 * an idle channel leaves memory, and comes back when it is used.
 */
export class Channel<M extends EventMap = EventMap> implements ChannelSource<EventOf<M>> {
  readonly name: string
  declare readonly [kEvents]?: EventOf<M>
  readonly #resolver: ChannelResolver
  #known: ActiveChannel | undefined
  readonly #start: 'latest' | 'earliest'
  readonly #all: Subscription<EventOf<M>>

  constructor (name: string, start: 'latest' | 'earliest', place: ChannelResolver) {
    this.name = name
    this.#resolver = place
    this.#start = start
    this.#all = new Subscription(() => this.#topic.feed, start, {})
  }

  get #living (): ActiveChannel | undefined {
    if (this.#known?.open !== true) this.#known = this.#resolver.get()
    return this.#known
  }

  get #topic (): ActiveChannel {
    const topic = this.#living
    if (topic === undefined) throw new FST_SSE_CLOSING()
    return topic
  }

  /** How many follow it in this process. */
  get subscribers (): number { return this.#resolver.find()?.feed.readers ?? 0 }

  get [kSubscribed] (): unknown { return this.#all[kSubscribed] }

  /**
   * Checks the event, writes it and hands it to all who follow. Resolves to its id when the log has it; never waits for a subscriber.
   * An event that does not fit is refused with the code that `reply.sse` has for it, FST_SSE_PUBLISH or FST_SSE_CHANNEL_ENDED, and reaches nobody.
   */
  publish (event: PublishEventOf<M>): Promise<string> {
    try {
      const position = this.#topic.append(event)
      return isThenable(position) ? this.#heard('publish', Promise.resolve(position).then(idOf)) : Promise.resolve(idOf(position))
    } catch (error) {
      return this.#heard('publish', Promise.reject(error))
    }
  }

  /**
   * Publishes all that a source gives, then ends the channel; a source that fails ends it with the error as its last
   * event. Settles with the source. A channel has one producer: called again, it lets go of the second source and
   * answers as for the first. A function source gets a signal that aborts when the channel ends before the source, on
   * this node or on another one.
   */
  publishFrom (source: PublishSource<PublishEventOf<M>>): Promise<void> {
    try {
      // A mistake in the call is no failure of the producer: the channel goes on.
      if (source instanceof Channel) throw new FST_SSE_SOURCE('a channel where a producer belongs: read it with a loop over subscribe()')
      if (!isSource(source)) throw new FST_SSE_SOURCE(describe(source))
      return this.#topic.publishFrom(source)
    } catch (error) {
      dispose(source)
      return this.#heard('consume', Promise.reject(error))
    }
  }

  /** No more events: those who follow get what was published, and their end; who comes back at the end gets 204. Stops the producer. */
  end (): Promise<void> {
    return this.#heard('end', this.#end())
  }

  /** What it holds now. */
  async position (): Promise<ChannelPosition> {
    const head = await this.#topic.state()
    return { ...head, id: idOf({ epoch: head.epoch, offset: head.newest }) }
  }

  /**
   * Another way to follow it than from the newest, or from where the client was: for `reply.sse`, or for a loop in this process,
   * which ends without an error when the channel ends, the signal aborts or the server closes.
   */
  subscribe (options?: SubscribeOptions<ReceivedEventOf<M>, PublishEventOf<M>> & { map?: undefined }): Subscription<EventOf<M>, ReceivedEventOf<M> | SystemEventReceived<M>>
  // The names are types of their own, so that `{ event: 'size' }` in a map stays that and does not become any string.
  subscribe<N extends string, T extends Made<N>, O extends string, S extends Snapshot<Made<O>> | Promise<Snapshot<Made<O>>> = never> (
    options: Omit<SubscribeOptions<ReceivedEventOf<M>, T>, 'map' | 'snapshot'> & { map: (event: ReceivedEventOf<M>) => T | null | undefined, snapshot?: (() => S) | undefined }
  ): Subscription<T | Said<S>, ((T | Said<S>) & { id: string }) | SystemEventReceived<M>>
  // Options that were made elsewhere, of which nobody says here whether there is a map.
  subscribe (options: SubscribeOptions<ReceivedEventOf<M>, PublishEventOf<M>>): Subscription<EventOf<M>, ReceivedEventOf<M> | SystemEventReceived<M>>
  subscribe (options: object = {}): Subscription<unknown> {
    return new Subscription(() => this.#topic.feed, this.#start, options)
  }

  async #end (): Promise<void> {
    await this.#living?.end()
  }

  /** Who does not wait for the answer is not ended by it, and finds it in the log. */
  #heard<T> (call: string, answer: Promise<T>): Promise<T> {
    answer.catch(error => this.#resolver.refused(call, error))
    return answer
  }
}

/** A channel of any events, for those who only look after it. */
export type AnyChannel = Pick<Channel, 'name' | 'subscribers' | 'position' | 'end'> & ChannelSource<AnyEvent>

const idOf = ({ epoch, offset }: LogPosition): string => `${epoch}-${offset}`
