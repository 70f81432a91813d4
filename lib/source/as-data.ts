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
  if (typeof source === 'function') {
    return async (context: PublishContext) =>
      asData(await evaluateSource(source, context) as EventSequence<unknown>, event!)
  }
  return { [Symbol.asyncIterator]: () => events(iterate(source), event) }
}

type ChunkStep = IteratorResult<unknown>

function events (chunks: EventIterator, event: string | undefined): EventIterator {
  const toEvent = (step: ChunkStep): ChunkStep =>
    step.done === true
      ? step
      : { done: false, value: event === undefined ? { data: step.value } : { event, data: step.value } }
  const mapped = (step: ChunkStep | Promise<ChunkStep>): ChunkStep | Promise<ChunkStep> =>
    isThenable(step) ? step.then(toEvent) : toEvent(step)
  // Not a generator: a generator would queue return() behind the pending read.
  return {
    next: () => mapped(chunks.next()),
    throw: chunks.throw === undefined ? undefined : error => mapped(chunks.throw!(error)),
    return: () => chunks.return?.()
  }
}
