import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, ServerResponse } from 'node:http'
import { createSecureServer } from 'node:http2'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Writable } from 'node:stream'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { Audience } from './bench/audience.ts'
import { secrets, type Server, type Transport } from './bench/connection.ts'
import { Reader } from './bench/reader.ts'
import { absent, POSTGRES, REDIS } from './setup/programs.ts'

const runFile = (file: string, ...args: string[]): Promise<{ stdout: string, stderr: string }> =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', `test/bench/${file}`, ...args])
const run = (...args: string[]): ReturnType<typeof runFile> => runFile('run.ts', ...args)

const number = '\\d[\\d,.]*'
const spread = `${number} \\(${number}–${number}\\)`
const growth = `${number} → ${number} MB \\([−+]${number}\\)`
const version = '\\d+\\.\\d+\\.\\d+'

const row = (name: string, cell: string, count: number): string => `\\| ${name} (\\| ${cell} ){${count}}\\|\\n`

/** A table whose first head is that text, with these rows and no other. */
const table = (head: string, rows: string[]): RegExp =>
  new RegExp(`^\\| ${head} \\|.*\\n\\|[ -|]*\\n${rows.join('')}\\n`, 'm')

t.test('the benchmark measures every contestant, prints a table with a row for each, draws them, and ends by itself', async t => {
  const folder = t.testdir({ 'README.md': readFileSync('test/bench/README.md', 'utf8') })
  const [svg, readme] = [`${folder}/chart.svg`, `${folder}/README.md`]
  const { stdout, stderr } = await run('--rounds', '1', '--events', '2000', '--clients', '3', '--streams', '40',
    '--stall', '200', '--connections', '60', '--each', '20', '--idle', '20', '--leave', '3',
    '--nodes', process.versions.node, '--svg', svg, '--readme', readme)
  const libraries = (plain: string): string[] => [`fastify-typed-sse ${version}`, plain, `@fastify/sse ${version}`,
    `fastify-sse-v2 ${version}`, `better-sse ${version}`, `hono ${version}`, `h3 ${version}`]
  const names = libraries('node:http')
  const rows = (cell: string, count: number, of = names): string[] => of.map(name => row(name, cell, count))
  const broadcast = [...names, 'bare sockets']
  const compared = [
    'one stream, 2,000 small events',
    '3 streams, 100 small events each, one per turn',
    '40 streams of 10 small events, 20 kept-alive connections',
    '40 streams of 10 small events, with a signal and a callback at the close',
    '60 connections, one event of 200 bytes per turn',
    '60 connections, 10 events of 200 bytes per turn'
  ]
  for (const what of compared) {
    const columns = what.includes('signal') ? 4 : 3
    t.match(stdout, table(what, rows(spread, columns, what.startsWith('60 connections') ? broadcast : names)), what)
  }
  for (const [what, of] of [
    ['60 connections over TLS, one event of 200 bytes per turn', libraries('node:https')],
    ['40 streams of 10 small events over TLS, with a signal and a callback at the close', libraries('node:https')],
    ['60 streams in 2 sessions of HTTP/2, one event of 200 bytes per turn', libraries('node:http2')],
    ['40 streams of 10 small events over HTTP/2, with a signal and a callback at the close', libraries('node:http2')]
  ] as const) {
    t.match(stdout, table(what, rows(spread, 3, of.filter(name => !what.includes('HTTP/2') || !/^hono/.test(name)))), what)
  }
  t.match(stdout, table('server CPU, fastify-typed-sse / node:http', compared.map(what =>
    row(`${what}: µs per (event|stream|delivery)`, `${number} / ${number}; ${spread}`, 1))))
  t.match(stdout, table('one reader that never reads, endless source, after 0.2 s', rows(growth, 2, names.slice(0, 3))))
  t.match(stdout,
    table('3 clients that disconnect, one after the other',
      ['the source waits', 'the client does not read'].map(what =>
        row(what, '\\d+\\.\\d\\d \\(≤ \\d+\\.\\d\\d\\)', 4)
      )))
  t.match(stdout, table('20 idle connections', rows('-?\\d+\\.\\d', 2)))
  t.match(stdout, table('60 connections, one event every [\\d.]+ ms', rows(spread, 2, broadcast)))
  t.match(stdout, table('6 readers and one that never reads, 2,000 events of 200 bytes', rows(growth, 2)))
  t.match(stdout,
    table('60 fast readers, one event every 2 ms',
      ['alone', 'beside one that never reads'].map(name => row(name, spread, 4))))
  t.match(stdout, `Node.js ${process.version}`, 'the machine')
  t.match(stdout, '`npm run bench`', 'how to reproduce')
  t.notMatch(stderr, 'has no place', 'the README has a place for each table')
  const written = readFileSync(readme, 'utf8')
  for (const block of stdout.matchAll(/^\|.*\n(?:\|.*\n)+/gm)) t.ok(written.includes(block[0]), block[0])
  t.notMatch(written, '5,000 idle connections', 'and the tables of another run are gone')
  const drawn = readFileSync(svg, 'utf8')
  for (const what of compared) t.match(drawn, what)
  t.equal(drawn.match(/<rect class="ours"/g)?.length, compared.length)
  t.equal(drawn.match(/<rect /g)?.length, compared.length * names.length + 2)
})

t.test('the benchmark of logs measures every log, prints a row for each, and ends by itself', {
  skip: absent(REDIS, POSTGRES)
}, async t => {
  const { stdout } = await runFile('logs/run.ts', '--rounds', '1', '--seconds', '0.1', '--each', '2', '--streams', '20',
    '--events', '2000')
  const names = ['memory', 'SQLite \\((libsql|node:sqlite)\\)', 'PostgreSQL', 'Redis']
  const rows = (cell: string, count: number, of = names): string[] => of.map(name => row(name, cell, count))
  t.match(stdout, table('one node, events of 200 bytes, 1,000 concurrent publishes', rows(spread, 3)))
  t.match(stdout, table('20 streams, 100 channels, 1,000 events/s',
    rows(spread.replaceAll('\\d[', '-?\\d['), 3, names.map((name, index) => `${index < 2 ? '1 node' : '2 nodes'}, ${name}`))))
  t.match(stdout, table('one node', rows(spread, 2)))
  t.match(stdout, `Node.js ${process.version}`, 'the machine')
  t.match(stdout, '`npm run bench:logs`', 'how to reproduce')
})

t.test('a profile adds up the self time of a server for each unit, beside an earlier one', async t => {
  const file = `${t.testdir()}/profile.json`
  const profile = (...args: string[]): ReturnType<typeof runFile> =>
    runFile('profile.ts', '--rounds', '1', '--streams', '40', '--connections', '5', '--each', '20', ...args)
  const share = '\\d+\\.\\d %'
  const time = '\\d+\\.\\d\\d'
  const { stdout } = await profile('--save', file)
  t.match(stdout, /^fastify-typed-sse [\d.]+, 40 streams of 10 small events, with a signal .*, 1 rounds, Node.js v/)
  t.match(stdout, new RegExp(`\\| kernel \\| ${time} \\| ${share} \\|\n`))
  t.match(stdout, new RegExp(`\\| fastify-typed-sse \\| ${time} \\| ${share} \\|\n`))
  const { stdout: beside } = await profile('--before', file, '--workload', 'fan-out', '--transport', 'h2')
  t.match(beside, new RegExp(`\\| fastify-typed-sse \\| ${time} \\| ${time} \\| ${share} \\|\n`))
  await t.rejects(profile('--workload', 'none'), {
    code: 1, stderr: /--workload takes one stream, paced streams, .*, got none/
  })
  await t.rejects(profile('--transport', 'h3'), { code: 1, stderr: /--transport takes http, https, h2, got h3/ })
})

t.test('the benchmark rejects an invalid number of rounds, an unknown part and an unknown option', async t => {
  await t.rejects(run('--rounds', '0'), { code: 1, stderr: /--rounds takes a whole number from 1, got 0/ })
  await t.rejects(run('--only', 'none'), { code: 1, stderr: /--only takes streams, .*, got none/ })
  await t.rejects(run('--help'), { code: 1, stderr: /Unknown option '--help'\. The options: --only, .*--rounds, --events/ })
  await t.rejects(runFile('logs/run.ts', '--rounds', '0'), { code: 1, stderr: /--rounds takes a number above 0, got 0/ })
})

type Listener = (request: { url?: string | undefined }, response: Writable) => void

/** Serves requests over a transport until the end of the test. */
async function serve (t: Test, transport: Transport, listener: Listener): Promise<Server> {
  const server = transport === 'http'
    ? createServer(listener)
    : transport === 'https' ? createTlsServer(secrets, listener) : createSecureServer(secrets, listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { port: (server.address() as AddressInfo).port, transport }
}

for (const transport of ['http', 'https', 'h2'] as const) {
  t.test(`an audience notices one event too many, and one too few: ${transport}`, async t => {
    const responses: Writable[] = []
    const server = await serve(t, transport, (_, response) => {
      responses.push(response)
      // Over HTTP/1.1, the end of the response is also that of its connection.
      if (response instanceof ServerResponse) response.shouldKeepAlive = false
      response.write(':\n\n')
    })

    /** Each connection expects two events and is given so many; one that gets too few is closed. */
    const receive = async (...given: number[]): Promise<void> => {
      responses.length = 0
      const audience = await Audience.open(server, given.length)
      try {
        await audience.receive(2, async () => given.forEach((count, index) => {
          responses[index]!.write('~'.repeat(count))
          if (count < 2) responses[index]!.end()
        }))
        audience.close()
      } finally {
        for (const response of responses) response.destroy()
      }
    }

    await receive(2, 2)
    await t.rejects(receive(2, 3), {
      message: '1 of 2 connections did not get exactly 2 events; the first of them got 3'
    })
    await t.rejects(receive(2, 1), { message: 'A connection ended after 1 events' })
  })

  t.test(`a reader counts the events of each response, and checks the last: ${transport}`, async t => {
    const server = await serve(t, transport, ({ url }, response) => {
      const events = Array.from({ length: Number(url?.slice(1)) }, (_, n) => `data: {"text":"event ${n + 1}~"}\n\n`)
      response.write(events.join(''))
      response.end()
    })
    const reader = await Reader.open(server)
    t.teardown(() => reader.close())
    // The second has several frames of HTTP/2, and records of TLS.
    for (const events of [3, 5_000, 1]) await reader.read(`/${events}`, events)
    await t.rejects(reader.read('/3', 4), { message: /^\/3: expected 4 events, got 3 to / })
    await t.rejects(reader.read('/3', 3, { last: 4 }), { message: /^\/3: expected 3 events, got 3 to / })
  })
}

t.test('the benchmark of a pace compares it with all events and a loop per client', async t => {
  const { stdout } = await runFile('pace.ts', '--rounds', '1', '--clients', '3', '--events', '40', '--keys', '4')
  t.match(stdout, table('3 clients, 40 events of 4 keys, 500/s', ['all events', 'pace, every 200 ms',
    'a loop per client'].map(name => row(name, spread, 2))))
})
