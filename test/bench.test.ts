import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'

const contestants = ['fastify-typed-sse \\d+\\.\\d+\\.\\d+', 'node:http, `res\\.write` per event', '@fastify/sse \\d+\\.\\d+\\.\\d+']
const number = '\\d[\\d,.]*'
const spread = `${number} \\(${number}–${number}\\)`
const growth = `${number} → ${number} MB \\([−+]${number}\\)`

const row = (name: string, cell: string, count: number): RegExp => new RegExp(`^\\| ${name} (\\| ${cell} ){${count}}\\|$`, 'm')

t.test('the benchmark measures every contestant, prints a table with a row for each, and ends by itself', async t => {
  const args = ['--import', 'tsx', 'test/bench/run.ts', '--rounds', '1', '--events', '2000', '--stall', '200']
  const { stdout } = await promisify(execFile)(process.execPath, args)
  for (const name of contestants) {
    t.match(stdout, row(name, spread, 4), 'speed')
    t.match(stdout, row(name, growth, 2), 'memory')
  }
  t.match(stdout, `Node.js ${process.version}`, 'the machine')
  t.match(stdout, '`npm run bench`', 'how to reproduce')
})

t.test('the benchmark refuses a number of rounds that is none', async t => {
  await t.rejects(promisify(execFile)(process.execPath, ['--import', 'tsx', 'test/bench/run.ts', '--rounds', '0']), { code: 1, stderr: /--rounds, --events and --stall take a whole number from 1, got 0/ })
})
