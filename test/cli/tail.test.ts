import { once } from 'node:events'
import t, { type Test } from 'tap'
import { tail } from '../../lib/cli/tail.ts'
import { answers, cuts, ends, Scripted, streams, type Answer } from '../setup/scripted.ts'
import { Shell } from '../setup/shell.ts'
import { within } from '../setup/within.ts'

interface Run { shell: Shell, server: Scripted, code: Promise<number> }

async function start (
  t: Test,
  script: Answer[],
  args: string[] = [],
  prepare: (shell: Shell) => void = () => {}
): Promise<Run> {
  const server = await Scripted.start(t, ...script)
  const shell = new Shell()
  prepare(shell)
  const code = within('the end', tail.run([server.url, ...args], shell))
  t.teardown(() => {
    shell.interrupt()
    return code
  })
  return { server, shell, code }
}

/** Returns the lines without their times. */
const shownBy = ({ shell }: Run): string[] =>
  shell.stdout.lines.map(line => line.replace(/^\d\d:\d\d:\d\d\.\d{3} {2}/, ''))
const event = (id: number, name = 'message'): string => `event: ${name}\nid: ${id}\ndata: ${id}\n\n`
const AT_ONCE = 'retry: 1\n\n'

t.test('events are printed as they arrive, and stdout has nothing else', async t => {
  const run = await start(t, [ends(`: hello\n\n${event(1)}${event(2, 'note')}`)], ['--no-reconnect'])
  t.equal(await run.code, 0)
  t.strictSame(shownBy(run), ['message  1  1', 'note     2  2'])
  t.equal(run.shell.stderr.text, 'The server has no more events\n')
})

t.test('--json writes an object per line', async t => {
  const { code, shell } = await start(t, [ends(event(1) + event(2, 'note'))], ['--no-reconnect', '--json'])
  t.equal(await code, 0)
  t.match(shell.stdout.lines.map(line => JSON.parse(line) as unknown), [
    { time: /^\d{4}-.*Z$/, event: 'message', id: '1', data: '1' },
    { time: /Z$/, event: 'note', id: '2', data: '2' }
  ])
})

t.test('--event selects events, and --count ends after that number of them', async t => {
  const { code, shell, server } = await start(t, [
    streams(
      [1, 2, 3, 4].map(n => event(n, n % 2 === 0 ? 'even' : 'odd')).join('') + event(5, 'other') + event(6, 'even')
    )
  ], ['--event', 'even', '--event', 'other', '--count', '2', '--json'])
  t.equal(await code, 0)
  t.strictSame(shell.stdout.lines.map(line => (JSON.parse(line) as { id: string }).id), ['2', '4'])
  t.notOk(await within('the end of the request', server.asked[0]!.over), 'the server sees it leave')
})

t.test('--since and --header are sent', async t => {
  const { code, server } = await start(t, [answers(204)], ['--since', 'ä-7', '--header', 'Authorization: Bearer 1',
    '-H', 'x-two: 2'])
  t.equal(await code, 0)
  t.match(server.asked[0]!.headers, {
    'last-event-id': Buffer.from('ä-7').toString('latin1'),
    authorization: 'Bearer 1',
    'x-two': '2',
    accept: 'text/event-stream'
  })
})

t.test('a broken connection is resumed after the last event, and reported on stderr', async t => {
  const { code, shell, server } = await start(t, [cuts(AT_ONCE + event(1)), answers(503), ends(AT_ONCE + event(2)),
    answers(204)])
  t.equal(await code, 0)
  t.strictSame(shell.stdout.lines.map(line => line.at(-1)), ['1', '2'])
  t.strictSame(server.asked.map(({ headers }) => headers['last-event-id']), [undefined, '1', '1', '2'])
  t.match(shell.stderr.lines, [
    /^The connection failed: .*, reconnecting in \d\.\d s$/,
    /^The server answered with status 503, reconnecting in \d\.\d s$/,
    'Reconnected, resuming after 1',
    'The stream ended, reconnecting',
    'The server has no more'
  ])
})

t.test('without ids the report names no position', async t => {
  const { code, shell } = await start(t, [ends(`${AT_ONCE}data: 1\n\n`), ends(`${AT_ONCE}data: 2\n\n`), answers(204)])
  t.equal(await code, 0)
  t.equal(shell.stderr.lines[1], 'Reconnected, resuming')
})

t.test('the end mark of a finite stream ends tail', async t => {
  const { code } = await start(t, [ends(event(1) + 'id: sse.end\n\n')])
  t.equal(await code, 0)
})

t.test('a failure has an exit code, and its reason is on stderr', async t => {
  for (const { title, script, args = [], exit, reason } of [
    {
      title: 'a broken connection, with --no-reconnect',
      script: [cuts(event(1))],
      args: ['--no-reconnect'],
      exit: 1,
      reason: /^The connection failed: .*other side closed\n$/
    },
    {
      title: 'an error event',
      script: [streams('event: error\ndata: {"title":"Internal \\u001b[2J"}\n\n')],
      exit: 1,
      reason: /^The server failed: Internal \\u001b\[2J\n$/
    },
    { title: 'a status', script: [answers(401)], exit: 3, reason: /^The server answered with status 401\n$/ },
    {
      title: 'a status that may pass, with --no-reconnect',
      script: [answers(503)],
      args: ['--no-reconnect'],
      exit: 3,
      reason: /^The server answered with status 503\n$/
    },
    {
      title: 'no event stream',
      script: [answers(200, { 'content-type': 'text/html' })],
      exit: 3,
      reason: /^The server answered with type text\/html\n$/
    }
  ]) {
    t.test(title, async t => {
      const { code, shell } = await start(t, script, args)
      t.equal(await code, exit)
      t.match(shell.stderr.text, reason)
    })
  }
})

t.test('an unreachable server is reported with the reason of the system', async t => {
  const server = await Scripted.start(t, answers(204))
  const { url } = server
  await server.stop()
  const shell = new Shell()
  t.equal(await tail.run([url, '--no-reconnect'], shell), 1)
  t.match(shell.stderr.text, /^The connection failed: connect ECONNREFUSED 127\.0\.0\.1:\d+\n$/)
})

t.test('Ctrl-C ends tail with 130', async t => {
  const { code, shell, server } = await start(t, [streams(event(1))])
  await shell.stdout.until('1\n')
  shell.interrupt()
  t.equal(await code, 130)
  t.notOk(await server.asked[0]!.over)
})

t.test('a closed stdout ends tail with exit code 0', async t => {
  const { code, shell } = await start(t, [streams(event(1))], [], ({ stdout }) => {
    stdout.failure = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })
  })
  t.equal(await code, 0)
  t.equal(shell.stderr.text, '')
})

t.test('another error of stdout is a failure', async t => {
  const { code, shell } = await start(t, [streams(event(1))], [], ({ stdout }) => {
    stdout.failure = new Error('no space left on device')
  })
  t.equal(await code, 1)
  t.equal(shell.stderr.text, 'The output failed: no space left on device\n')
})

t.test('a slow reader of stdout stops the server', async t => {
  const { code, shell } = await start(t, [ends(event(1) + event(2) + event(3))], ['--no-reconnect'], ({ stdout }) => {
    stdout.cork()
  })
  // The result of write() counts, not the size of the buffer.
  shell.stdout.write = new Proxy(shell.stdout.write, {
    apply: (target, self, args) => Reflect.apply(target, self, args) && false
  }) as typeof shell.stdout.write
  await within('the first', once(shell.stdout, 'newListener'))
  shell.stdout.uncork()
  const drain = setInterval(() => shell.stdout.emit('drain'), 1)
  t.equal(await code, 0)
  clearInterval(drain)
  t.equal(shell.stdout.lines.length, 3)
})

t.test('colours are used on a terminal only', async t => {
  for (const isTTY of [true, false]) {
    const { code, shell } = await start(t, [ends(event(1))], ['--no-reconnect'], ({ stdout }) => {
      stdout.isTTY = isTTY
    })
    t.equal(await code, 0)
    t.equal(shell.stdout.text.includes('\x1b['), isTTY)
  }
})

t.test('an invalid count or id is a usage error', async t => {
  for (const args of [['--count', '0'], ['--count', 'x'], ['--since', 'a\nb'], ['--since', 'a\u0001b'], ['--since',
    'a\u007fb']]) {
    await t.rejects(tail.run(['http://127.0.0.1/', ...args], new Shell()), { code: 'FST_SSE_USAGE' })
  }
})

t.test('a request that fetch rejects is a usage error, without a second attempt', async t => {
  for (const args of [['http://127.0.0.1:1/'], ['http://127.0.0.1:9999/', '--header', 'expect: 100-continue']]) {
    await t.rejects(tail.run(args, new Shell()), { code: 'FST_SSE_USAGE', message: /^fetch rejects the request: / })
  }
})

t.test('--header is sent after a redirect, and not to another origin; a loop is an error', async t => {
  const other = await Scripted.start(t, answers(204))
  const { code, server } = await start(t, [answers(302, { location: '/there' }), answers(302, { location: other.url })],
    ['-H', 'x-api-key: secret'])
  t.equal(await code, 0)
  t.equal(server.asked[1]!.headers['x-api-key'], 'secret')
  t.notOk('x-api-key' in other.asked[0]!.headers)
  const circle = await start(t, [answers(302, { location: '/' })], ['-H', 'x-api-key: secret'])
  t.equal(await circle.code, 3)
  t.equal(circle.shell.stderr.text, 'The redirect is not followed: it is redirect 21\n')
})
