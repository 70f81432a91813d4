import { Contestant } from '../contestant.ts'
import type { Cores } from '../cores.ts'

const VARIABLE = 'BENCH_REDIS'

/** Nodes that share a log in the Redis on that port, or one with its log in memory. */
export async function startNodes (
  name: string,
  count: number,
  redis: number | undefined,
  cores: Cores | undefined
): Promise<Contestant[]> {
  if (redis !== undefined) process.env[VARIABLE] = String(redis)
  try {
    const nodes = Array.from({ length: count }, () => new Contestant(name, 'nodes/node.js', cores))
    await Promise.all(nodes.map(node => node.listening()))
    return nodes
  } finally {
    delete process.env[VARIABLE]
  }
}
