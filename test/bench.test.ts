import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { promisify } from 'node:util'
import t from 'tap'
import { Audience } from './bench/audience.ts'

const run = (...args: string[]): Promise<{ stdout: string }> =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', 'test/bench/run.ts', ...args])

const number = '\\d[\\d,.]*'
const spread = `${number} \\(${number}–${number}\\)`
const growth = `${number} → ${number} MB \\([−+]${number}\\)`
const version = '\\d+\\.\\d+\\.\\d+'

const row = (name: string, cell: string, count: number): string => `\\| ${name} (\\| ${cell} ){${count}}\\|\\n`

/** A table whose first head is that text, with these rows and no other. */
const table = (head: string, rows: string[]): RegExp =>
  new RegExp(`^\\| ${head} \\|.*\\n\\|[ -|]*\\n${rows.join('')}\\n`, 'm')

t.test('the benchmark measures every contestant, prints a table with a row for each, draws them, and ends by itself', async t => {
  const svg = `${t.testdir()}/chart.svg`
  const { stdout } = await run('--rounds', '1', '--events', '2000', '--clients', '3', '--streams', '40', '--stall',
    '200', '--connections', '5', '--each', '20', '--idle', '20', '--leave', '3', '--svg', svg)
  const names = [`fastify-typed-sse ${version}`, 'node:http', `@fastify/sse ${version}`, `fastify-sse-v2 ${version}`,
    `better-sse ${version}`, `hono ${version}`, `h3 ${version}`]
  const rows = (cell: string, count: number, of = names): string[] => of.map(name => row(name, cell, count))
  const broadcast = [...names, 'bare sockets']
  const compared = [
    'one stream, 2,000 small events',
    '3 streams, 100 small events each, one per turn',
    '40 streams of 10 small events, 20 kept-alive connections',
    '5 connections, one event of 200 bytes per turn',
    '5 connections, 10 events of 200 bytes per turn'
  ]
  for (const what of compared) {
    t.match(stdout, table(what, rows(spread, 3, what.startsWith('5 connections') ? broadcast : names)), what)
  }
  t.match(stdout, table('one reader that never reads, endless source, after 0.2 s', rows(growth, 2, names.slice(0, 3))))
  t.match(stdout,
    table('3 clients that leave, one after the other',
      ['the source waits', 'the client does not read'].map(what =>
        row(what, '\\d+\\.\\d\\d \\(≤ \\d+\\.\\d\\d\\)', 4)
      )))
  t.match(stdout, table('20 idle connections', rows('-?\\d+\\.\\d', 2)))
  t.match(stdout, table('5 connections, one event every [\\d.]+ ms', rows(spread, 2, broadcast)))
  t.match(stdout, table('6 readers and one that never reads, 2,000 events of 200 bytes', rows(growth, 2)))
  t.match(stdout,
    table('5 fast readers, one event every 2 ms',
      ['alone', 'beside one that never reads'].map(name => row(name, spread, 4))))
  t.match(stdout, `Node.js ${process.version}`, 'the machine')
  t.match(stdout, '`npm run bench`', 'how to reproduce')
  const drawn = readFileSync(svg, 'utf8')
  for (const what of compared) t.match(drawn, what)
  t.equal(drawn.match(/<rect class="ours"/g)?.length, compared.length)
  t.equal(drawn.match(/<rect /g)?.length, compared.length * names.length + 2)
})

t.test('the benchmark rejects an invalid number of rounds', async t => {
  await t.rejects(run('--rounds', '0'), { code: 1, stderr: /--rounds takes a whole number from 1, got 0/ })
})

t.test('an audience notices one event too many, and one too few', async t => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo

  /** Each connection expects two events and is given so many; one that gets too few is closed. */
  const receive = async (...given: number[]): Promise<void> => {
    const sockets: Socket[] = []
    server.removeAllListeners('connection').on('connection', socket => {
      sockets.push(socket)
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
    })
    const audience = await Audience.open(port, given.length)
    try {
      await audience.receive(2, async () => given.forEach((count, index) => {
        sockets[index]!.write('~'.repeat(count))
        if (count < 2) sockets[index]!.end()
      }))
      audience.close()
    } finally {
      for (const socket of sockets) socket.destroy()
    }
  }

  await receive(2, 2)
  await t.rejects(receive(2, 3), {
    message: '1 of 2 connections did not get exactly 2 events; the first of them got 3'
  })
  await t.rejects(receive(2, 1), { message: 'A connection ended after 1 events' })
})
