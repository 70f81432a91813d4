import type { DecodedEvent } from './frame-batch.ts'
import { FST_SSE_EVENT, FST_SSE_OPTION, describe } from '../errors.ts'
import { checkEvent } from '../contract/contract.ts'
import { isPlainObject } from '../contract/event-fields.ts'
import { Scope } from '../scope.ts'
import { catchRejection, isThenable } from '../source/source.ts'

/** The options with which one subscriber reads a channel. */
export interface Projection {
  filter: ((event: DecodedEvent) => unknown) | undefined
  /** Returns undefined or null to drop the event. */
  map: ((event: DecodedEvent) => unknown) | undefined
  /** Returns the state for a new subscriber: one event or several, of which the last may have its own position. */
  snapshot: (() => unknown) | undefined
  start: 'latest' | 'earliest'
}

/** Returns the same projection with functions that run in the subscriber's scope, not in the publisher's. */
export function bindToScope (projection: Projection): Projection {
  const { filter, map, snapshot, start } = projection
  if ((filter ?? map ?? snapshot) === undefined) return projection
  const scope = new Scope()
  return {
    filter: filter && (event => scope.runInAsyncScope(filter, undefined, event)),
    map: map && (event => scope.runInAsyncScope(map, undefined, event)),
    snapshot: snapshot && (() => scope.runInAsyncScope(snapshot)),
    start
  }
}

/**
 * Returns the event for this subscriber; undefined or null if it is dropped. Throws FST_SSE_OPTION if a function
 * returns a promise: an async filter would accept every event, or none.
 */
export function project (event: DecodedEvent, { filter, map }: Projection): unknown {
  const chosen = filter === undefined ? true : filter(event)
  if (typeof chosen !== 'boolean') throw invalidAnswer('filter', 'a function that returns true or false', chosen)
  if (!chosen || map === undefined) return chosen ? event : undefined
  const mapped = map(event)
  if (isThenable(mapped)) throw invalidAnswer('map', 'a function that returns an event or undefined', mapped)
  return mapped
}

/** Returns the key of an event. Throws FST_SSE_OPTION for a promise. `option`: the name of the function. */
export function keyOf (event: DecodedEvent, key: (event: DecodedEvent) => unknown, option: string): unknown {
  const value = key(event)
  if (isThenable(value)) throw invalidAnswer(option, 'a function that returns a key', value)
  return value
}

function invalidAnswer (option: string, expected: string, answer: unknown): Error {
  // A function may be async by mistake: its rejection must not end the process.
  catchRejection(answer)
  return new FST_SSE_OPTION(option, expected, `one that returns ${isThenable(answer) ? 'a promise' : describe(answer)}`)
}

const EVENT_FIELDS = ['event', 'data', 'comment', 'retry']

/**
 * Returns an event of the user with its `id` replaced by a position. Throws FST_SSE_EVENT for a value that is no event,
 * such as a payload without its envelope: the id alone would make it look like one.
 */
export function withPosition (event: unknown, id: string | number | undefined): unknown {
  if (typeof event !== 'object' || event === null) return event
  const plain = isPlainObject(event)
  const empty = plain && Object.keys(event).length === 0
  if (!empty && !EVENT_FIELDS.some(field => field in event)) throw new FST_SSE_EVENT(describe(checkEvent(event)))
  if (plain) {
    // The id is first: V8 makes a hidden class for each object with a new property after a spread.
    const positioned: { id: unknown } = { id, ...event }
    positioned.id = id
    return positioned
  }
  // A spread omits the getters of a class.
  const { event: name, data, retry, comment } = checkEvent(event)
  return { ...event, event: name, data, retry, comment, id }
}
