import type { Contestant } from './contestant.ts'
import { Listeners, type Times } from './listeners.ts'
import { spread, table } from './table.ts'

export interface HalfLoad {
  rounds: number
  connections: number
  events: number
  /** Milliseconds between two events. */
  interval: number
}

/** The time from publish to receipt while a hand-written server is busy half of the time. */
export async function halfLoad (
  contestants: readonly Contestant[],
  { rounds, connections, events, interval }: HalfLoad
): Promise<string> {
  const listeners = new Map<Contestant, Listeners>()
  for (const contestant of contestants) listeners.set(contestant, await Listeners.open(contestant, connections))
  const times = new Map(contestants.map(contestant => [contestant, [] as Times[]]))
  // The first round warms up and does not count.
  for (let round = 0; round <= rounds; round++) {
    for (const [contestant, own] of times) {
      const received = await listeners.get(contestant)!.receive(contestant, events, interval)
      if (round > 0) own.push(received)
    }
  }
  for (const each of listeners.values()) each.close()
  const what = `${connections.toLocaleString('en-US')} connections, one event every ${interval.toFixed(1)} ms`
  const rows = [...times].map((
    [{ name }, own]
  ) => [name, spread(own.map(({ p50 }) => p50 / 1_000), 1), spread(own.map(({ p99 }) => p99 / 1_000), 1)])
  return table([what, 'p50 latency, ms', 'p99 latency, ms'], rows)
}
