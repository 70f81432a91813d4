import { evaluateSource, isThenable, iterate, type EventIterator, type EventSequence, type PublishContext, type SourceContext } from './source.ts'

/** A function source of events. */
type SourceFunction<C, E> = (context: C) => Promise<AsyncIterable<E>>

/**
 * Makes events of the chunks of any source, such as the answer of a language model or the rows of a database: `{ data:
 * chunk }`, with the name `event` where one is given. The source is an iterable, an async iterable, a readable stream
 * of Node or the web, or a function that makes one. The stream reads it when the client takes events, and stops it at
 * once at its end. FST_SSE_SOURCE, at the first read, for anything else.
 */
export function asData<T> (source: EventSequence<T>): AsyncIterable<{ data: T }>
export function asData<T, N extends string> (source: EventSequence<T>, event: N): AsyncIterable<{ event: N, data: T }>
export function asData<T, C extends PublishContext = SourceContext> (source: (context: C) => EventSequence<T> | Promise<EventSequence<T>>): SourceFunction<C, { data: T }>
export function asData<T, N extends string, C extends PublishContext = SourceContext> (source: (context: C) => EventSequence<T> | Promise<EventSequence<T>>, event: N): SourceFunction<C, { event: N, data: T }>
export function asData (source: unknown, event?: string): unknown {
  if (typeof source === 'function') return async (context: PublishContext) => asData(await evaluateSource(source, context) as EventSequence<unknown>, event!)
  return { [Symbol.asyncIterator]: () => events(iterate(source), event) }
}

type Step = IteratorResult<unknown>

function events (chunks: EventIterator, event: string | undefined): EventIterator {
  const asEvent = (step: Step): Step => step.done === true ? step : { done: false, value: event === undefined ? { data: step.value } : { event, data: step.value } }
  const mapped = (step: Step | Promise<Step>): Step | Promise<Step> => isThenable(step) ? step.then(asEvent) : asEvent(step)
  // Not a generator: a generator would queue the end behind the pending read.
  return {
    next: () => mapped(chunks.next()),
    throw: chunks.throw === undefined ? undefined : error => mapped(chunks.throw!(error)),
    return: () => chunks.return?.()
  }
}
