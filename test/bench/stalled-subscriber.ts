import { Audience } from './audience.ts'
import type { Contestant } from './contestant.ts'
import { stall } from './reader.ts'
import { growth, table } from './table.ts'

const READERS = 6
const BURST = 10

/** One client of a broadcast that never reads, beside some that do. */
export async function stalledSubscriber (
  contestants: readonly Contestant[],
  { events }: { events: number }
): Promise<string> {
  const rows: string[][] = []
  for (const contestant of contestants) {
    const audience = await Audience.open(contestant, READERS)
    const turns = Math.ceil(events / BURST)
    const receive = (): Promise<void> =>
      audience.receive(turns * BURST, () => contestant.request('publish', turns, BURST))
    // By then a server has its history in memory: the growth after that is caused by the client that does not read.
    await receive()
    const before = await contestant.memory()
    const slow = stall(contestant.port, '/')
    await receive()
    const after = await contestant.memory()
    audience.close()
    slow.destroy()
    rows.push([contestant.name, growth(before.heap, after.heap), growth(before.rss, after.rss)])
  }
  const what = `${READERS} readers and one that never reads, ${events.toLocaleString('en-US')} events of 200 bytes`
  return table([what, 'heap and buffers', 'RSS'], rows)
}
