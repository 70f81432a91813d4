import type { Contestant } from './contestant.ts'
import { Listeners, type Times } from './listeners.ts'
import { readOn, stall } from './reader.ts'
import { spread, table } from './table.ts'

// Far more than the kernel buffers for a client that does not read, on both sides of the connection.
const FLOOD = 8_000_000
// Milliseconds between two events.
const PACE = 2

/** How the fast readers of a channel are affected by one that never reads: the time from publish to receipt. */
export async function fastReaders (
  server: Contestant,
  { rounds, readers, events }: { rounds: number, readers: number, events: number }
): Promise<string> {
  const alone: Times[] = []
  const beside: Times[] = []
  // The first round warms up and does not count.
  for (let round = 0; round <= rounds; round++) {
    for (const into of round % 2 === 0 ? [alone, beside] : [beside, alone]) {
      const times = await measure(server, readers, events, into === beside)
      if (round > 0) into.push(times)
    }
  }
  const row = (name: string, own: readonly Times[]): string[] => [
    name,
    spread(own.map(({ p50 }) => p50)),
    spread(own.map(({ p50 }, round) => p50 / alone[round]!.p50), 2),
    spread(own.map(({ p99 }) => p99)),
    spread(own.map(({ p99 }, round) => p99 / alone[round]!.p99), 2)
  ]
  const heads = [`${readers} fast readers, one event every ${PACE} ms`, 'p50 latency, µs', '× alone', 'p99 latency, µs',
    '× alone']
  return table(heads, [row('alone', alone), row('beside one that never reads', beside)])
}

async function measure (server: Contestant, readers: number, events: number, beside: boolean): Promise<Times> {
  // It stalls before the others connect, so its flood is not sent to them.
  const slow = beside ? stall(server.port, '/') : undefined
  await server.request('subscribed', slow === undefined ? 0 : 1)
  await server.request('flood', FLOOD)
  const fast = await Listeners.open(server, readers)
  await server.request('subscribed', slow === undefined ? readers : readers + 1)
  const times = await fast.receive(server, events, PACE)
  fast.close()
  // Checks that it stalled, and received a gap.
  if (slow !== undefined) await readOn(slow, '\nevent: sse.gap\n')
  slow?.destroy()
  await server.request('subscribed', 0)
  return times
}
