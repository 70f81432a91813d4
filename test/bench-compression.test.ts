import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'

t.setTimeout(300_000)

const run = (...args: string[]): Promise<{ stdout: string }> =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', 'test/bench/compression.ts', ...args])

t.test('the benchmark of compression measures each server, and ends by itself', async t => {
  const { stdout } = await run('--rounds', '1', '--connections', '20', '--events', '30')
  const number = '-?\\d[\\d,.]*'
  const spread = `${number} \\(${number}–${number}\\)`
  const names = ['fastify-typed-sse', 'fastify-typed-sse, `compress`', 'node:http',
    'node:http, a gzip context per connection']
  for (const name of names) {
    t.match(stdout, new RegExp(`^\\| ${name} \\| ${spread} \\| ${spread} (?:\\| ${number} ){4}\\|$`, 'm'), name)
  }
  const ratio = (name: string): number =>
    Number(stdout.split('\n').find(line => line.startsWith(`| ${name} |`))!.split('|')[5])
  t.ok(ratio('fastify-typed-sse, `compress`') < 1.1, 'bytes as of one context')
  t.ok(ratio('fastify-typed-sse') > 2.5)
  t.match(stdout, `Node.js ${process.version}`)
})

t.test('the benchmark of compression rejects an invalid number', async t => {
  await t.rejects(run('--rounds', '0'), { code: 1, stderr: /--rounds takes a whole number from 1, got 0/ })
})
