import fc from 'fast-check'
import t from 'tap'
import { printable } from '../../lib/cli/printable.ts'

t.test('what could control a terminal is written as JSON would write it', async t => {
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

t.test('all that is to be read stays as it is', async t => {
  for (const text of ['', 'hello', 'Grüße, 日本', '👩‍👩‍👧 😀', '{"a":"\\n"}']) t.equal(printable(text), text)
})

t.test('no text has a control in it afterwards, and JSON says the same as before', async t => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), text => {
    const json = printable(JSON.stringify(text))
    return !/\p{Cc}/u.test(printable(text)) && !/\p{Cc}/u.test(json) && JSON.parse(json) === text
  }))
})
