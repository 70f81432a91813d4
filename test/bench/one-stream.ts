import { Comparison } from './comparison.ts'
import type { Contestant } from './contestant.ts'
import { read } from './reader.ts'

/** One client reads a long stream of small events as fast as possible. */
export function oneStream (
  contestants: readonly Contestant[],
  { rounds, events }: { rounds: number, events: number }
): Promise<Comparison> {
  const what = `one stream, ${events.toLocaleString('en-US')} small events`
  return Comparison.of({ name: 'one stream', what, unit: 'event', amount: events }, contestants, rounds,
    ({ port }) => read(port, `/${events}`, events))
}
