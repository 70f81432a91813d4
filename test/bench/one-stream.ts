import type { Contestant } from './contestant.ts'
import { read } from './reader.ts'
import { runRounds } from './rounds.ts'
import { spread, table } from './table.ts'

/** One client takes a long stream of small events as fast as it comes. */
export async function oneStream (contestants: readonly Contestant[], plain: Contestant, { rounds, events }: { rounds: number, events: number }): Promise<string> {
  const last = `data: {"status":200,"resMsg":"server sent event message: ${events}"}`
  const samples = await runRounds(contestants, rounds, port => read(port, `/${events}`, { events, last }))
  const baseline = samples.get(plain)!
  const rows = contestants.map(contestant => {
    const own = samples.get(contestant)!
    return [
      contestant.name,
      spread(own.map(({ seconds }) => events / seconds)),
      spread(own.map(({ seconds }, round) => baseline[round]!.seconds / seconds), 2),
      spread(own.map(({ cpu }) => cpu / events), 2),
      spread(own.map(({ cpu }, round) => cpu / baseline[round]!.cpu), 2)
    ]
  })
  return table([`one stream, ${events.toLocaleString('en-US')} small events`, 'events/s', '× node:http', 'server CPU per event, µs', '× node:http'], rows)
}
