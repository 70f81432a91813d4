import fc from 'fast-check'
import t from 'tap'
import { decodePiece } from '../../../lib/log/redis/piece.ts'

/** As the scripts write it. */
function encode (head: string, entries: ReadonlyArray<{ offset: number, event: string, data: string, json: boolean }>): Buffer {
  return Buffer.concat([Buffer.from(`${head}\n`), ...entries.map(({ offset, event, data, json }) => Buffer.from(
    `${offset} ${Buffer.byteLength(event)} ${Buffer.byteLength(data)} ${json ? 'json' : 'text'}\n${event}${data}`))])
}

t.test('a piece without entries is where the log stands', async t => {
  t.strictSame(decodePiece(Buffer.from('abc 3 7 1700000000000 1\n')), { epoch: 'abc', oldest: 3, newest: 7, stamp: '1700000000000', ended: true, entries: [] })
  t.strictSame(decodePiece(Buffer.from('abc 1 0 0 0\n')), { epoch: 'abc', oldest: 1, newest: 0, stamp: '0', ended: false, entries: [] })
})

t.test('what is in an entry does not matter to what follows it', async t => {
  const entry = fc.record({ offset: fc.integer({ min: 1, max: 2 ** 53 - 1 }), event: fc.string({ unit: 'grapheme' }), data: fc.oneof(fc.string({ unit: 'grapheme' }), fc.constant('1 2 3 json\n')), json: fc.boolean() }, { noNullPrototype: true })
  fc.assert(fc.property(fc.array(entry), entries => {
    t.strictSame(decodePiece(encode('e 1 2 3 0', entries)).entries, entries)
  }), { numRuns: 300 })
})
