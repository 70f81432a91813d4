import { Audience } from '../audience.ts'
import type { Contestant } from '../contestant.ts'
import { spread, table } from '../table.ts'

interface Latency { p50: number, p99: number }
export interface LatencyOptions { rounds: number, streams: number, channels: number, rate: number, each: number }

// The time has that many digits, directly before the end of the payload.
const DIGITS = 16

/** The time from `publish` on one node to the client of any node, in milliseconds. */
async function measure (
  nodes: readonly Contestant[],
  { streams, channels, rate, each }: LatencyOptions
): Promise<Latency> {
  const latencies: number[] = []
  const onEvent = (buffer: Buffer, at: number): void => {
    if (at >= DIGITS) {
      latencies.push(Number(process.hrtime.bigint() / 1000n) - Number(buffer.toString('latin1', at - DIGITS, at)))
    }
  }
  const share = nodes.length
  for (const node of nodes) await node.request('subscribed', 0, channels)
  const audiences = await Promise.all(nodes.map(node => Audience.open(node.port, streams / share, onEvent)))
  for (const node of nodes) await node.request('subscribed', streams / share, channels)
  let pacing: Promise<unknown> | undefined
  // All audiences receive one broadcast.
  const pace = (): Promise<unknown> => {
    pacing ??= Promise.all(nodes.map(node => node.request('pace', each / share, rate / share)))
    return pacing
  }
  await Promise.all(audiences.map(audience => audience.receive(each, pace)))
  for (const audience of audiences) audience.close()
  for (const node of nodes) await node.request('subscribed', 0, channels)
  latencies.sort((a, b) => a - b)
  const at = (part: number): number => latencies[Math.ceil(latencies.length * part) - 1]! / 1_000
  return { p50: at(0.5), p99: at(0.99) }
}

/** The same load on one node with its log in memory, and on several over Redis, in turn. */
export async function latency (
  memory: readonly Contestant[],
  redis: readonly Contestant[],
  options: LatencyOptions
): Promise<string> {
  const own: Latency[] = []
  const shared: Latency[] = []
  for (let round = 0; round <= options.rounds; round++) {
    for (const nodes of round % 2 === 0 ? [memory, redis] : [redis, memory]) {
      const measured = await measure(nodes, options)
      // The first round warms up.
      if (round > 0) (nodes === memory ? own : shared).push(measured)
    }
  }
  const row = (name: string, samples: readonly Latency[]): string[] => [
    name,
    spread(samples.map(({ p50 }) => p50), 2),
    spread(samples.map(({ p99 }) => p99), 2),
    spread(samples.map(({ p99 }, round) => p99 - own[round]!.p99), 2)
  ]
  const { streams, channels, rate } = options
  const heads = [
    `${streams.toLocaleString('en-US')} streams, ${channels} channels, ${rate.toLocaleString('en-US')} events/s`,
    'p50, ms',
    'p99, ms',
    'p99 above memory, ms'
  ]
  return table(heads, [row('one node, in memory', own), row(`${redis.length} nodes, Redis`, shared)])
}
