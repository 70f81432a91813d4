import t from 'tap'
import { jsonLine, Layout } from '../../lib/cli/layout.ts'

const TIME = new Date(2026, 0, 2, 3, 4, 5, 6)
const plain = new Layout((_style, text) => text)

t.test('time, name, id and data are in columns, which grow with the events', async t => {
  const layout = new Layout((_style, text) => text)
  t.equal(layout.lines({ event: 'message', id: '', data: 'one' }, TIME), '03:04:05.006  message  -  one\n')
  t.equal(layout.lines({ event: 'price-changed', id: 'abc-12', data: 'two' }, TIME),
    '03:04:05.006  price-changed  abc-12  two\n')
  t.equal(layout.lines({ event: 'message', id: '7', data: 'three' }, TIME),
    '03:04:05.006  message        7       three\n')
})

t.test('a very long name shifts its own line only', async t => {
  const layout = new Layout((_style, text) => text)
  t.equal(layout.lines({ event: 'x'.repeat(50), id: '1', data: 'a' }, TIME), `03:04:05.006  ${'x'.repeat(50)}  1  a\n`)
  t.equal(layout.lines({ event: 'y', id: '1', data: 'b' }, TIME), `03:04:05.006  y${' '.repeat(31)}  1  b\n`)
})

t.test('lines of data are aligned', async t => {
  t.equal(plain.lines({ event: 'note', id: '1', data: 'one\n\nthree' }, TIME),
    '03:04:05.006  note     1  one\n\n                          three\n')
  t.equal(plain.lines({ event: 'note', id: '1', data: '' }, TIME), '03:04:05.006  note     1\n')
})

t.test('colours do not change the columns', async t => {
  const painted = new Layout((style, text) => `<${style}>${text}</>`)
  t.equal(painted.lines({ event: 'a', id: '1', data: 'x\ny' }, TIME),
    '<dim>03:04:05.006</>  <cyan>a      </>  <dim>1</>  x\n                          y\n')
})

t.test('nothing in an event controls the terminal', async t => {
  t.equal(plain.lines({ event: '\x1b[2J', id: '\x07', data: '\x1b]0;title\x07\ra' }, TIME),
    '03:04:05.006  \\u001b[2J  \\u0007  \\u001b]0;title\\u0007\\u000da\n')
})

t.test('--json formats an event as one line, with the time in UTC', async t => {
  const event = { event: 'note', id: '1', data: 'one\ntwo \x9b\u2028' }
  const line = jsonLine(event, TIME)
  t.notMatch(line.slice(0, -1), /[\n\x9b\u2028]/)
  t.ok(line.endsWith('}\n'))
  t.strictSame(JSON.parse(line), { time: TIME.toISOString(), ...event })
})
