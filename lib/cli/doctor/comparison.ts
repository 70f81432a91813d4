import type { Arrival } from './arrivals.ts'
import type { Exchange } from './exchange.ts'

/** What came later on one way than on the other: how many events, and by how much, in milliseconds, as far as was seen. */
export interface Delay { readonly events: number, readonly most: number }

// Two connections of one machine are never that far apart, be it ever so busy. Milliseconds.
const HELD = 1_000
// One may be late by chance.
const ENOUGH = 2

/** Whether what came on the one way was held back on the other; undefined where it was not. Times are those after each one's own request. */
export function heldBack (sooner: Exchange, later: Exchange): Delay | undefined {
  const { arrivals: { events, pieces } } = sooner
  const there = later.arrivals
  const first = pieces[0]
  if (first === undefined) return undefined
  const waited = later.end.at - first.at
  // Not a byte, where there was one.
  if (there.pieces.length === 0) return waited >= HELD ? { events: events.length, most: waited } : undefined
  const pairs = paired(events, there.events)
  const late = pairs.map(([here, there]) => (there ?? later.end).at - here.at).filter(delay => delay >= HELD)
  return late.length >= ENOUGH ? { events: late.length, most: Math.max(...late) } : undefined
}

/** Each event with the same one of the other way; undefined where that had not come. */
function paired (events: readonly Arrival[], others: readonly Arrival[]): Array<[Arrival, Arrival | undefined]> {
  const places = new Map<string, Arrival[]>()
  for (const other of others) places.set(keyOf(other), [...places.get(keyOf(other)) ?? [], other])
  const pairs = events.map((event): [Arrival, Arrival | undefined] => [event, places.get(keyOf(event))?.shift()])
  const met = pairs.filter(([, other]) => other !== undefined).length
  // Each connection has events of its own, so the first is compared with the first.
  if (met < Math.min(events.length, others.length) / 2) return events.map((event, index) => [event, others[index]])
  // Who came a moment later never gets what was before.
  const from = pairs.findIndex(([, other]) => other !== undefined)
  return pairs.slice(Math.max(0, from))
}

const keyOf = ({ event, id, data }: Arrival): string => JSON.stringify([event, id, data])
