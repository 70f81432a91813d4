import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { Contestant } from './contestant.ts'
import { divideCores } from './cores.ts'
import { fanOut } from './fan-out.ts'
import { fastReaders } from './fast-readers.ts'
import { oneStream } from './one-stream.ts'
import { stalledReader } from './stalled-reader.ts'

/*
 * `npm run bench -- --rounds 7 --events 200000 --stall 5000 --connections 1000 --each 400`
 *
 * `--each` is how many events of a broadcast each connection gets in a round.
 * Servers are processes of their own on one core, the load generator is this process on another.
 * Prints Markdown, as the README shows it.
 */
const defaults = { rounds: '7', events: '200000', stall: '5000', connections: '1000', each: '400' }
const { values } = parseArgs({
  options: Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, { type: 'string', default: value }] as const))
})
const number = (name: keyof typeof defaults): number => {
  const value = String(values[name])
  if (!/^[1-9]\d*$/.test(value)) throw new TypeError(`--${name} takes a whole number from 1, got ${value}`)
  return Number(value)
}
const [rounds, events, stallFor, connections, each] = [number('rounds'), number('events'), number('stall'), number('connections'), number('each')]

const versioned = (name: string, folder = `node_modules/${name}`): string => {
  const { version } = JSON.parse(readFileSync(new URL(`../../${folder}/package.json`, import.meta.url), 'utf8')) as { version: string }
  return `${name} ${version}`
}
const ours = versioned('fastify-typed-sse', '.')
const cores = divideCores()

/** Servers to compare, all listening. */
async function start (names: Record<string, string>): Promise<Contestant[]> {
  const contestants = Object.entries(names).map(([file, name]) => new Contestant(name, file, cores))
  await Promise.all(contestants.map(contestant => contestant.listening()))
  return contestants
}

const stop = (contestants: Contestant[]): Promise<unknown> => Promise.all(contestants.map(contestant => contestant.stop()))

const single = await start({
  'fastify-typed-sse.js': ours,
  'node-http.js': 'node:http, `res.write` per event',
  'fastify-sse.js': versioned('@fastify/sse')
})
console.log(`${await oneStream(single, single[1]!, { rounds, events })}\n`)
console.log(`${await stalledReader(single, { stallFor })}\n`)
await stop(single)

const broadcast = await start({
  'broadcast/fastify-typed-sse.js': ours,
  'broadcast/node-http.js': 'node:http, `res.write` of one buffer',
  'broadcast/fastify-sse.js': versioned('@fastify/sse'),
  'broadcast/better-sse.js': versioned('better-sse')
})
for (const burst of [1, 10]) console.log(`${await fanOut(broadcast, broadcast[1]!, { rounds, connections, events: each, burst })}\n`)
await stop(broadcast)

const paced = await start({ 'broadcast/paced.js': ours })
console.log(`${await fastReaders(paced[0]!, { rounds, readers: Math.min(99, connections), events: each * 2 })}\n`)
await stop(paced)

console.log(`${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node.js ${process.version}, ${process.platform}. ` +
  (cores === undefined ? 'Nothing pinned to a core. ' : 'Servers pinned to one core, load generator to another. ') +
  `Medians of ${rounds} interleaved rounds (least–greatest); ratios to node:http in the same round. ` +
  'Only fastify-typed-sse validates its events.')
console.log('Reproduce with `npm run bench`.')
