import { read } from './reader.ts'
import { count, type Workload } from './workload.ts'

/** One client reads a long stream of small events as fast as possible. */
export const oneStream = ({ events }: { events: number }): Workload => ({
  name: 'one stream',
  what: `one stream, ${count(events)} small events`,
  unit: 'event',
  amount: events,
  load: contestant => read(contestant, `/${events}`, events)
})
