import fc from 'fast-check'
import t from 'tap'
import { decodeCursor, encodeCursor, MAX_CHANNELS } from '../../lib/wire/cursor.ts'

type Part = [epoch: string, offset: number]

const part: fc.Arbitrary<Part> = fc.tuple(fc.stringMatching(/^[0-9A-Za-z]{1,32}$/), fc.maxSafeNat())
const parts = fc.uniqueArray(part, { minLength: 1, maxLength: MAX_CHANNELS, selector: ([epoch]) => epoch })

t.test('R1: an event id is epoch and offset, joined by dots for several channels', async t => {
  const cases: Array<[Part[], string]> = [
    [[['a', 0]], 'a-0'],
    [[['1nuxxckpve', 42]], '1nuxxckpve-42'],
    [[['b', 2], ['a', 1]], 'b-2.a-1'],
    [[['2', 7], ['1', 9007199254740991]], '2-7.1-9007199254740991']
  ]
  for (const [positions, id] of cases) {
    t.equal(encodeCursor(positions), id)
    t.strictSame([...decodeCursor(id)!], positions)
  }
  t.equal(encodeCursor([]), '')
})

t.test('R3: a malformed id has no cursor', async t => {
  const bad = [
    '',
    ' ',
    '-',
    '.',
    'a',
    'a-',
    '-1',
    'a-1.',
    '.a-1',
    'a-1..b-2',
    'a-1.a-1',
    'a-1.b-2.a-3',
    'a--1',
    'a-+1',
    'a-01',
    'a-1.5',
    'a-1e3',
    'a-0x1',
    'a- 1',
    ' a-1',
    'a-1 ',
    'a-1\n',
    'a-1\r\nb-2',
    'a-1\u0000',
    'a_b-1',
    'é-1',
    'a-１',
    'a-1,b-2',
    'a-9007199254740992',
    'a-9999999999999999',
    'a-99999999999999999',
    `${'a'.repeat(33)}-1`,
    'undefined',
    '__proto__-1',
    'null',
    '[object Object]',
    'sse.end',
    '1',
    '9'.repeat(5_000)
  ]
  for (const id of bad) t.equal(decodeCursor(id), undefined, JSON.stringify(id.slice(0, 40)))
})

t.test('R3: names such as constructor are valid epochs', async t => {
  t.strictSame([...decodeCursor('constructor-1.toString-2')!], [['constructor', 1], ['toString', 2]])
})

t.test('an id of 64 positions of the greatest length is decoded, a longer id is not', async t => {
  const longest = Array.from({ length: MAX_CHANNELS },
    (_, index): Part => [String(index).padStart(32, 'e'), Number.MAX_SAFE_INTEGER])
  const id = encodeCursor(longest)
  t.strictSame([...decodeCursor(id)!], longest)
  t.equal(decodeCursor(`${id}.a-1`), undefined)
})

t.test('R3: a string of 1 MB has no cursor', async t => {
  for (const unit of ['a', '-', '.', 'a-1.', '0', 'a-', '1-1', '😀']) {
    t.equal(decodeCursor(unit.repeat(Math.ceil(1_048_576 / unit.length))), undefined)
  }
})

t.test('decodeCursor() returns the encoded positions in their order', async t => {
  fc.assert(
    fc.property(parts, positions =>
      JSON.stringify([...decodeCursor(encodeCursor(positions)) ?? []]) === JSON.stringify(positions))
  )
  t.pass('for any positions')
})

t.test('R3: any string decodes to the cursor that encodes to it, or to undefined', async t => {
  const near = fc.array(
    fc.oneof(fc.constantFrom('a', '0', '1', '9', '-', '.', 'Z', '_', ' ', '\n'), part.map(([epoch, offset]) =>
      `${epoch}-${offset}`
    )),
    { maxLength: 12 }
  ).map(pieces => pieces.join(''))
  const any = fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), fc.string({ maxLength: 200 }), near)
  fc.assert(fc.property(any, id => {
    const cursor = decodeCursor(id)
    return cursor === undefined || encodeCursor(cursor) === id
  }), { numRuns: 2_000 })
  t.pass('for any string')
})
