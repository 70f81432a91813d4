import { Audience } from './audience.ts'
import { Comparison } from './comparison.ts'
import type { Contestant } from './contestant.ts'

export interface FanOut {
  rounds: number
  connections: number
  /** How many events each connection receives in a round. */
  events: number
  /** How many of them are published in one turn of the event loop. */
  burst: number
}

/** Many clients receive one sequence of events of 200 bytes. */
export async function fanOut (
  contestants: readonly Contestant[],
  { rounds, connections, events, burst }: FanOut
): Promise<Comparison> {
  const audiences = new Map<Contestant, Audience>()
  for (const contestant of contestants) audiences.set(contestant, await Audience.open(contestant.port, connections))
  const turns = Math.ceil(events / burst)
  const rate = burst === 1 ? 'one event' : `${burst} events`
  const what = `${connections.toLocaleString('en-US')} connections, ${rate} of 200 bytes per turn`
  const name = burst === 1 ? 'fan-out' : `fan-out ×${burst}`
  const comparison = await Comparison.of({ name, what, unit: 'delivery', amount: turns * burst * connections },
    contestants, rounds, async contestant => {
      const startedAt = performance.now()
      await audiences.get(contestant)!.receive(turns * burst, () => contestant.request('publish', turns, burst))
      return (performance.now() - startedAt) / 1000
    })
  for (const audience of audiences.values()) audience.close()
  return comparison
}
