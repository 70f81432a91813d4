import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { promisify } from 'node:util'
import t from 'tap'
import { Audience } from './bench/audience.ts'

const run = (...args: string[]): Promise<{ stdout: string }> => promisify(execFile)(process.execPath, ['--import', 'tsx', 'test/bench/run.ts', ...args])

const number = '\\d[\\d,.]*'
const spread = `${number} \\(${number}–${number}\\)`
const growth = `${number} → ${number} MB \\([−+]${number}\\)`
const version = '\\d+\\.\\d+\\.\\d+'

const row = (name: string, cell: string, count: number): string => `\\| ${name} (\\| ${cell} ){${count}}\\|\\n`

/** A table whose first head is that text, with these rows and no other. */
const table = (head: string, rows: string[]): RegExp => new RegExp(`^\\| ${head} \\|.*\\n\\|[ -|]*\\n${rows.join('')}\\n`, 'm')

t.test('the benchmark measures every contestant, prints a table with a row for each, and ends by itself', async t => {
  const { stdout } = await run('--rounds', '1', '--events', '2000', '--stall', '200', '--connections', '5', '--each', '20')
  const single = [`fastify-typed-sse ${version}`, 'node:http, `res\\.write` per event', `@fastify/sse ${version}`]
  t.match(stdout, table('one stream, 2,000 small events', single.map(name => row(name, spread, 4))))
  t.match(stdout, table('one reader that never reads, endless source, after 0.2 s', single.map(name => row(name, growth, 2))))
  const broadcast = [`fastify-typed-sse ${version}`, 'node:http, `res\\.write` of one buffer', `@fastify/sse ${version}`, `better-sse ${version}`]
  for (const events of ['one event', '10 events']) {
    t.match(stdout, table(`5 connections, ${events} of 200 bytes per turn`, broadcast.map(name => row(name, spread, 4))))
  }
  t.match(stdout, table('5 fast readers, one event every 2 ms', ['alone', 'beside one that never reads'].map(name => row(name, spread, 4))))
  t.match(stdout, `Node.js ${process.version}`, 'the machine')
  t.match(stdout, '`npm run bench`', 'how to reproduce')
})

t.test('the benchmark refuses a number of rounds that is none', async t => {
  await t.rejects(run('--rounds', '0'), { code: 1, stderr: /--rounds takes a whole number from 1, got 0/ })
})

t.test('an audience notices one event too many, and one too few', async t => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo

  /** Each connection expects two events and is given so many; one that gets too few is closed. */
  const hear = async (...given: number[]): Promise<void> => {
    const sockets: Socket[] = []
    server.removeAllListeners('connection').on('connection', socket => {
      sockets.push(socket)
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
    })
    const audience = await Audience.open(port, given.length)
    try {
      await audience.hear(2, async () => given.forEach((count, index) => {
        sockets[index]!.write('~'.repeat(count))
        if (count < 2) sockets[index]!.end()
      }))
      audience.close()
    } finally {
      for (const socket of sockets) socket.destroy()
    }
  }

  await hear(2, 2)
  await t.rejects(hear(2, 3), { message: '1 of 2 connections did not get exactly 2 events; the first of them got 3' })
  await t.rejects(hear(2, 1), { message: 'A connection ended after 1 events' })
})
