import { cpus } from 'node:os'
import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'
import { Contestant } from './contestant.ts'
import { divideCores } from './cores.ts'
import { oneStream } from './one-stream.ts'
import { stalledReader } from './stalled-reader.ts'

/*
 * `npm run bench -- --rounds 7 --events 200000 --stall 5000`
 *
 * Servers are processes of their own on one core, the load generator is this process on another.
 * Prints Markdown, as the README shows it.
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    events: { type: 'string', default: '200000' },
    stall: { type: 'string', default: '5000' }
  }
})
const [rounds, events, stallFor] = [values.rounds, values.events, values.stall].map(value => {
  if (!/^[1-9]\d*$/.test(value)) throw new TypeError(`--rounds, --events and --stall take a whole number from 1, got ${value}`)
  return Number(value)
}) as [number, number, number]

const require = createRequire(import.meta.url)
const versioned = (name: string): string => `${name} ${(require(`${name}/package.json`) as { version: string }).version}`

const cores = divideCores()
const plain = new Contestant('node:http, `res.write` per event', 'node-http.js', cores)
const contestants = [
  new Contestant(versioned('fastify-typed-sse'), 'fastify-typed-sse.js', cores),
  plain,
  new Contestant(versioned('@fastify/sse'), 'fastify-sse.js', cores)
]
await Promise.all(contestants.map(contestant => contestant.listening()))

console.log(`${await oneStream(contestants, plain, { rounds, events })}\n`)
console.log(`${await stalledReader(contestants, { stallFor })}\n`)
console.log(`${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node.js ${process.version}, ${process.platform}. ` +
  (cores === undefined ? 'Nothing pinned to a core. ' : 'Servers pinned to one core, load generator to another. ') +
  `Medians of ${rounds} interleaved rounds (least–greatest); ratios to node:http in the same round. ` +
  'Only fastify-typed-sse validates its events.')
console.log('Reproduce with `npm run bench`.')

await Promise.all(contestants.map(contestant => contestant.stop()))
