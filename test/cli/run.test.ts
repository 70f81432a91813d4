import t from 'tap'
import { commands, run } from '../../lib/cli/run.ts'
import { ends, Scripted, streams } from '../setup/scripted.ts'
import { Shell } from '../setup/shell.ts'
import { within } from '../setup/within.ts'

t.test('help is written to stdout with exit code 0', async t => {
  for (const args of [['--help'], ['-h'], ['help'],
    ...commands.flatMap(({ name }) => [[name, '--help'], [name, 'http://127.0.0.1/', '-h']])]) {
    const shell = new Shell()
    t.equal(await run(args, shell), 0)
    t.match(shell.stdout.text, /^Usage: fastify-typed-sse-client /)
    t.equal(shell.stderr.text, '')
  }
})

t.test('an invalid command is reported on stderr, with a hint, and exits with 2', async t => {
  for (const [args, fault] of [
    [[], /^The command is missing\n\nUsage: /],
    [['tial'], /^Unknown command 'tial'\n\nUsage: /],
    [['\x1b[2J'], /^Unknown command '\\u001b\[2J'\n/],
    [['tail'], /^The URL is missing\n\nRun 'fastify-typed-sse-client tail --help'/],
    [['tail', 'localhost'], /^Invalid URL '.*': expected http/],
    [['tail', 'http://a/', '--nope'], /^Unknown option '--nope'\n/],
    [['tail', '--', '--help'], /^Invalid URL '.*': expected http/]
  ] as const) {
    const shell = new Shell()
    t.equal(await run(args, shell), 2, args.join(' '))
    t.match(shell.stderr.text, fault)
    t.equal(shell.stdout.text, '')
  }
})

t.test('a command receives the arguments after its name, and returns its exit code', async t => {
  const server = await Scripted.start(t, ends('data: 1\n\n'))
  const shell = new Shell()
  t.equal(await within('the end', run(['tail', server.url, '--no-reconnect'], shell)), 0)
  t.match(shell.stdout.text, /message {2}- {2}1\n$/)
  t.equal(shell.listenerCount('SIGINT'), 0, 'and it is not interrupted any more')
})

t.test('Ctrl-C ends a command, and a second one is not handled', async t => {
  const server = await Scripted.start(t, streams('data: 1\n\n'))
  const shell = new Shell()
  const code = run(['tail', server.url], shell)
  await shell.stdout.until('1\n')
  shell.emit('SIGINT')
  t.equal(shell.listenerCount('SIGINT'), 0)
  t.equal(await within('the end', code), 130)
})

t.test('an error other than a usage error is thrown', async t => {
  const shell = Object.defineProperty(new Shell(), 'env', { value: undefined })
  await t.rejects(run(['tail', 'http://127.0.0.1/'], shell), TypeError)
  t.equal(shell.listenerCount('SIGINT'), 0)
})

t.test('a closed stdout or stderr is no failure', async t => {
  const shell = new Shell()
  shell.stdout.failure = shell.stderr.failure = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })
  t.equal(await run(['--help'], shell), 0)
  t.equal(await run(['nope'], shell), 2)
  await new Promise(setImmediate)
})
