import {
  evaluateSource, isThenable, iterate, type EventIterator, type EventSequence, type PublishContext,
  type SourceContext
} from './source.ts'

/** A function that returns a source of events. */
type SourceFunction<C, E> = (context: C) => Promise<AsyncIterable<E>>

/**
 * Converts the chunks of any source to events, such as the answer of a language model or the rows of a database. Each
 * chunk becomes `{ data: chunk }`, or `{ event, data: chunk }` if `event` is set. The source is an iterable, an async
 * iterable, a readable stream of Node or the web, or a function that returns one. The stream reads it no faster than
 * the client, and stops it as soon as the client disconnects. FST_SSE_SOURCE, at the first read, for any other value.
 */
export function asData<T> (source: EventSequence<T>): AsyncIterable<{ data: T }>
export function asData<T, N extends string> (source: EventSequence<T>, event: N): AsyncIterable<{ event: N, data: T }>
export function asData<T, C extends PublishContext = SourceContext> (
  source: (context: C) => EventSequence<T> | Promise<EventSequence<T>>
): SourceFunction<C, { data: T }>
export function asData<T, N extends string, C extends PublishContext = SourceContext> (
  source: (context: C) => EventSequence<T> | Promise<EventSequence<T>>,
  event: N
): SourceFunction<C, { event: N, data: T }>
export function asData (source: unknown, event?: string): unknown {
  return converted(source, data => event === undefined ? { data } : { event, data })
}

/** The event of a chunk that has its name in `type`. */
type NamedChunk<T> = T extends { readonly type: infer N extends string } ? { event: N, data: T } : never

/**
 * Converts the chunks of any source to events with the name that each chunk has in `type`, for a protocol that repeats
 * the name in the data: the chunk `{ type: 'start', id }` becomes `{ event: 'start', data: { type: 'start', id } }`.
 * The sources are those of `asData`. A chunk without a name is an invalid event: FST_SSE_FIELD.
 */
// The name is a type parameter, so that a chunk of a generator keeps the literal type of its name.
export function named<N extends string, T extends { readonly type: N }> (
  source: EventSequence<T>
): AsyncIterable<NamedChunk<T>>
export function named<N extends string, T extends { readonly type: N }, C extends PublishContext = SourceContext> (
  source: (context: C) => EventSequence<T> | Promise<EventSequence<T>>
): SourceFunction<C, NamedChunk<T>>
export function named (source: unknown): unknown {
  return converted(source, data => ({ event: nameOf(data), data }))
}

/** Returns the name of a chunk; null, which is no name, if the chunk has none: undefined would be `message`. */
const nameOf = (chunk: unknown): unknown => (chunk as { type?: unknown } | null | undefined)?.type || null

type ToEvent = (chunk: unknown) => unknown

function converted (source: unknown, toEvent: ToEvent): unknown {
  if (typeof source === 'function') {
    return async (context: PublishContext) => converted(await evaluateSource(source, context), toEvent)
  }
  return { [Symbol.asyncIterator]: () => events(iterate(source), toEvent) }
}

type ChunkStep = IteratorResult<unknown>

function events (chunks: EventIterator, convert: ToEvent): EventIterator {
  const toEvent = (step: ChunkStep): ChunkStep =>
    step.done === true ? step : { done: false, value: convert(step.value) }
  const mapped = (step: ChunkStep | Promise<ChunkStep>): ChunkStep | Promise<ChunkStep> =>
    isThenable(step) ? step.then(toEvent) : toEvent(step)
  // Not a generator: a generator would queue return() behind the pending read.
  return {
    next: () => mapped(chunks.next()),
    throw: chunks.throw === undefined ? undefined : error => mapped(chunks.throw!(error)),
    return: () => chunks.return?.()
  }
}
