import type { Arrival } from './arrivals.ts'
import type { Exchange } from './exchange.ts'

/** The events that one exchange received later than the other, and the longest delay in milliseconds. */
export interface Delay { readonly events: number, readonly most: number }

/** The delay of the same events here and at the origin, in milliseconds. */
export interface Lag { readonly events: number, readonly median: number, readonly most: number }

// Two connections of one machine never differ by this time, even under load. Milliseconds.
const HELD = 1_000
// A single event may be late by chance.
const ENOUGH = 2

/** Returns the delay of events that arrived in one exchange and were held back in the other; undefined if none were. */
export function heldBack (sooner: Exchange, later: Exchange): Delay | undefined {
  const { arrivals: { events, pieces } } = sooner
  const there = later.arrivals
  const first = pieces[0]
  if (first === undefined) return undefined
  const waited = later.end.at - first.at
  // No byte arrived there, and at least one here.
  if (there.pieces.length === 0) return waited >= HELD ? { events: events.length, most: waited } : undefined
  const { pairs, offset } = paired(sooner, later)
  const late = pairs.map(([here, there]) => (there ?? later.end).at + offset - here.at).filter(delay => delay >= HELD)
  return late.length >= ENOUGH ? { events: late.length, most: Math.max(...late) } : undefined
}

/** Returns the lag of the events that arrived in both exchanges; undefined for fewer than two. */
export function lagOf (sooner: Exchange, later: Exchange): Lag | undefined {
  const { pairs, offset } = paired(sooner, later)
  const lags = pairs.flatMap(([here, there]) => there === undefined ? [] : [Math.max(0, there.at + offset - here.at)])
    .sort((a, b) => a - b)
  if (lags.length < ENOUGH) return undefined
  return { events: lags.length, median: lags[Math.floor((lags.length - 1) / 2)]!, most: lags.at(-1)! }
}

interface Paired {
  /** Each event with the same event of the other exchange; undefined if that did not arrive. */
  readonly pairs: Array<[Arrival, Arrival | undefined]>
  /** Added to a time of the other exchange before the comparison. */
  readonly offset: number
}

function paired (
  { arrivals: { events }, start }: Exchange,
  { arrivals: { events: others }, start: otherStart }: Exchange
): Paired {
  const byKey = new Map<string, Arrival[]>()
  for (const other of others) byKey.set(keyOf(other), [...byKey.get(keyOf(other)) ?? [], other])
  const pairs = events.map((event): [Arrival, Arrival | undefined] => [event, byKey.get(keyOf(event))?.shift()])
  const matched = pairs.filter(([, other]) => other !== undefined).length
  // Each connection has its own events, which begin with the request: compare the first with the first.
  if (matched < Math.min(events.length, others.length) / 2) {
    return { pairs: events.map((event, index) => [event, others[index]]), offset: 0 }
  }
  // A client that connects a moment later does not get earlier events.
  const from = pairs.findIndex(([, other]) => other !== undefined)
  // Shared events happen once: compare them by one clock, whichever request was sent first.
  return { pairs: pairs.slice(Math.max(0, from)), offset: otherStart - start }
}

const keyOf = ({ event, id, data }: Arrival): string => JSON.stringify([event, id, data])
