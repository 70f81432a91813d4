import type { DecodedEvent } from './frame-batch.ts'
import { FST_SSE_EVENT, FST_SSE_OPTION, describe } from '../errors.ts'
import { checkEvent } from '../contract/contract.ts'
import { isPlainObject } from '../contract/event-fields.ts'
import { Scope } from '../scope.ts'
import { catchRejection, isThenable } from '../source/source.ts'

/** How one subscriber wants to read a channel. */
export interface Projection {
  filter: ((event: DecodedEvent) => unknown) | undefined
  /** Undefined or null: left out. */
  map: ((event: DecodedEvent) => unknown) | undefined
  /** The state of things, for those who have none: one event, or several, of which the last may bring its own position. */
  snapshot: (() => unknown) | undefined
  start: 'latest' | 'earliest'
}

/** The same selection, whose functions run in the subscriber's scope, and not in the publisher's. */
export function scoped (selection: Projection): Projection {
  const { filter, map, snapshot, start } = selection
  if ((filter ?? map ?? snapshot) === undefined) return selection
  const scope = new Scope()
  return {
    filter: filter && (event => scope.runInAsyncScope(filter, undefined, event)),
    map: map && (event => scope.runInAsyncScope(map, undefined, event)),
    snapshot: snapshot && (() => scope.runInAsyncScope(snapshot)),
    start
  }
}

/**
 * The event as this subscriber gets it; nothing when it is not for this one.
 * A promise would let everything through, or nothing: what is no answer is refused.
 */
export function choose (event: DecodedEvent, { filter, map }: Projection): unknown {
  const chosen = filter === undefined ? true : filter(event)
  if (typeof chosen !== 'boolean') throw refused('filter', 'a function that returns true or false', chosen)
  if (!chosen || map === undefined) return chosen ? event : undefined
  const mapped = map(event)
  if (isThenable(mapped)) throw refused('map', 'a function that returns an event or undefined', mapped)
  return mapped
}

/** The key of an event, for a channel that gives slow readers the latest of each. */
export function keyOf (event: DecodedEvent, latest: (event: DecodedEvent) => unknown): unknown {
  const key = latest(event)
  if (isThenable(key)) throw refused('slowConsumer.compactBy', 'a function that returns a key', key)
  return key
}

function refused (option: string, expected: string, answer: unknown): Error {
  // A function that is async by mistake: its rejection must not end the process.
  catchRejection(answer)
  return new FST_SSE_OPTION(option, expected, `one that returns ${isThenable(answer) ? 'a promise' : describe(answer)}`)
}

const FIELDS = ['event', 'data', 'comment', 'retry']

/** An event of the user's making, with a position in place of its own. That alone makes no event of what is none: payload without its envelope, say. */
export function placed (event: unknown, id: string | undefined): unknown {
  if (typeof event !== 'object' || event === null) return event
  const plain = isPlainObject(event)
  const empty = plain && Object.keys(event).length === 0
  if (!empty && !FIELDS.some(field => field in event)) throw new FST_SSE_EVENT(describe(checkEvent(event)))
  if (plain) return { ...event, id }
  // A spread leaves out the getters of a class.
  const { event: name, data, retry, comment } = checkEvent(event)
  return { ...event, event: name, data, retry, comment, id }
}
