import { Comparison } from './comparison.ts'
import type { Contestant } from './contestant.ts'
import { read } from './reader.ts'

/** Many clients at once, each with a stream of one event per turn of the event loop. */
export function manyStreams (
  contestants: readonly Contestant[],
  { rounds, clients, events }: { rounds: number, clients: number, events: number }
): Promise<Comparison> {
  const what = `${clients} streams, ${events} small events each, one per turn`
  return Comparison.of({ name: 'paced streams', what, unit: 'event', amount: clients * events }, contestants, rounds,
    async ({ port }) => {
      const startedAt = performance.now()
      await Promise.all(Array.from({ length: clients }, () => read(port, `/${events}/turns`, events)))
      return (performance.now() - startedAt) / 1000
    })
}
