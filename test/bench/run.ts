import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { chart } from './chart.ts'
import { Comparison } from './comparison.ts'
import { filled, homeless } from './document.ts'
import { fanOut } from './fan-out.ts'
import { fastReaders } from './fast-readers.ts'
import { halfLoad } from './half-load.ts'
import { idle } from './idle.ts'
import { leaving } from './leaving.ts'
import { manyStreams } from './many-streams.ts'
import { nodes } from './nodes.ts'
import { oneStream } from './one-stream.ts'
import { parse } from './options.ts'
import { cores, FILES, FLOOR, PLAIN, start, stop } from './servers.ts'
import { naturalStreams, shortStreams } from './short-streams.ts'
import { stalledReader } from './stalled-reader.ts'
import { stalledSubscriber } from './stalled-subscriber.ts'
import { median } from './table.ts'

/*
 * `npm run bench -- --rounds 5 --readme test/bench/README.md --svg .github/performance.svg`
 *
 * The servers run in their own processes on one core, the load generator is this process on another. Prints Markdown,
 * writes it into the places of the document of `--readme`, and draws the chart into the file of `--svg`. `--only` takes
 * names of the parts below, and `--nodes` versions of Node, both with commas. The sizes: options.ts.
 */
const { sizes, texts } = parse('only', 'nodes', 'readme', 'svg')
const { rounds, connections, each } = sizes

const blocks = new Map<string, string>()
function show (name: string, block: string): void {
  blocks.set(name, block)
  console.log(`${block}\n`)
}

/** The comparisons of the chart. */
const charted: Comparison[] = []

const parts: Record<string, () => Promise<void>> = {
  async streams () {
    const servers = await start('streams')
    const workloads = [oneStream(sizes), manyStreams({ ...sizes, events: 100 }), shortStreams(sizes),
      naturalStreams(sizes)]
    const compared = await Comparison.of(workloads, servers, rounds)
    charted.push(...compared)
    const [one, many, short, natural] = compared as [Comparison, Comparison, Comparison, Comparison]
    for (const comparison of [one, many, short]) show(comparison.workload.name, comparison.table())
    show(natural.workload.name, natural.table(short))
    // The other servers have no bound, or no end.
    show('stalled reader', await stalledReader(servers.slice(0, 3), { stallFor: sizes.stall }))
    await stop(servers)
  },

  async leaving () {
    const servers = await start('streams', ['leaving'])
    show('leaving', await leaving(servers[0]!, { visits: sizes.leave }))
    await stop(servers)
  },

  async idle () {
    const servers = await start('broadcast')
    show('idle', await idle(servers, { connections: sizes.idle }))
    await stop(servers)
  },

  async broadcast () {
    const servers = await start('broadcast', Object.keys({ ...FILES, ...FLOOR }))
    const compared = await Comparison.of(fanOut({ connections, events: each, bursts: [1, 10] }), servers, rounds)
    charted.push(...compared)
    for (const comparison of compared) show(comparison.workload.name, comparison.table())
    const busy = median(compared[0]!.cpuOf(servers[1]!)) * connections / 1_000
    show('half load', await halfLoad(servers, {
      rounds: Math.min(rounds, 3),
      connections,
      events: Math.ceil(each / 4),
      interval: Math.max(1, 2 * busy)
    }))
    const libraries = servers.slice(0, Object.keys(FILES).length)
    show('stalled subscriber', await stalledSubscriber(libraries, { events: each * 100 }))
    await stop(servers)
  },

  async 'fast-readers' () {
    const servers = await start('broadcast', ['paced'])
    show('fast readers', await fastReaders(servers[0]!, {
      rounds, readers: Math.min(99, connections), events: each * 2
    }))
    await stop(servers)
  },

  async secure () {
    // `streamSSE` of hono sets `Transfer-Encoding`, which Node's HTTP/2 rejects.
    const filesOf = { https: Object.keys(FILES), h2: Object.keys(FILES).filter(file => file !== 'hono') }
    for (const [transport, name] of [['https', 'TLS'], ['h2', 'HTTP/2']] as const) {
      for (const folder of ['broadcast', 'streams'] as const) {
        const servers = await start(folder, filesOf[transport], { transport })
        const workloads = folder === 'broadcast'
          ? fanOut({ connections, events: Math.ceil(each / 4), bursts: [1], transport })
          : [naturalStreams({ ...sizes, transport })]
        for (const comparison of await Comparison.of(workloads, servers, rounds)) {
          show(`${comparison.workload.name}, ${name}`, comparison.table())
        }
        await stop(servers)
      }
    }
  },

  async nodes () {
    if (texts.nodes === undefined) return
    show('nodes', await nodes(texts.nodes.split(','), {
      streams: [oneStream(sizes), manyStreams({ ...sizes, events: 100 }), shortStreams(sizes), naturalStreams(sizes)],
      broadcast: fanOut({ connections, events: Math.ceil(each / 4), bursts: [1, 10] })
    }, rounds))
  }
}

const chosen = texts.only?.split(',') ?? Object.keys(parts)
for (const name of chosen) {
  if (parts[name] === undefined) throw new TypeError(`--only takes ${Object.keys(parts).join(', ')}, got ${name}`)
}
for (const name of chosen) {
  const startedAt = performance.now()
  await parts[name]!()
  console.error(`${name}: ${((performance.now() - startedAt) / 1_000).toFixed(0)} s\n`)
}

show('machine',
  `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node.js ${process.version}, ${process.platform}. ` +
  (cores === undefined ? 'Nothing pinned to a core. ' : 'Servers pinned to one core, load generator to another. ') +
  `Medians of ${rounds} interleaved rounds (least–greatest); ratios to node:http in the same round. ` +
  'Only fastify-typed-sse validates its events.')
console.log('Reproduce with `npm run bench`.')
if (texts.svg !== undefined) {
  if (chosen.includes('streams') && chosen.includes('broadcast')) writeFileSync(texts.svg, chart(charted, PLAIN.http))
  else console.error('The chart needs the parts streams and broadcast')
}
if (texts.readme !== undefined) {
  const document = readFileSync(texts.readme, 'utf8')
  writeFileSync(texts.readme, filled(document, blocks))
  const missing = homeless(document, blocks)
  if (missing.length > 0) console.error(`${texts.readme} has no place for: ${missing.join(', ')}`)
}
