import t from 'tap'
import { arrival } from '../../../lib/cli/doctor/arrival.ts'
import { event, every, examined, found, STREAM, type Came, type Sight } from '../../setup/seen.ts'

const arrivalOf = async (base: Sight, origin?: Sight) => arrival(await examined({ base, origin }))
const long = (id: number): string => event(id, 'x'.repeat(500))

/** A buffer that lets go when it is full: of a stream with so many events, one per interval. */
function lumped (size: number, interval: number, count: number): Came {
  const came: Array<[number, string]> = []
  let kept = ''
  for (let id = 1; id <= count; id++) {
    kept += long(id)
    for (; kept.length >= size; kept = kept.slice(size)) came.push([id * interval, kept.slice(0, size)])
  }
  return came
}

t.test('events that come one by one are as they should be', async t => {
  t.strictSame(await arrivalOf({ came: [[5, ':\n\n'], ...every(1_000, 3)] }), { name: 'arrival', mark: 'ok', summary: '3 events and 1 comment, in 4 pieces', findings: [] })
})

t.test('pieces that end in the middle of an event, whose rest is late, are those of a buffer', async t => {
  t.match(found(await arrivalOf({ came: lumped(4_096, 500, 40) })), [/^problem: It looks buffered: 4 pieces ended in the middle .* \(4096, 4096, 4096, 4096 bytes\)/])
  t.match(found(await arrivalOf({ came: lumped(4_096, 500, 20) })), [/^problem: It looks buffered: a piece ended/], 'one of them is enough where its size is round')
  t.match(found(await arrivalOf({ came: lumped(3_000, 500, 20) })), [/^problem: It looks buffered: 2 pieces/], 'and otherwise two')
  t.strictSame(found(await arrivalOf({ came: lumped(3_000, 500, 14) })), [], 'and one is chance')
})

t.test('a large event that comes in pieces, one right after the other, is none', async t => {
  t.strictSame(found(await arrivalOf({ came: [[10, long(1).slice(0, 100)], [30, long(1).slice(100)], [1_000, long(2).slice(0, 100)], [1_200, long(2).slice(100)]] })), [])
})

t.test('all at the end, after a silence, is a buffer; a fast stream, and a lone event are not', async t => {
  const all = every(1, 5).map(([, text]) => text).join('')
  t.match(found(await arrivalOf({ came: [[3_000, all]], end: 'complete', at: 3_001 })), [/^problem: It looks buffered: nothing for 3\.0 s, then all 5 events and the end at once/])
  t.strictSame(found(await arrivalOf({ came: [[30, all]], end: 'complete', at: 31 })), [])
  t.strictSame(found(await arrivalOf({ came: [[3_000, event(1)]], end: 'complete', at: 3_001 })), [])
  t.strictSame(found(await arrivalOf({ came: [[3_000, all]], end: 'complete', at: 9_000 })), [])
  t.strictSame(found(await arrivalOf({ came: [[3_000, all]] })), [])
})

t.test('whole events that come together after silences may be buffered, and may be meant', async t => {
  const three = (id: number): string => [id, id + 1, id + 2].map(id => event(id)).join('')
  t.match(found(await arrivalOf({ came: [[5, ':\n\n'], [2_000, three(1)], [4_000, three(4)]] })), [/^warning: It may be buffered: events come together, 3, 3 after silence/])
  t.strictSame(found(await arrivalOf({ came: [[5, ':\n\n'], [2_000, three(1)]] })), [], 'once is chance')
  t.strictSame(found(await arrivalOf({ came: [[5, ':\n\n'], [2_000, three(1)], [2_500, event(9)], [4_000, three(4)]] })), [], 'and where one comes alone, nothing waits for others')
})

t.test('nothing at all: silence and a buffer look alike', async t => {
  t.match(await arrivalOf({ came: [] }), { mark: 'warning', summary: 'nothing within 20.0 s', findings: [{ text: /^Not a byte came\. From here a stream that says nothing looks like one that is held back/, setting: /--origin/ }] })
  t.strictSame(found(await arrivalOf({ came: [], end: 'cut', at: 3_000 })), [])
})

t.test('the origin tells which', async t => {
  t.match(found(await arrivalOf({ came: [] }, { came: every(1_000, 5) })), ['problem: It is buffered: the origin sent its first byte 19.0 s before we left, and here nothing came.'])
  t.match(found(await arrivalOf({ came: every(1_000, 5, 4_000) }, { came: every(1_000, 5) })), ['problem: It is buffered: 5 events came later than from the origin, by up to 4.0 s.'])
  t.match(found(await arrivalOf({}, { came: every(1_000, 20) })), ['note: Compared with the origin nothing is held back. 20 events arrived 0 ms later than at the origin (median; 0 ms at most).'])
  t.match(found(await arrivalOf({ came: every(1_000, 5, 207) }, { came: every(1_000, 5) })), ['warning: Each event waits on the way: 5 events arrived 207 ms later than at the origin (median; 207 ms at most).'])
  t.match(found(await arrivalOf({ came: [[5, ':\n\n']] }, { came: [[5, ':\n\n']] })), ['note: Compared with the origin nothing is held back.'])
  t.match(found(await arrivalOf({}, { came: [] })), ['warning: Nothing came from the origin: there is nothing to compare with.'])
  t.match(found(await arrivalOf({}, { head: false, end: 'failed', error: new Error('refused') })), [/^warning: Nothing came from the origin \(refused\)/, /./].slice(0, 1))
})

t.test('x-accel-buffering is missed where it can be known that it is not there', async t => {
  const { 'x-accel-buffering': _, ...without } = STREAM
  const missed = /^warning: There is no x-accel-buffering/
  t.match(found(await arrivalOf({ headers: without })), [missed])
  t.strictSame(found(await arrivalOf({ headers: { ...without, server: 'nginx/1.22.1' } })), [], 'nginx keeps it for itself')
  t.strictSame(found(await arrivalOf({ headers: without }, { came: every(1_000, 20) })).length, 1, 'the origin has it')
  t.match(found(await arrivalOf({ headers: { ...without, server: 'nginx' } }, { came: every(1_000, 20), headers: without })), [/^note/, missed])
})
