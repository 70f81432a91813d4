import type { Readable } from 'node:stream'
import type { ReadableStream as NodeReadableStream } from 'node:stream/web'
import { FST_SSE_SOURCE, describe } from '../errors.ts'

/** The argument of a function source of a channel, `channel.publishFrom(context => …)`. */
export interface PublishContext {
  /** Aborts when the source must stop. Of a stream, the `reason` of the signal is a StreamClosedError. */
  readonly signal: AbortSignal
  /** The last event id of the client, decoded. undefined for a new client, and for the source of a channel. */
  readonly lastEventId: string | undefined
}

/** The argument of a function source of a stream, `reply.sse(context => …)`. */
export interface SourceContext extends PublishContext {
  /** Aborts when the server starts to close. A stream with `onShutdown: 'drain'` may continue; any other ends soon. */
  readonly shutdownSignal: AbortSignal
}

/**
 * The SourceContext of a stream. It reads the signal only when the source uses it. The getter is on the class: V8 moves
 * an object with its own getter to the old generation, where it would keep a closed stream alive until the next full
 * garbage collection.
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

/** Marks a channel or a subscription. Its value resolves the subscription. */
export const kSubscribed = Symbol('fastify-typed-sse.subscribed')
export declare const kEvents: unique symbol

/** A channel, or a subscription to one. */
export interface ChannelSource<E> {
  readonly [kSubscribed]: unknown
  /** For the compiler only: the type of its events. */
  readonly [kEvents]?: E
  /** For the compiler only: tells a channel from an event, so that a message names the wrong field of an event. */
  readonly event?: undefined
}

/** In place of a channel that does not exist: a stream of it alone is answered with 204. */
export const noChannel: ChannelSource<never> = { [kSubscribed]: undefined }

/** A channel of a stream, and the number of events that the stream is behind its end. */
export interface ChannelLag { readonly channel: string, readonly lag: number }

/** Drives a source for a stream: a pump, or a subscriber of channels. */
export interface SourceDriver {
  /** Whether it is certain that the stream has a body. A resuming client may have to get 204 instead. */
  readonly hasAnswer: boolean
  /** Continues after the stream had no room. */
  pull: () => void
  /** Rejects the last event. */
  rejectEvent: (error: Error) => void
  /** Called when the head of the stream is sent. Does not throw. */
  opened?: () => void
  /** Delivers all events that were published before now. */
  flush?: () => void
  /** Stops the source: the stream has ended. */
  stop: () => void
  /** The event id from which the client resumes, if the driver knows a later one than the id of the last event. */
  readonly lastEventId?: string | undefined
  /** Whether all channels have the option `compress`. */
  readonly compress?: boolean
  /** Whether other streams receive the same frames, except for a few. */
  readonly sharesFrames?: boolean
  /** The lag in each channel. */
  readonly channelLags?: ChannelLag[]
  /** Returns a frame with the position if it has moved without an event, else an empty string. */
  checkpoint?: () => string
  /** Called at each tick of the shared timer, at least once a second. */
  tick?: (now: number) => void
}

/** A source that is read event by event. */
export type EventSequence<E> = ReadableStream<E> | NodeReadableStream<E> | Iterable<E> | AsyncIterable<E>

/**
 * The source of `reply.sse`: an iterable, an async iterable, a readable stream of Node or the web, an EventQueue, a
 * channel or a list of channels, or a function that returns one of these. The function is called once, when the stream
 * opens.
 */
export type SseSource<E> = SourceValue<E> | ((context: SourceContext) => SourceValue<E> | Promise<SourceValue<E>>)

type SourceValue<E> = ChannelSource<E> | ReadonlyArray<E | ChannelSource<E>> | EventSequence<E>

/** The common iterator of all sources. `next` may return a result without a promise. */
export interface EventIterator {
  next: () => IteratorResult<unknown> | Promise<IteratorResult<unknown>>
  /** Throws an error into the generator at its `yield`. Only generators have it. */
  throw?: ((error: unknown) => IteratorResult<unknown> | Promise<IteratorResult<unknown>>) | undefined
  /** Stops the source, also while a `next` is pending. */
  return?: (() => unknown) | undefined
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null
/** Whether a value has this method. False for a value that cannot be read: a revoked proxy, a getter that throws. */
const hasMethod = (value: object, key: PropertyKey): boolean => {
  try {
    return typeof (value as Record<PropertyKey, unknown>)[key] === 'function'
  } catch {
    return false
  }
}

// By shape: a stream of another copy of the streams library is readable too.
const isNodeReadable = (value: object): value is Readable =>
  hasMethod(value, 'pipe') && hasMethod(value, 'destroy') && hasMethod(value, Symbol.asyncIterator)

function isChannelSource (value: unknown): value is ChannelSource<unknown> {
  try {
    return isObject(value) && kSubscribed in value
  } catch {
    return false
  }
}

/** Returns a source, or a promise of it. Calls a function source. */
export function evaluateSource (source: unknown, context: PublishContext): unknown {
  const value: unknown = typeof source === 'function' ? source(context) : source
  return isThenable(value) ? Promise.resolve(value) : value
}

/** Whether a value has a `then` method: a promise of any realm, or the query of a database client. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> => isObject(value) && hasMethod(value, 'then')

/** Handles the rejection of a promise that a function returned by mistake: unhandled, it would end the process. */
export function catchRejection (result: unknown, onError: (error: unknown) => void = () => {}): void {
  if (isThenable(result)) Promise.resolve(result).catch(onError)
}

/** Whether a value has the shape of a source that is read event by event. */
export function isSource (value: unknown): boolean {
  return typeof value === 'function' ||
    (isObject(value) &&
      ['then', 'getReader', Symbol.asyncIterator, Symbol.iterator].some(name => hasMethod(value, name)))
}

/**
 * Returns the channels of a source, or undefined for a source that is read event by event. FST_SSE_SOURCE for an array
 * of channels and other values.
 */
export function asChannelSources (source: unknown): Array<ChannelSource<unknown>> | undefined {
  if (isChannelSource(source)) return [source]
  if (!Array.isArray(source) || !source.some(isChannelSource)) return undefined
  if (source.every(isChannelSource)) return source
  throw new FST_SSE_SOURCE('an array of channels and other values')
}

/** Returns the iterator of a source. FST_SSE_SOURCE for any other value. */
export function iterate (source: unknown): EventIterator {
  if (isObject(source)) {
    // Streams are not read through their async iterators: those queue a return() behind the pending read.
    if (isNodeReadable(source)) return iterateReadable(source)
    if (hasMethod(source, 'getReader')) return iterateWebStream(source as ReadableStream<unknown>)
    const key = hasMethod(source, Symbol.asyncIterator) ? Symbol.asyncIterator : Symbol.iterator
    const iterator: unknown = hasMethod(source, key) ? (source as Record<symbol, () => unknown>)[key]!() : undefined
    if (isObject(iterator) && hasMethod(iterator, 'next')) return iterator as EventIterator
  }
  throw new FST_SSE_SOURCE(describe(source))
}

function iterateReadable (stream: Readable): EventIterator {
  const iterator = stream[Symbol.asyncIterator]()
  return {
    next: () => iterator.next(),
    return: () => {
      // An iterator that has not started has no error listener: a file that cannot be opened would end the process.
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

/**
 * Releases a source that will not be read: a stream has a handle to close, a queue has a producer to stop. No generator
 * body runs.
 */
export function dispose (source: unknown): void {
  if (typeof source === 'function') return
  if (isThenable(source)) {
    Promise.resolve(source).then(dispose, () => {})
    return
  }
  try {
    Promise.resolve(iterate(source).return?.()).catch(() => {})
  } catch {
    // Not a source, or one with another reader.
  }
}
