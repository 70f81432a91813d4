import { Audience } from './audience.ts'
import type { Contestant } from './contestant.ts'
import { table } from './table.ts'

const KIB = 1_024

/**
 * The memory of an open, idle connection. The servers are new: a process does not return the memory that it once used.
 */
export async function idle (
  contestants: readonly Contestant[],
  { connections }: { connections: number }
): Promise<string> {
  const rows: string[][] = []
  for (const contestant of contestants) {
    // The first connections allocate code and buffers that all others share.
    const first = await Audience.open(contestant, Math.min(100, connections))
    const before = await contestant.memory()
    const audience = await Audience.open(contestant, connections)
    const after = await contestant.memory()
    const each = (from: number, to: number): string => ((to - from) / connections / KIB).toFixed(1)
    rows.push([contestant.name, each(before.heap, after.heap), each(before.rss, after.rss)])
    audience.close()
    first.close()
  }
  return table([`${connections.toLocaleString('en-US')} idle connections`, 'heap and buffers each, KiB',
    'RSS each, KiB'], rows)
}
