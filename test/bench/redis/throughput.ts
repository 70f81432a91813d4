import type { Redis } from 'ioredis'
import type { Contestant } from '../contestant.ts'
import { read } from '../reader.ts'
import { spread, table } from '../table.ts'

/** How many events a second one node publishes, each awaited, with a window of unacknowledged ones. */
export async function publishing (
  memory: Contestant,
  redis: Contestant,
  { rounds, events, window }: { rounds: number, events: number, window: number }
): Promise<string> {
  const rows: string[][] = []
  const names = new Map([[memory, 'in memory'], [redis, 'Redis']])
  for (const channels of [1, 100, 10_000]) {
    const rates = new Map([[memory, [] as number[]], [redis, [] as number[]]])
    for (let round = 0; round <= rounds; round++) {
      for (const node of round % 2 === 0 ? [memory, redis] : [redis, memory]) {
        const rate = events / await node.request<number>('publish', events, channels, window)
        if (round > 0) rates.get(node)!.push(rate)
      }
    }
    for (const [node, values] of rates) rows.push([channels.toLocaleString('en-US'), names.get(node)!, spread(values)])
  }
  return table(['channels', `one node publishes events of 200 bytes, ${window.toLocaleString('en-US')} on their way`,
    'publishes/s'], rows)
}

/** How fast a new subscriber replays a long history, and how fast the client library alone reads the same stream. */
export async function replay (
  memory: Contestant,
  redis: Contestant,
  client: Redis,
  { rounds, events }: { rounds: number, events: number }
): Promise<string> {
  const rates = new Map([['one node, in memory', [] as number[]], ['one node, Redis', [] as number[]], [
    'ioredis, XRANGE by 500, nothing done with it',
    [] as number[]
  ]])
  const [own, shared, plain] = [...rates.values()] as [number[], number[], number[]]
  for (let round = 0; round <= rounds; round++) {
    for (const [node, into] of [[memory, own], [redis, shared]] as const) {
      await node.request('fill', events)
      const seconds = await read(node.port, '/replay', events)
      if (round > 0) into.push(events / seconds)
    }
    const started = performance.now()
    const count = await readAll(client, `sse:{replay:${round + 1}}:events`)
    if (count !== events) throw new Error(`The stream holds ${count} entries of ${events}`)
    if (round > 0) plain.push(events / (performance.now() - started) * 1_000)
    await client.del(`sse:{replay:${round + 1}}:events`)
  }
  return table([`replay of ${events.toLocaleString('en-US')} events`, 'events/s'],
    [...rates].map(([name, values]) => [name, spread(values)]))
}

async function readAll (client: Redis, key: string): Promise<number> {
  let count = 0
  for (let from = '-'; ;) {
    const entries = await client.xrange(key, from, '+', 'COUNT', 500)
    if (entries.length === 0) return count
    count += entries.length
    from = `(${entries.at(-1)![0]}`
  }
}
