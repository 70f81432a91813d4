import { read } from '../reader.ts'
import { spread, table } from '../table.ts'
import { turned, type Nodes } from './nodes.ts'

const CHANNELS = [1, 100, 10_000]

/** How many events a second one node publishes, each awaited, with a window of unacknowledged ones. */
export async function publishing (
  all: readonly Nodes[],
  { rounds, seconds, window }: { rounds: number, seconds: number, window: number }
): Promise<string> {
  const rates = new Map(all.map(({ name }) => [name, CHANNELS.map(() => [] as number[])]))
  for (let round = 0; round <= rounds; round++) {
    for (const [index, channels] of CHANNELS.entries()) {
      for (const { name, nodes: [node] } of turned(all, round)) {
        const rate = await node!.request<number>('publish', seconds, channels, window)
        // The first round warms up, and creates the channels.
        if (round > 0) rates.get(name)![index]!.push(rate)
      }
    }
  }
  return table([`one node, events of 200 bytes, ${window.toLocaleString('en-US')} concurrent publishes`,
    ...CHANNELS.map(count => `publishes/s, ${count.toLocaleString('en-US')} channel${count === 1 ? '' : 's'}`)],
  [...rates].map(([name, rates]) => [name, ...rates.map(values => spread(values))]))
}

/** How fast a new subscriber replays a long history, and how soon a client has the last part of it. */
export async function replay (
  all: readonly Nodes[],
  { rounds, events, resumed }: { rounds: number, events: number, resumed: number }
): Promise<string> {
  const figures = new Map(all.map(({ name }) => [name, { rates: [] as number[], times: [] as number[] }]))
  const ids = new Map<Nodes, string>()
  for (const each of all) ids.set(each, await each.nodes[0]!.request<string>('fill', events, resumed))
  for (let round = 0; round <= rounds; round++) {
    for (const each of turned(all, round)) {
      const node = each.nodes[0]!
      const whole = await read(node, '/replay', events)
      const part = await read(node, '/replay', resumed, { lastEventId: ids.get(each)!, last: events })
      if (round === 0) continue
      figures.get(each.name)!.rates.push(events / whole)
      figures.get(each.name)!.times.push(part * 1_000)
    }
  }
  return table(['one node', `replay of ${events.toLocaleString('en-US')} events, events/s`,
    `resuming the last ${resumed.toLocaleString('en-US')} of them, ms`],
  [...figures].map(([name, { rates, times }]) => [name, spread(rates), spread(times)]))
}
