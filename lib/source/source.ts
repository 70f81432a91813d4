import type { Readable } from 'node:stream'
import type { ReadableStream as NodeReadableStream } from 'node:stream/web'
import { FST_SSE_SOURCE, describe } from '../errors.ts'

/** What the function form of a channel's source is given. */
export interface PublishContext {
  /** Aborts when the life of what it feeds is over. */
  readonly signal: AbortSignal
  /** Where a returning client stopped. */
  readonly lastEventId: string | undefined
}

/** What the function form of a stream's source is given. */
export interface SourceContext extends PublishContext {
  /** Aborts when the server begins to close. A stream with `onShutdown: 'drain'` goes on; any other has its end soon. */
  readonly shutdownSignal: AbortSignal
}

/**
 * That of a stream, whose life makes a signal when it is asked for one. The getter is the class's: V8 puts an object's own among what lives
 * long, and there it would hold everything of this stream, long done, until the next full collection.
 */
export class StreamContext implements SourceContext {
  readonly shutdownSignal: AbortSignal
  readonly lastEventId: string | undefined
  readonly #lifecycle: Pick<SourceContext, 'signal'>

  constructor (lifecycle: Pick<SourceContext, 'signal'>, shutdownSignal: AbortSignal, lastEventId: string | undefined) {
    this.#lifecycle = lifecycle
    this.shutdownSignal = shutdownSignal
    this.lastEventId = lastEventId
  }

  get signal (): AbortSignal { return this.#lifecycle.signal }
}

/** How a thing is followed that writes its frames itself, once for all its readers: a channel. */
export const kSubscribed = Symbol('fastify-typed-sse.subscribed')
export declare const kEvents: unique symbol

/** A channel, or a subscription to one. */
export interface ChannelSource<E> {
  readonly [kSubscribed]: unknown
  /** For the compiler alone: what comes of it. */
  readonly [kEvents]?: E
}

/** A channel that a stream follows, and how many events it is behind. */
export interface ChannelLag { readonly channel: string, readonly lag: number }

/** What feeds a stream. */
export interface SourceDriver {
  /** Whether it is known that something is to come. */
  readonly hasAnswer: boolean
  /** The stream has room again. */
  pull: () => void
  /** The event just taken is no good. */
  refuse: (error: Error) => void
  /** What was published before now is to be with the stream. */
  flush?: () => void
  /** The stream is over. */
  stop: () => void
  /** Where a client that leaves now comes back, when the driver knows better than its last event. */
  readonly lastEventId?: string | undefined
  /** Where it is in the channels that it follows. */
  readonly channelLags?: ChannelLag[]
  /** A frame with the position, when that has moved without an event; else nothing. */
  checkpoint?: () => string
  /** Called at each beat of the shared timer, at least once a second. */
  tick?: (now: number) => void
}

/** What can be iterated for events. */
// In this order: the compiler explains a wrong event by the last of these.
export type EventSequence<E> = ReadableStream<E> | NodeReadableStream<E> | Iterable<E> | AsyncIterable<E>

/** What `reply.sse` takes. The function form is called once, when the stream starts, and gets the signal at hand. */
export type SseSource<E> = SourceValue<E> | ((context: SourceContext) => SourceValue<E> | Promise<SourceValue<E>>)

type SourceValue<E> = ChannelSource<E> | ReadonlyArray<ChannelSource<E>> | EventSequence<E>

/** One way to read them all. `next` may answer at once, without a promise. */
export interface EventIterator {
  next: () => IteratorResult<unknown> | Promise<IteratorResult<unknown>>
  /** Hands an error into the generator at its `yield`; only generators have it. */
  throw?: ((error: unknown) => IteratorResult<unknown> | Promise<IteratorResult<unknown>>) | undefined
  /** Stops the source for good, also while a `next` is pending. */
  return?: (() => unknown) | undefined
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null
/** False for a value that cannot be read: a revoked proxy, a getter that throws. */
const hasMethod = (value: object, key: PropertyKey): boolean => {
  try {
    return typeof (value as Record<PropertyKey, unknown>)[key] === 'function'
  } catch {
    return false
  }
}

// By shape: a stream of another copy of the streams library is one too.
const isNodeReadable = (value: object): value is Readable => hasMethod(value, 'pipe') && hasMethod(value, 'destroy') && hasMethod(value, Symbol.asyncIterator)

function isChannelSource (value: unknown): value is ChannelSource<unknown> {
  try {
    return isObject(value) && kSubscribed in value
  } catch {
    return false
  }
}

/** What is given for a source; for the function form, what the function gives. */
export function evaluateSource (source: unknown, context: PublishContext): unknown {
  const value: unknown = typeof source === 'function' ? source(context) : source
  return isThenable(value) ? Promise.resolve(value) : value
}

/** A promise of this realm or another, or the query of a database client. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> => isObject(value) && hasMethod(value, 'then')

/** A promise in place of a value, by mistake: its rejection is reported, and ends no process. */
export function onRejection (answer: unknown, rejected: (error: unknown) => void = () => {}): void {
  if (isThenable(answer)) Promise.resolve(answer).catch(rejected)
}

/** Whether it looks like something that can be read event by event. */
export function isSource (value: unknown): boolean {
  return typeof value === 'function' || (isObject(value) && ['then', 'getReader', Symbol.asyncIterator, Symbol.iterator].some(name => hasMethod(value, name)))
}

/** The channels of a source; undefined for one that is read event by event. FST_SSE_SOURCE for an array of both. */
export function asChannelSources (source: unknown): Array<ChannelSource<unknown>> | undefined {
  if (isChannelSource(source)) return [source]
  if (!Array.isArray(source) || !source.some(isChannelSource)) return undefined
  if (source.every(isChannelSource)) return source
  throw new FST_SSE_SOURCE('an array of channels and other things')
}

/** The iterator of what was given. */
export function iterate (source: unknown): EventIterator {
  if (isObject(source)) {
    // Streams are not read through their async iterators: those queue a return() behind the pending read.
    if (isNodeReadable(source)) return iterateReadable(source)
    if (hasMethod(source, 'getReader')) return iterateWebStream(source as ReadableStream<unknown>)
    const how = hasMethod(source, Symbol.asyncIterator) ? Symbol.asyncIterator : Symbol.iterator
    const iterator: unknown = hasMethod(source, how) ? (source as Record<symbol, () => unknown>)[how]!() : undefined
    if (isObject(iterator) && hasMethod(iterator, 'next')) return iterator as EventIterator
  }
  throw new FST_SSE_SOURCE(describe(source))
}

function iterateReadable (stream: Readable): EventIterator {
  const iterator = stream[Symbol.asyncIterator]()
  return {
    next: () => iterator.next(),
    return: () => {
      // An iterator that never ran does not listen: a file that cannot be opened would end the process.
      stream.on?.('error', () => {})
      stream.destroy()
    }
  }
}

function iterateWebStream (stream: ReadableStream<unknown>): EventIterator {
  const reader = stream.getReader()
  return {
    next: () => reader.read() as Promise<IteratorResult<unknown>>,
    return: () => reader.cancel()
  }
}

/** Lets go of a source that will not be read: a stream has a handle to close, a queue a producer to stop. No generator's body runs. */
export function dispose (source: unknown): void {
  if (typeof source === 'function') return
  if (isThenable(source)) {
    Promise.resolve(source).then(dispose, () => {})
    return
  }
  try {
    Promise.resolve(iterate(source).return?.()).catch(() => {})
  } catch {
    // No source at all, or one that somebody else reads.
  }
}
