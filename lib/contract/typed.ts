import { FST_SSE_MAP, FST_SSE_OPTION, describe } from '../errors.ts'
import { isOptions } from '../validate-options.ts'
import type { DataOf } from './data-type.ts'
import type { EventMap, Position } from './event-types.ts'

/** A function for each event of a map, by name. It returns the event with this data, and with a position if given. */
export type Typed<M extends EventMap> = {
  readonly [K in keyof M & string]: {
    (data: DataOf<M[K]>): { event: K, data: DataOf<M[K]> }
    (data: DataOf<M[K]>, position: Position): { event: K, data: DataOf<M[K]> } & Position
  }
}

/**
 * Returns a function for each event of a map: after `const event = typed(events)`, `event.paid({ id })` is
 * `{ event: 'paid', data: { id } }` with its literal name, also in a generator without a declared type. A second
 * argument has the fields `id` and `retry`. It checks types only: the route or the channel checks the data. Throws
 * FST_SSE_MAP for a value that is no map.
 */
export function typed<const M extends EventMap> (map: M): Typed<M> {
  if (!isOptions(map)) throw new FST_SSE_MAP('typed()', `got ${describe(map)}`)
  // Without a prototype: an event may have any name.
  const events: Record<string, unknown> = Object.create(null)
  for (const event of Object.keys(map)) {
    events[event] = (data: unknown, position?: Position) => {
      if (position === undefined) return { event, data }
      if (!isOptions(position)) throw new FST_SSE_OPTION('position', 'an object { id, retry }', describe(position))
      return { ...position, event, data }
    }
  }
  return events as Typed<M>
}
