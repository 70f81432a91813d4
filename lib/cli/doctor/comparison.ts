import type { Arrival } from './arrivals.ts'
import type { Exchange } from './exchange.ts'

/** What came later on one way than on the other: how many events, and by how much, in milliseconds, as far as was seen. */
export interface Delay { readonly events: number, readonly most: number }

/** How much later the same events arrived here than at the origin, in milliseconds. */
export interface Lag { readonly events: number, readonly median: number, readonly most: number }

// Two connections of one machine are never that far apart, be it ever so busy. Milliseconds.
const HELD = 1_000
// One may be late by chance.
const ENOUGH = 2

/** Whether events that arrived on one way were held back on the other; undefined where they were not. */
export function heldBack (sooner: Exchange, later: Exchange): Delay | undefined {
  const { arrivals: { events, pieces } } = sooner
  const there = later.arrivals
  const first = pieces[0]
  if (first === undefined) return undefined
  const waited = later.end.at - first.at
  // Not a byte, where there was one.
  if (there.pieces.length === 0) return waited >= HELD ? { events: events.length, most: waited } : undefined
  const { pairs, offset } = paired(sooner, later)
  const late = pairs.map(([here, there]) => (there ?? later.end).at + offset - here.at).filter(delay => delay >= HELD)
  return late.length >= ENOUGH ? { events: late.length, most: Math.max(...late) } : undefined
}

/** The lag of the events that arrived on both ways; undefined for fewer than two. */
export function lagOf (sooner: Exchange, later: Exchange): Lag | undefined {
  const { pairs, offset } = paired(sooner, later)
  const lags = pairs.flatMap(([here, there]) => there === undefined ? [] : [Math.max(0, there.at + offset - here.at)]).sort((a, b) => a - b)
  if (lags.length < ENOUGH) return undefined
  return { events: lags.length, median: lags[Math.floor((lags.length - 1) / 2)]!, most: lags.at(-1)! }
}

interface Paired {
  /** Each event with the same event of the other way; undefined where the other did not arrive. */
  readonly pairs: Array<[Arrival, Arrival | undefined]>
  /** Added to a time of the other way before it is compared. */
  readonly offset: number
}

function paired ({ arrivals: { events }, start }: Exchange, { arrivals: { events: others }, start: otherStart }: Exchange): Paired {
  const places = new Map<string, Arrival[]>()
  for (const other of others) places.set(keyOf(other), [...places.get(keyOf(other)) ?? [], other])
  const pairs = events.map((event): [Arrival, Arrival | undefined] => [event, places.get(keyOf(event))?.shift()])
  const met = pairs.filter(([, other]) => other !== undefined).length
  // Each connection has events of its own. They begin with the request, so the first is compared with the first.
  if (met < Math.min(events.length, others.length) / 2) return { pairs: events.map((event, index) => [event, others[index]]), offset: 0 }
  // A client that connects a moment later does not get earlier events.
  const from = pairs.findIndex(([, other]) => other !== undefined)
  // Events that both ways share happen once: one clock counts for both, whichever request was sent first.
  return { pairs: pairs.slice(Math.max(0, from)), offset: otherStart - start }
}

const keyOf = ({ event, id, data }: Arrival): string => JSON.stringify([event, id, data])
