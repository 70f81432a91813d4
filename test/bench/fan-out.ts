import { Audience, STREAMS } from './audience.ts'
import type { Transport } from './connection.ts'
import type { Contestant } from './contestant.ts'
import { count, type Workload } from './workload.ts'

export interface FanOut {
  connections: number
  /** How many events each connection receives in a round. */
  events: number
  /** How many of them are published in one turn of the event loop: a workload for each. */
  bursts: readonly number[]
  transport?: Transport
}

/** Many clients receive one sequence of events of 200 bytes. All workloads share the clients. */
export function fanOut ({ connections, events, bursts, transport = 'http' }: FanOut): Workload[] {
  const audiences = new Map<Contestant, Audience>()
  const clients = {
    http: `${count(connections)} connections`,
    https: `${count(connections)} connections over TLS`,
    h2: `${count(connections)} streams in ${Math.ceil(connections / STREAMS)} sessions of HTTP/2`
  }[transport]
  const shared: Pick<Workload, 'open' | 'close'> = {
    async open (contestants) {
      for (const contestant of contestants) audiences.set(contestant, await Audience.open(contestant, connections))
    },
    close () {
      for (const audience of audiences.values()) audience.close()
    }
  }
  return bursts.map((burst, index) => {
    const turns = Math.ceil(events / burst)
    return {
      name: burst === 1 ? 'fan-out' : `fan-out ×${burst}`,
      what: `${clients}, ${burst === 1 ? 'one event' : `${burst} events`} of 200 bytes per turn`,
      unit: 'delivery',
      amount: turns * burst * connections,
      async load (contestant) {
        const startedAt = performance.now()
        await audiences.get(contestant)!.receive(turns * burst, () => contestant.request('publish', turns, burst))
        return (performance.now() - startedAt) / 1000
      },
      ...index === 0 && shared
    }
  })
}
