import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { divideCores } from '../cores.ts'
import { latency } from './latency.ts'
import { DRIVER, startNodes, startStores, type Nodes } from './nodes.ts'
import { tails } from './tails.ts'
import { publishing, replay } from './throughput.ts'

/*
 * `npm run bench:logs -- --rounds 5 --seconds 2 --each 100 --streams 1000 --events 100000`
 *
 * `--seconds` is the time of one measurement of publishes; `--each` the number of events of each channel in a round of
 * the latency, `--streams` its clients; `--events` the length of the replay, of which a twentieth is resumed. `--tails`
 * compares two methods of tailing Redis instead. Nodes run on one core, the load generator on another, Redis and
 * PostgreSQL on any. Prints Markdown, as in lib/log/README.md. With `npx -p node@22 -c 'npm run bench:logs'`, SQLite is
 * that of Node.
 */
const defaults = { rounds: '5', seconds: '2', each: '100', streams: '1000', events: '100000' }
const { values } = parseArgs({
  options: {
    tails: { type: 'boolean', default: false },
    ...Object.fromEntries(
      Object.entries(defaults).map(([name, value]) => [name, { type: 'string', default: value }] as const)
    )
  }
})
const number = (name: keyof typeof defaults): number => {
  const value = Number((values as Record<string, unknown>)[name])
  if (!(value > 0)) throw new TypeError(`--${name} takes a number above 0, got ${(values as Record<string, unknown>)[name]}`)
  return value
}
const [rounds, seconds, each, streams, events] = [number('rounds'), number('seconds'), number('each'),
  number('streams'), number('events')]
const endings: Array<() => unknown> = []
const owner = { teardown: (fn: () => unknown) => { endings.unshift(fn) } }

try {
  // Started before this process is pinned to a core, so that they do not inherit the core.
  const { places, redis } = await startStores(owner)
  const cores = divideCores()
  const run = async (count: number, measure: (all: Nodes[]) => Promise<string>): Promise<void> => {
    const all = await startNodes(places, count, cores)
    console.log(`${await measure(all)}\n`)
    await Promise.all(all.flatMap(({ nodes }) => nodes).map(node => node.stop()))
  }
  if (values.tails === true) {
    console.log(`${await tails(redis, redis.client(owner), { rounds, rate: 1_000, seconds })}\n`)
  } else {
    await run(1, all => publishing(all, { rounds, seconds, window: 1_000 }))
    await run(2, all => latency(all, { rounds, streams, channels: 100, rate: 1_000, each }))
    await run(1, all => replay(all, { rounds, events, resumed: events / 20 }))
  }
} finally {
  for (const end of endings) await end()
}
console.log(
  `${
    cpus()[0]?.model ?? 'unknown processor'
  }, ${cpus().length} cores, Node.js ${process.version}, ${process.platform}. Medians of ${rounds} interleaved rounds (least–greatest). ` +
    `SQLite with ${DRIVER} and \`synchronous: 'normal'\`, PostgreSQL with its defaults (fsync), Redis without persistence.`
)
console.log('Reproduce with `npm run bench:logs`.')
