import { read } from './reader.ts'
import type { Workload } from './workload.ts'

/** Many clients at once, each with a stream of one event per turn of the event loop. */
export const manyStreams = ({ clients, events }: { clients: number, events: number }): Workload => ({
  name: 'paced streams',
  what: `${clients} streams, ${events} small events each, one per turn`,
  unit: 'event',
  amount: clients * events,
  async load (contestant) {
    const startedAt = performance.now()
    await Promise.all(Array.from({ length: clients }, () => read(contestant, `/${events}/turns`, events)))
    return (performance.now() - startedAt) / 1000
  }
})
