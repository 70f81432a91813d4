import { readFileSync, writeFileSync } from 'node:fs'
import type { Transport } from './connection.ts'
import { fanOut } from './fan-out.ts'
import { manyStreams } from './many-streams.ts'
import { oneStream } from './one-stream.ts'
import { parse } from './options.ts'
import { selfTimes, tables, type Sampled, type SelfTimes } from './self-times.ts'
import { start, stop } from './servers.ts'
import { naturalStreams, shortStreams } from './short-streams.ts'

/*
 * `npm run bench:profile -- --workload 'natural streams' --save after.json --before before.json`
 *
 * Prints the CPU of a server for each unit of a workload: by the operating system, and the self time as sampled by V8,
 * by groups of functions and by function. `--save` writes them into a file, `--before` shows such a file beside them.
 * `--server` is the name of a file in servers/streams or servers/broadcast, `--transport` is http, https or h2. The
 * sizes: options.ts.
 */
const WARM_UP = 2
const TRANSPORTS: readonly Transport[] = ['http', 'https', 'h2']

const { sizes, texts } = parse('workload', 'server', 'transport', 'save', 'before')
const transport = TRANSPORTS.find(name => name === (texts.transport ?? 'http'))
if (transport === undefined) throw new TypeError(`--transport takes ${TRANSPORTS.join(', ')}, got ${texts.transport}`)
const broadcast = { ...sizes, events: sizes.each, transport }
const workloads = {
  streams: [oneStream(sizes), manyStreams({ ...sizes, events: 100 }), shortStreams(sizes),
    naturalStreams({ ...sizes, transport })],
  broadcast: [...fanOut({ ...broadcast, bursts: [1] }), ...fanOut({ ...broadcast, bursts: [10] })]
}
const all = [...workloads.streams, ...workloads.broadcast]
const workload = all.find(({ name }) => name === (texts.workload ?? 'natural streams'))
if (workload === undefined) {
  throw new TypeError(`--workload takes ${all.map(({ name }) => name).join(', ')}, got ${texts.workload}`)
}

const folder = workloads.streams.includes(workload) ? 'streams' : 'broadcast'
const servers = await start(folder, [texts.server ?? 'fastify-typed-sse'], { transport })
const server = servers[0]!
await workload.open?.(servers)
const run = async (rounds: number): Promise<void> => {
  for (let round = 0; round < rounds; round++) {
    await workload.prepare?.(server)
    await workload.load(server)
  }
}
// V8 compiles and optimizes in the first rounds.
await run(WARM_UP)
await server.request('profile')
const before = await server.cpu()
await run(sizes.rounds)
const after = await server.cpu()
const sampled = await server.request<Sampled[]>('profiled')
workload.close?.()
await stop(servers)

const units = workload.amount * sizes.rounds
const now: SelfTimes = {
  process: {
    'user space': (after.user - before.user) / units,
    kernel: (after.system - before.system) / units
  },
  ...selfTimes(sampled, units)
}
const earlier = texts.before === undefined ? undefined : JSON.parse(readFileSync(texts.before, 'utf8')) as SelfTimes
console.log(`${server.name}, ${workload.what}, ${sizes.rounds} rounds, Node.js ${process.version}\n`)
console.log(tables(workload.unit, now, earlier))
if (texts.save !== undefined) writeFileSync(texts.save, JSON.stringify(now, null, 2))
