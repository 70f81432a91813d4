import { evaluateSource, iterate, type EventIterator, type PublishContext } from '../source/source.ts'
import { toError } from '../thrown-value.ts'

/** Converts the chunks of one reading of a source. */
export interface Conversion {
  /** Returns the events of a chunk. */
  chunk: (chunk: unknown) => unknown[]
  /** Returns the events after the last chunk. */
  end?: () => unknown[]
  /** Called when the source fails. `rejected`: the last event is invalid, and was not sent. */
  failed?: (error: Error, rejected: boolean) => void
}

type Step = ReturnType<EventIterator['next']>

/**
 * Converts the chunks of any source to events, as `asData` does. `start` is called for each reading of the source. A
 * chunk may become several events, or none.
 */
export function convert (source: unknown, start: () => Conversion): unknown {
  if (typeof source === 'function') {
    return async (context: PublishContext) => convert(await evaluateSource(source, context), start)
  }
  return { [Symbol.asyncIterator]: () => converted(iterate(source), start()) }
}

function converted (chunks: EventIterator, { chunk, end, failed }: Conversion): EventIterator {
  const ready: unknown[] = []
  let over = false
  const next = (): Step => chunks.next()
  const step = async (first: () => Step, rejected: boolean): Promise<IteratorResult<unknown>> => {
    try {
      for (let read = first; ready.length === 0; read = next) {
        if (over && read === next) return { done: true, value: undefined }
        const result = await read()
        over = result.done === true
        ready.push(...(over ? end?.() ?? [] : chunk(result.value)))
      }
      return { done: false, value: ready.shift() }
    } catch (thrown) {
      const error = toError(thrown)
      failed?.(error, rejected)
      throw error
    }
  }
  // Not a generator: a generator would queue return() behind the pending read.
  return {
    next: () => step(next, false),
    throw: error => {
      ready.length = 0
      return step(() => {
        if (!over && chunks.throw !== undefined) return chunks.throw(error)
        chunks.return?.()
        throw error
      }, true)
    },
    return: () => chunks.return?.()
  }
}
