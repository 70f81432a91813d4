import { FST_SSE_CLOSING, FST_SSE_SOURCE, shown } from '../errors.ts'
import type { AnyEvent, EventMap, EventOf, PublishedOf, ReceivedOf, SystemReceived } from '../contract/contract.ts'
import type { LogHead, LogPosition } from '../log/log.ts'
import { dispose, isSource, isThenable, kSubscribed, type EventSequence, type Followable, type ProductionContext, type kEvents } from '../source/source.ts'
import { Subscription, type Said, type Snapshot, type SubscribeOptions } from './subscription.ts'
import type { Topic } from './active-channel.ts'

/** What a channel holds, and the id that stands for all of it. */
export interface ChannelHead extends LogHead {
  /** The position after the newest event: who subscribes `after` it gets what comes next. */
  id: string
}

/** What a channel is fed by. The function form is called once, when the channel has no producer yet. */
export type Production<E> = ((context: ProductionContext) => EventSequence<E> | Promise<EventSequence<E>>) | EventSequence<E>

/** What a map or a snapshot makes. */
interface Made<N extends string> { event?: N | undefined, data: unknown }

/** Where a channel finds what lives under its name. */
export interface Place {
  find: () => Topic | undefined
  /** Makes it where there is none; undefined when the server is closing. Throws FST_SSE_CHANNEL_OPTIONS where the name is another channel's by now. */
  get: () => Topic | undefined
  /** What a caller was refused, for those who do not look at the promise. */
  refused: (call: string, error: unknown) => void
}

/**
 * A named, bounded, ordered sequence of events that many streams follow. It is a name for what lives under it:
 * an idle channel leaves memory, and comes back when it is used.
 */
export class Channel<M extends EventMap = EventMap> implements Followable<EventOf<M>> {
  readonly name: string
  declare readonly [kEvents]?: EventOf<M>
  readonly #place: Place
  #known: Topic | undefined
  readonly #start: 'newest' | 'oldest'
  readonly #all: Subscription<EventOf<M>>

  constructor (name: string, start: 'newest' | 'oldest', place: Place) {
    this.name = name
    this.#place = place
    this.#start = start
    this.#all = new Subscription(() => this.#topic.feed, start, {})
  }

  get #living (): Topic | undefined {
    if (this.#known?.open !== true) this.#known = this.#place.get()
    return this.#known
  }

  get #topic (): Topic {
    const topic = this.#living
    if (topic === undefined) throw new FST_SSE_CLOSING()
    return topic
  }

  /** How many follow it in this process. */
  get subscribers (): number { return this.#place.find()?.feed.readers ?? 0 }

  get [kSubscribed] (): unknown { return this.#all[kSubscribed] }

  /**
   * Checks the event, writes it and hands it to all who follow. Resolves to its id when the log has it; never waits for a subscriber.
   * An event that does not fit is refused with the code that `reply.sse` has for it, FST_SSE_PUBLISH or FST_SSE_CHANNEL_ENDED, and reaches nobody.
   */
  publish (event: PublishedOf<M>): Promise<string> {
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
  consume (source: Production<PublishedOf<M>>): Promise<void> {
    try {
      // A mistake in the call is no failure of the producer: the channel goes on.
      if (source instanceof Channel) throw new FST_SSE_SOURCE('a channel where a producer belongs: read it with a loop over subscribe()')
      if (!isSource(source)) throw new FST_SSE_SOURCE(shown(source))
      return this.#topic.consume(source)
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
  async head (): Promise<ChannelHead> {
    const head = await this.#topic.head()
    return { ...head, id: idOf({ epoch: head.epoch, offset: head.newest }) }
  }

  /**
   * Another way to follow it than from the newest, or from where the client was: for `reply.sse`, or for a loop in this process,
   * which ends without an error when the channel ends, the signal aborts or the server closes.
   */
  subscribe (options?: SubscribeOptions<ReceivedOf<M>, PublishedOf<M>> & { map?: undefined }): Subscription<EventOf<M>, ReceivedOf<M> | SystemReceived<M>>
  // The names are types of their own, so that `{ event: 'size' }` in a map stays that and does not become any string.
  subscribe<N extends string, T extends Made<N>, O extends string, S extends Snapshot<Made<O>> | Promise<Snapshot<Made<O>>> = never> (
    options: Omit<SubscribeOptions<ReceivedOf<M>, T>, 'map' | 'snapshot'> & { map: (event: ReceivedOf<M>) => T | null | undefined, snapshot?: (() => S) | undefined }
  ): Subscription<T | Said<S>, ((T | Said<S>) & { id: string }) | SystemReceived<M>>
  // Options that were made elsewhere, of which nobody says here whether there is a map.
  subscribe (options: SubscribeOptions<ReceivedOf<M>, PublishedOf<M>>): Subscription<EventOf<M>, ReceivedOf<M> | SystemReceived<M>>
  subscribe (options: object = {}): Subscription<unknown> {
    return new Subscription(() => this.#topic.feed, this.#start, options)
  }

  async #end (): Promise<void> {
    await this.#living?.end()
  }

  /** Who does not wait for the answer is not ended by it, and finds it in the log. */
  #heard<T> (call: string, answer: Promise<T>): Promise<T> {
    answer.catch(error => this.#place.refused(call, error))
    return answer
  }
}

/** A channel of any events, for those who only look after it. */
export type AnyChannel = Pick<Channel, 'name' | 'subscribers' | 'head' | 'end'> & Followable<AnyEvent>

const idOf = ({ epoch, offset }: LogPosition): string => `${epoch}-${offset}`
