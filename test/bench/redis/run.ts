import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { RedisServer } from '../../setup/redis.ts'
import type { Contestant } from '../contestant.ts'
import { divideCores } from '../cores.ts'
import { latency } from './latency.ts'
import { startNodes } from './nodes.ts'
import { tails } from './tails.ts'
import { publishing, replay } from './throughput.ts'

/*
 * `npm run bench:redis -- --rounds 5 --events 100000 --each 100 --seconds 4`
 *
 * `--each` is the number of events of each channel in a round of the latency, `--seconds` how long a tail is measured.
 * Nodes run on one core, the load generator on another, Redis on any other. Prints Markdown, as in
 * test/bench/README.md.
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    events: { type: 'string', default: '100000' },
    each: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '4' },
    streams: { type: 'string', default: '1000' }
  }
})
const [rounds, events, each, seconds, streams] = [values.rounds, values.events, values.each, values.seconds,
  values.streams].map(Number) as [number, number, number, number, number]
const endings: Array<() => unknown> = []
const owner = { teardown: (fn: () => unknown) => { endings.unshift(fn) } }

try {
  // Started before this process is pinned to a core, so that Redis does not inherit the core.
  const server = await RedisServer.start(owner)
  const cores = divideCores()
  const client = server.client(owner)
  const run = async (
    measure: (memory: Contestant[], redis: Contestant[]) => Promise<string>,
    count = 1
  ): Promise<void> => {
    await client.flushall()
    const [memory, redis] = [await startNodes('memory', 1, undefined, cores),
      await startNodes('Redis', count, server.port, cores)]
    console.log(`${await measure(memory, redis)}\n`)
    await Promise.all([...memory, ...redis].map(node => node.stop()))
  }
  await run(([memory], [redis]) => publishing(memory!, redis!, { rounds, events, window: 1_000 }))
  await run((memory, redis) => latency(memory, redis, { rounds, streams, channels: 100, rate: 1_000, each }), 2)
  await run(([memory], [redis]) => replay(memory!, redis!, client, { rounds, events }))
  console.log(`${await tails(server, client, { rounds: Math.min(rounds, 3), rate: 1_000, seconds })}\n`)
} finally {
  for (const end of endings) await end()
}
console.log(
  `${
    cpus()[0]?.model ?? 'unknown processor'
  }, ${cpus().length} cores, Node.js ${process.version}, ${process.platform}. Medians of ${rounds} interleaved rounds (least–greatest).`
)
console.log('Reproduce with `npm run bench:redis`.')
