import { Audience } from '../audience.ts'
import type { Contestant } from '../contestant.ts'
import { spread, table } from '../table.ts'
import { turned, type Nodes } from './nodes.ts'

interface Latency { p50: number, p99: number }
export interface LatencyOptions { rounds: number, streams: number, channels: number, rate: number, each: number }

// Rounds. Until then, V8 compiles and optimizes: the slowest events wait for it.
const WARM_UP = 3
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
  // The same number from each node.
  const events = Math.ceil(each / share) * share
  for (const node of nodes) await node.request('subscribed', 0, channels)
  const audiences = await Promise.all(nodes.map(node => Audience.open(node, streams / share, onEvent)))
  for (const node of nodes) await node.request('subscribed', streams / share, channels)
  let pacing: Promise<unknown> | undefined
  // All audiences receive one broadcast.
  const pace = (): Promise<unknown> => {
    pacing ??= Promise.all(nodes.map(node => node.request('pace', events / share, rate / share)))
    return pacing
  }
  await Promise.all(audiences.map(audience => audience.receive(events, pace)))
  for (const audience of audiences) audience.close()
  for (const node of nodes) await node.request('subscribed', 0, channels)
  latencies.sort((a, b) => a - b)
  const at = (part: number): number => latencies[Math.ceil(latencies.length * part) - 1]! / 1_000
  return { p50: at(0.5), p99: at(0.99) }
}

/** The same load on each log in turn: on one node, or on several that share the log. */
export async function latency (all: readonly Nodes[], options: LatencyOptions): Promise<string> {
  const samples = new Map(all.map(each => [each, [] as Latency[]]))
  for (let round = -WARM_UP; round < options.rounds; round++) {
    for (const each of turned(all, round + WARM_UP)) {
      const measured = await measure(each.nodes, options)
      if (round >= 0) samples.get(each)!.push(measured)
    }
  }
  const own = samples.get(all[0]!)!
  const row = ([{ name, nodes }, latencies]: [Nodes, Latency[]]): string[] => [
    `${nodes.length} node${nodes.length === 1 ? '' : 's'}, ${name}`,
    spread(latencies.map(({ p50 }) => p50), 2),
    spread(latencies.map(({ p99 }) => p99), 2),
    spread(latencies.map(({ p99 }, round) => p99 - own[round]!.p99), 2)
  ]
  const { streams, channels, rate } = options
  const heads = [
    `${streams.toLocaleString('en-US')} streams, ${channels} channels, ${rate.toLocaleString('en-US')} events/s`,
    'p50, ms',
    'p99, ms',
    'p99 above memory, ms'
  ]
  return table(heads, [...samples].map(row))
}
