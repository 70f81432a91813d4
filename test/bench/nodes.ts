import { execFileSync } from 'node:child_process'
import { Comparison } from './comparison.ts'
import type { Contestant } from './contestant.ts'
import { start, stop } from './servers.ts'
import { median, spread, table, text } from './table.ts'
import type { Workload } from './workload.ts'

interface Node { path: string, version: string }

/** Finds a Node by its version, or by a part of it: this one, or one that npm installs. */
function find (wanted: string): Node {
  if (`${process.versions.node}.`.startsWith(`${wanted}.`)) return { path: process.execPath, version: process.version }
  const script = 'console.log(JSON.stringify({ path: process.execPath, version: process.version }))'
  return JSON.parse(execFileSync('npx', ['-y', '-p', `node@${wanted}`, 'node', '-e', script], { encoding: 'utf8' })) as Node
}

/** This package beside the plain server on several versions of Node, all in the same rounds. */
export async function nodes (
  versions: readonly string[],
  workloads: Record<'streams' | 'broadcast', readonly Workload[]>,
  rounds: number
): Promise<string> {
  const found = versions.map(find)
  const rows: string[][] = []
  for (const folder of ['streams', 'broadcast'] as const) {
    const pairs: Contestant[][] = []
    for (const { path } of found) pairs.push(await start(folder, ['fastify-typed-sse', 'node-http'], { node: path }))
    const plainOf = (contestant: Contestant): Contestant => pairs.find(pair => pair.includes(contestant))![1]!
    for (const comparison of await Comparison.of(workloads[folder], pairs.flat(), rounds, plainOf)) {
      const cpu = (contestant: Contestant): string => text(median(comparison.cpuOf(contestant)), 2)
      rows.push([
        `${comparison.workload.what}: µs per ${comparison.workload.unit}`,
        ...pairs.map(([own, plain]) => `${cpu(own!)} / ${cpu(plain!)}; ${spread(comparison.ratios(own!), 2)}`)
      ])
    }
    await stop(pairs.flat())
  }
  return table(['server CPU, fastify-typed-sse / node:http', ...found.map(({ version }) => `Node ${version}`)], rows)
}
