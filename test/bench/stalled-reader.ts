import { setTimeout as delay } from 'node:timers/promises'
import type { Contestant } from './contestant.ts'
import { stall } from './reader.ts'
import { growth, table } from './table.ts'

/** One client requests an endless stream and never reads. */
export async function stalledReader (
  contestants: readonly Contestant[],
  { stallFor }: { stallFor: number }
): Promise<string> {
  const rows = await Promise.all(contestants.map(async contestant => {
    const before = await contestant.memory()
    const socket = stall(contestant.port, '/Infinity')
    await delay(stallFor)
    const after = await contestant.memory()
    socket.destroy()
    return [contestant.name, growth(before.heap, after.heap), growth(before.rss, after.rss)]
  }))
  return table([`one reader that never reads, endless source, after ${stallFor / 1000} s`, 'heap and buffers', 'RSS'],
    rows)
}
