import type { Contestant } from './contestant.ts'
import { ratios } from './ratios.ts'
import { read } from './reader.ts'
import { runRounds } from './rounds.ts'
import { table } from './table.ts'

/** One client takes a long stream of small events as fast as it comes. */
export async function oneStream (contestants: readonly Contestant[], plain: Contestant, { rounds, events }: { rounds: number, events: number }): Promise<string> {
  const last = `data: {"status":200,"resMsg":"server sent event message: ${events}"}`
  const samples = await runRounds(contestants, rounds, ({ port }) => read(port, `/${events}`, { events, last }))
  return table([`one stream, ${events.toLocaleString('en-US')} small events`, ...ratios.heads('events/s', 'event')], ratios.rows(contestants, plain, samples, events))
}
