import { EventEmitter, getEventListeners } from 'node:events'
import t from 'tap'
import { painterOf, write, type Output } from '../../lib/cli/terminal.ts'
import { Shell } from '../setup/shell.ts'

t.test('there are colours on a terminal, for those who want them', async t => {
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

t.test('a write waits for room, unless the output or the user is gone', async t => {
  const full = (): EventEmitter & { destroyed: boolean, write: () => boolean } => Object.assign(new EventEmitter(), { destroyed: false, write: () => false })
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
