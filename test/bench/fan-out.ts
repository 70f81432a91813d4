import { Audience } from './audience.ts'
import type { Contestant } from './contestant.ts'
import { runRounds } from './rounds.ts'
import { ratios } from './ratios.ts'
import { table } from './table.ts'

export interface FanOut {
  rounds: number
  connections: number
  /** How many events each connection gets in a round. */
  events: number
  /** How many of them are published in one turn of the event loop. */
  burst: number
}

/** Many clients follow one sequence of events of 200 bytes. */
export async function fanOut (contestants: readonly Contestant[], plain: Contestant, { rounds, connections, events, burst }: FanOut): Promise<string> {
  const audiences = new Map<Contestant, Audience>()
  for (const contestant of contestants) audiences.set(contestant, await Audience.open(contestant.port, connections))
  const turns = Math.ceil(events / burst)
  const samples = await runRounds(contestants, rounds, async contestant => {
    const startedAt = performance.now()
    await audiences.get(contestant)!.hear(turns * burst, () => contestant.ask('publish', turns, burst))
    return (performance.now() - startedAt) / 1000
  })
  for (const audience of audiences.values()) audience.close()
  const rate = burst === 1 ? 'one event' : `${burst} events`
  const what = `${connections.toLocaleString('en-US')} connections, ${rate} of 200 bytes per turn`
  return table([what, ...ratios.heads('deliveries/s', 'delivery')], ratios.rows(contestants, plain, samples, turns * burst * connections))
}
