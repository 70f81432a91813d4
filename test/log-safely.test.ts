import t from 'tap'
import { logSafely } from '../lib/log-safely.ts'
import { oddities } from './setup/oddities.ts'

t.test('a line is written unchanged', async t => {
  const lines: unknown[] = []
  const error = new Error('x')
  const log = { own: 'log', warn (...given: unknown[]) { lines.push([this.own, ...given]) } }
  logSafely(log, 'warn', { err: error, channel: 'news' }, 'text')
  logSafely(log, 'warn', { key: 'a' }, 'other')
  t.strictSame(lines, [['log', { err: error, channel: 'news' }, 'text'], ['log', { key: 'a' }, 'other']])
})

t.test('an error that cannot be read is replaced', async t => {
  for (const [what, thrown] of oddities()) {
    const lines: Array<{ err: Error }> = []
    logSafely({ error: (fields: { err: Error }) => { lines.push(fields) } }, 'error', { err: thrown }, 'text')
    t.match(lines[0]!.err.message, 'cannot be read', what)
  }
})

t.test('if the logger throws, the text is written alone, and a second error is ignored', async t => {
  const lines: unknown[] = []
  const log = {
    error: (...given: unknown[]) => {
      lines.push(given)
      if (typeof given[0] !== 'string') throw new Error('serializer')
    }
  }
  logSafely(log, 'error', { err: new Error('x') }, 'text')
  t.strictSame(lines[1], ['text (the logger threw an error for the fields of this line)'])
  logSafely({ error: () => { throw new Error('no logger') } }, 'error', { err: new Error('x') }, 'text')
})
