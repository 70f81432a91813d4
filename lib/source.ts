import type { Readable } from 'node:stream'
import type { ReadableStream as NodeReadableStream } from 'node:stream/web'
import { FST_SSE_SOURCE, shown } from './errors.ts'

/** What the function form of a source is given. */
export interface SourceContext {
  /** Aborts when the stream's life is over. */
  readonly signal: AbortSignal
  /** Where a returning client stopped. */
  readonly lastEventId: string | undefined
}

/** What can be iterated for events. */
// In this order: the compiler explains a wrong event by the last of these.
export type EventSequence<E> = ReadableStream<E> | NodeReadableStream<E> | Iterable<E> | AsyncIterable<E>

/** What `reply.sse` takes. The function form is called once, when the stream starts, and gets the signal at hand. */
export type SseSource<E> = EventSequence<E> | ((context: SourceContext) => EventSequence<E> | Promise<EventSequence<E>>)

/** One way to read them all. `next` may answer at once, without a promise. */
export interface EventIterator {
  next: () => IteratorResult<unknown> | Promise<IteratorResult<unknown>>
  /** Hands an error into the generator at its `yield`; only generators have it. */
  throw?: ((error: unknown) => IteratorResult<unknown> | Promise<IteratorResult<unknown>>) | undefined
  /** Stops the source for good, also while a `next` is pending. */
  return?: (() => unknown) | undefined
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null
const has = (value: object, key: PropertyKey): boolean => typeof (value as Record<PropertyKey, unknown>)[key] === 'function'

// By shape: a stream of another copy of the streams library is one too.
const isReadable = (value: object): value is Readable => has(value, 'pipe') && has(value, 'destroy') && has(value, Symbol.asyncIterator)

/** The iterator of a source; for the function form, of what the function gives. */
export function iterate (source: unknown, context: SourceContext): EventIterator | Promise<EventIterator> {
  const given: unknown = typeof source === 'function' ? source(context) : source
  if (isObject(given) && has(given, 'then')) return Promise.resolve(given).then(iterateSequence)
  return iterateSequence(given)
}

function iterateSequence (source: unknown): EventIterator {
  if (isObject(source)) {
    // Streams are not read through their async iterators: those queue a return() behind the pending read.
    if (isReadable(source)) return iterateReadable(source)
    if (has(source, 'getReader')) return iterateWebStream(source as ReadableStream<unknown>)
    const how = has(source, Symbol.asyncIterator) ? Symbol.asyncIterator : Symbol.iterator
    const iterator: unknown = has(source, how) ? (source as Record<symbol, () => unknown>)[how]!() : undefined
    if (isObject(iterator) && has(iterator, 'next')) return iterator as EventIterator
  }
  throw new FST_SSE_SOURCE(shown(source))
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
  if (isObject(source) && has(source, 'then')) {
    Promise.resolve(source).then(dispose, () => {})
    return
  }
  try {
    Promise.resolve(iterateSequence(source).return?.()).catch(() => {})
  } catch {
    // No source at all, or one that somebody else reads.
  }
}
