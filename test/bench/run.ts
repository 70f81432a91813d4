import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { chart } from './chart.ts'
import type { Comparison } from './comparison.ts'
import { Contestant } from './contestant.ts'
import { divideCores } from './cores.ts'
import { fanOut } from './fan-out.ts'
import { fastReaders } from './fast-readers.ts'
import { halfLoad } from './half-load.ts'
import { idle } from './idle.ts'
import { leaving } from './leaving.ts'
import { manyStreams } from './many-streams.ts'
import { oneStream } from './one-stream.ts'
import { shortStreams } from './short-streams.ts'
import { stalledReader } from './stalled-reader.ts'
import { stalledSubscriber } from './stalled-subscriber.ts'

/*
 * `npm run bench -- --rounds 5 --svg .github/performance.svg`
 *
 * `--events` of one stream, `--clients` with streams of a hundred, `--streams` of ten; `--connections` of a broadcast
 * and how many events `--each` of them gets in a round; `--idle` connections; milliseconds that a reader is left to
 * `--stall`; clients that `--leave`. The servers run in their own processes on one core, the load generator is this
 * process on another. Prints Markdown, as in test/bench/README.md, and draws the chart into the file given by `--svg`.
 */
const defaults = {
  rounds: '5',
  events: '200000',
  clients: '100',
  streams: '2000',
  connections: '1000',
  each: '400',
  idle: '5000',
  stall: '5000',
  leave: '100'
}
const { values } = parseArgs({
  options: {
    svg: { type: 'string' },
    ...Object.fromEntries(
      Object.entries(defaults).map(([name, value]) => [name, { type: 'string', default: value }] as const)
    )
  }
})
const number = (name: keyof typeof defaults): number => {
  const value = String((values as Record<string, unknown>)[name])
  if (!/^[1-9]\d*$/.test(value)) throw new TypeError(`--${name} takes a whole number from 1, got ${value}`)
  return Number(value)
}
const [rounds, events, clients, streams] = [number('rounds'), number('events'), number('clients'), number('streams')]
const [connections, each, idlers, stallFor, leavers] = [number('connections'), number('each'), number('idle'),
  number('stall'), number('leave')]

const versioned = (name: string, folder = `node_modules/${name}`): string => {
  const { version } = JSON.parse(readFileSync(new URL(`../../${folder}/package.json`, import.meta.url), 'utf8')) as {
    version: string
  }
  return `${name} ${version}`
}
const cores = divideCores()
const PLAIN = 'node:http'
const FILES = {
  'fastify-typed-sse': versioned('fastify-typed-sse', '.'),
  'node-http': PLAIN,
  'fastify-sse': versioned('@fastify/sse'),
  'fastify-sse-v2': versioned('fastify-sse-v2'),
  'better-sse': versioned('better-sse'),
  hono: versioned('hono'),
  h3: versioned('h3')
}

// The minimal cost of a broadcast on Node.
const FLOOR = { 'bare-sockets': 'bare sockets' }
const NAMES: Record<string, string> = { ...FILES, ...FLOOR }

/** The compared servers, all listening. */
async function start (folder: string, files = Object.keys(FILES)): Promise<Contestant[]> {
  const contestants = files.map(file => new Contestant(NAMES[file] ?? file, `${folder}/${file}.js`, cores))
  await Promise.all(contestants.map(contestant => contestant.listening()))
  return contestants
}

const stop = (contestants: Contestant[]): Promise<unknown> =>
  Promise.all(contestants.map(contestant => contestant.stop()))

const comparisons: Comparison[] = []
const show = (comparison: Comparison): void => {
  comparisons.push(comparison)
  console.log(`${comparison.table()}\n`)
}

const single = await start('streams')
show(await oneStream(single, { rounds, events }))
show(await manyStreams(single, { rounds, clients, events: 100 }))
show(await shortStreams(single, { rounds, streams }))
// The other servers have no bound, or no end.
console.log(`${await stalledReader(single.slice(0, 3), { stallFor })}\n`)
await stop(single)

const [left] = await start('streams', ['leaving'])
console.log(`${await leaving(left!, { visits: leavers })}\n`)
await stop([left!])

const fresh = await start('broadcast')
console.log(`${await idle(fresh, { connections: idlers })}\n`)
await stop(fresh)

const broadcast = await start('broadcast', Object.keys(NAMES))
for (const burst of [1, 10]) show(await fanOut(broadcast, { rounds, connections, events: each, burst }))
const busy = comparisons.find(({ workload }) => workload.name === 'fan-out')!.cpuOf(broadcast[1]!) * connections / 1_000
console.log(
  `${await halfLoad(broadcast, {
 rounds: Math.min(rounds, 3),
connections,
events: Math.ceil(each / 4),
    interval: Math.max(1, 2 * busy)
})}\n`
)
console.log(
  `${await stalledSubscriber(broadcast.filter(({ name }) => name !== FLOOR['bare-sockets']), { events: each * 100 })}\n`
)
await stop(broadcast)

const [paced] = await start('broadcast', ['paced'])
console.log(`${await fastReaders(paced!, { rounds, readers: Math.min(99, connections), events: each * 2 })}\n`)
await stop([paced!])

console.log(
  `${
    cpus()[0]?.model ?? 'unknown processor'
  }, ${cpus().length} cores, Node.js ${process.version}, ${process.platform}. ` +
    (cores === undefined ? 'Nothing pinned to a core. ' : 'Servers pinned to one core, load generator to another. ') +
    `Medians of ${rounds} interleaved rounds (least–greatest); ratios to node:http in the same round. ` +
    'Only fastify-typed-sse validates its events.'
)
console.log('Reproduce with `npm run bench`.')
if (values.svg !== undefined) writeFileSync(String(values.svg), chart(comparisons, PLAIN))
