import { EventEmitter, getEventListeners } from 'node:events'
import fc from 'fast-check'
import t from 'tap'
import { painterOf, printable, reasonOf, write, type Output } from '../../lib/cli/terminal.ts'
import { Shell } from '../setup/shell.ts'

t.test('colours are used on a terminal, unless the environment disables them', async t => {
  for (const [isTTY, env, shown] of [
    [true, {}, '\x1b[31mno\x1b[0m'],
    [true, { NO_COLOR: '' }, '\x1b[31mno\x1b[0m'],
    [true, { NO_COLOR: '1' }, 'no'],
    [true, { TERM: 'dumb' }, 'no'],
    [false, {}, 'no']
  ] as const) {
    const shell = new Shell()
    shell.stdout.isTTY = isTTY
    shell.env = { ...env }
    t.equal(painterOf(shell)('red', 'no'), shown, JSON.stringify([isTTY, env]))
    t.equal(painterOf(shell)('red', ''), '')
  }
})

t.test('a write waits for room, unless the output is closed or the signal aborts', async t => {
  const full = (): EventEmitter & { destroyed: boolean, write: () => boolean } =>
    Object.assign(new EventEmitter(), { destroyed: false, write: () => false })
  for (const name of ['drain', 'error', 'close']) {
    const output = full()
    const { signal } = new AbortController()
    let done = false
    const written = write(output as unknown as Output, 'text', signal).then(() => { done = true })
    await new Promise(setImmediate)
    t.notOk(done, 'it waits')
    output.emit(name, new Error('gone'))
    await written
    t.strictSame([output.eventNames(), getEventListeners(signal, 'abort')], [[], []], `nothing is left after ${name}`)
  }
  const controller = new AbortController()
  const written = write(full() as unknown as Output, 'text', controller.signal)
  controller.abort()
  await written
  await write(full() as unknown as Output, 'text', controller.signal)
  await write(Object.assign(full(), { destroyed: true }) as unknown as Output, 'text', new AbortController().signal)
  t.pass('none of them waits')
})

t.test('characters that could control a terminal are escaped as in JSON', async t => {
  for (const [given, shown] of [
    ['\x1b[2J', '\\u001b[2J'],
    ['\x9b31m', '\\u009b31m'],
    ['a\0b\x7f', 'a\\u0000b\\u007f'],
    ['a\tb\rc\nd', 'a\\u0009b\\u000dc\\u000ad'],
    ['\u202egnp.exe', '\\u202egnp.exe'],
    ['a\u2028b', 'a\\u2028b'],
    ['\ud800', '\\ud800']
  ] as const) t.equal(printable(given), shown)
})

t.test('readable text is unchanged', async t => {
  for (const text of ['', 'hello', 'Grüße, 日本', '👩‍👩‍👧 😀', '{"a":"\\n"}']) t.equal(printable(text), text)
})

t.test('an escaped text has no control characters, and JSON keeps its value', async t => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), text => {
    const json = printable(JSON.stringify(text))
    return !/\p{Cc}/u.test(printable(text)) && !/\p{Cc}/u.test(json) && JSON.parse(json) === text
  }))
})

t.test('a reason has the message of the error and of its first cause', async t => {
  const refused = new Error('connect ECONNREFUSED 127.0.0.1:1')
  const failed = new TypeError('fetch failed', { cause: refused })
  t.equal(reasonOf(new Error('The connection failed: fetch failed', { cause: failed })),
    'The connection failed: connect ECONNREFUSED 127.0.0.1:1')
  t.equal(reasonOf(new Error('The server answered with status 401')), 'The server answered with status 401')
  t.equal(reasonOf(new Error('The connection failed: bad port', { cause: new Error('bad port') })),
    'The connection failed: bad port')
})

t.test('an error of several addresses without a message has its code or its name', async t => {
  t.equal(reasonOf(Object.assign(new AggregateError([], ''), { code: 'ECONNREFUSED' })), 'ECONNREFUSED')
  t.equal(reasonOf(new AggregateError([])), 'AggregateError')
})
