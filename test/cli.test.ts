import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import t, { type Test } from 'tap'
import { Scripted, streams } from './setup/scripted.ts'
import { within } from './setup/within.ts'

const FILE = 'dist-client/cli.js'
const event = (id: number): string => `id: ${id}\ndata: ${id}\n\n`

function start (t: Test, ...args: string[]) {
  const child = spawn(process.execPath, [FILE, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const written = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', text => {
      written[name] += text
    })
  }
  const exit = once(child, 'close') as Promise<[number | null, string | null]>
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exit
  })
  const until = async (name: 'stdout' | 'stderr', text: string): Promise<void> => {
    while (!written[name].includes(text)) await once(child[name], 'data')
  }
  return {
    child,
    written,
    exit: within('the exit', exit),
    until: (name: 'stdout' | 'stderr', text: string) => within(text, until(name, text))
  }
}

t.test('the bin of the client package is an executable with its name', async t => {
  const { name, bin } = JSON.parse(readFileSync('dist-client/package.json', 'utf8')) as { name: string, bin: object }
  t.strictSame(bin, { [name]: basename(FILE) })
  t.ok(readFileSync(FILE, 'utf8').startsWith('#!/usr/bin/env node\n'))
})

t.test('the command receives the arguments of the process and sets its exit code', async t => {
  const { argv, exitCode } = process
  t.teardown(() => Object.assign(process, { argv, exitCode }))
  process.argv = [...argv.slice(0, 2), 'tail', 'nothing']
  const write = process.stderr.write
  let said = ''
  process.stderr.write = text => {
    said += String(text)
    return true
  }
  await import('../lib/cli.ts').finally(() => { process.stderr.write = write })
  t.equal(process.exitCode, 2)
  t.match(said, /^Invalid URL '.*': expected http/)
  process.exitCode = exitCode ?? 0
})

t.test('--help is written to stdout', async t => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [FILE, '--help'], { encoding: 'utf8' })
  t.match({ status, stdout, stderr }, { status: 0, stdout: /^Usage: /, stderr: '' })
})

t.test('Ctrl-C ends the process with 130 and complete output', async t => {
  const server = await Scripted.start(t, streams(event(1)))
  const { child, exit, until, written } = start(t, 'tail', server.url)
  await until('stdout', '1\n')
  child.kill('SIGINT')
  t.strictSame(await exit, [130, null])
  t.match(written, { stdout: /^\S+ {2}message {2}1 {2}1\n$/, stderr: '' })
})

t.test('a closed stdout, as by `head`, ends the process with exit code 0', async t => {
  const server = await Scripted.start(t, streams(event(1)))
  const { child, exit, until, written } = start(t, 'tail', server.url)
  await until('stdout', '1\n')
  child.stdout.destroy()
  for (let id = 2; child.exitCode === null && id < 1_000; id++) {
    server.asked[0]!.response.write(event(id))
    await new Promise(setImmediate)
  }
  t.strictSame(await exit, [0, null])
  t.equal(written.stderr, '')
})

t.test('a restarted server is reconnected to', async t => {
  const server = await Scripted.start(t, streams('retry: 1\n\n' + event(1)), streams(event(2)))
  const { child, exit, until, written } = start(t, 'tail', server.url, '--json')
  await until('stdout', '"1"')
  server.asked[0]!.response.socket!.resetAndDestroy()
  await until('stdout', '"2"')
  child.kill('SIGINT')
  t.strictSame(await exit, [130, null])
  t.match(written.stderr, /^The connection failed: .*, reconnecting in 0\.0 s\nReconnected, resuming after 1\n$/)
})
