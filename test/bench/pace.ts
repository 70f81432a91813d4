import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { Audience } from './audience.ts'
import { Contestant } from './contestant.ts'
import { runRounds, type Sample } from './rounds.ts'
import { cores } from './servers.ts'
import { median, spread, table } from './table.ts'

/*
 * `npx tsx test/bench/pace.ts --rounds 5`
 *
 * The server CPU of a channel with many keys: all events, a pace that the subscribers share, and a loop per client that
 * does the same. `--events` of `--keys` are published at a `--rate` per second to `--clients`. The pace is one event
 * per key in `--every` milliseconds. Prints Markdown.
 */
const defaults = { rounds: '3', clients: '1000', events: '1000', rate: '500', keys: '50', every: '200' }
const { values } = parseArgs({
  options: Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [name, { type: 'string', default: value }] as const)
  )
})
const number = (name: keyof typeof defaults): number => {
  const value = String(values[name])
  if (!/^[1-9]\d*$/.test(value)) throw new TypeError(`--${name} takes a whole number from 1, got ${value}`)
  return Number(value)
}
const [rounds, clients, events, rate] = [number('rounds'), number('clients'), number('events'), number('rate')]
const [keys, every] = [number('keys'), number('every')]

const NAMES = ['all events', `pace, every ${every} ms`, 'a loop per client']
const contestants = NAMES.map(name => new Contestant(name, 'broadcast/pace.js', { cores }))
const audiences = new Map<Contestant, Audience>()
for (const [index, contestant] of contestants.entries()) {
  await contestant.listening()
  await contestant.request('serve', index, every)
  audiences.set(contestant, await Audience.open(contestant, clients))
}
const load = async (contestant: Contestant): Promise<number> => {
  const startedAt = performance.now()
  await audiences.get(contestant)!.receive(1, () => contestant.request('prices', events, keys, rate))
  return (performance.now() - startedAt) / 1_000
}
const [samples = new Map<Contestant, Sample[]>()] = await runRounds([{ load }], contestants, rounds)
const all = samples.get(contestants[0]!)!
console.log(table(
  [`${clients.toLocaleString('en-US')} clients, ${events.toLocaleString('en-US')} events of ${keys} keys, ${
    rate.toLocaleString('en-US')}/s`, 'server CPU per published event, µs', '× all events'],
  [...samples].map(([{ name }, own]) => [
    name,
    spread(own.map(({ cpu }) => cpu / events)),
    spread(own.map(({ cpu }, round) => cpu / all[round]!.cpu), 2)
  ])
))
console.log(`\n${cpus()[0]?.model ?? 'unknown processor'}, Node.js ${process.version}. Median of ${rounds} interleaved ` +
  `rounds (least–greatest). ${cores === undefined ? 'Nothing is pinned to a core.' : 'Servers are pinned to one core.'} ` +
  `Median seconds: ${[...samples.values()].map(own => median(own.map(({ seconds }) => seconds)).toFixed(1)).join(', ')}.`)
for (const audience of audiences.values()) audience.close()
await Promise.all(contestants.map(contestant => contestant.stop()))
