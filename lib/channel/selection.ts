import type { Received } from './chunk.ts'
import { FST_SSE_EVENT, FST_SSE_OPTION, shown } from '../errors.ts'
import { asEvent } from '../events.ts'
import { isPlain } from '../foreign.ts'
import { Scope } from '../scope.ts'
import { heed, isThenable } from '../source.ts'

/** How one subscriber wants to read a channel. */
export interface Selection {
  filter: ((event: Received) => unknown) | undefined
  /** Undefined or null: left out. */
  map: ((event: Received) => unknown) | undefined
  /** The state of things, for those who have none: one event, or several, of which the last may bring its own position. */
  snapshot: (() => unknown) | undefined
  start: 'newest' | 'oldest'
}

/** The same selection, whose functions run in the subscriber's scope, and not in the publisher's. */
export function scoped (selection: Selection): Selection {
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
export function choose (event: Received, { filter, map }: Selection): unknown {
  const chosen = filter === undefined ? true : filter(event)
  if (typeof chosen !== 'boolean') throw refused('filter', 'a function that returns true or false', chosen)
  if (!chosen || map === undefined) return chosen ? event : undefined
  const mapped = map(event)
  if (isThenable(mapped)) throw refused('map', 'a function that returns an event or undefined', mapped)
  return mapped
}

/** The key of an event, for a channel that gives slow readers the latest of each. */
export function keyOf (event: Received, latest: (event: Received) => unknown): unknown {
  const key = latest(event)
  if (isThenable(key)) throw refused('slow.latest', 'a function that returns a key', key)
  return key
}

function refused (option: string, expected: string, answer: unknown): Error {
  // A function that is async by mistake: its rejection must not end the process.
  heed(answer)
  return new FST_SSE_OPTION(option, expected, `one that returns ${isThenable(answer) ? 'a promise' : shown(answer)}`)
}

const FIELDS = ['event', 'data', 'comment', 'retry']

/** An event of the user's making, with a position in place of its own. That alone makes no event of what is none: payload without its envelope, say. */
export function placed (event: unknown, id: string | undefined): unknown {
  if (typeof event !== 'object' || event === null) return event
  const plain = isPlain(event)
  const empty = plain && Object.keys(event).length === 0
  if (!empty && !FIELDS.some(field => field in event)) throw new FST_SSE_EVENT(shown(asEvent(event)))
  if (plain) return { ...event, id }
  // A spread leaves out the getters of a class.
  const { event: name, data, retry, comment } = asEvent(event)
  return { ...event, event: name, data, retry, comment, id }
}
