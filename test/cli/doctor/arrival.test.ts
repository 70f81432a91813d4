import t from 'tap'
import { arrival, compression } from '../../../lib/cli/doctor/arrival.ts'
import { event, every, examined, found, STREAM, type Came, type Sight } from '../../setup/seen.ts'

const arrivalOf = async (base: Sight, origin?: Sight) => arrival(await examined({ base, origin }))
const long = (id: number): string => event(id, 'x'.repeat(500))

/** A stream of `count` events, one per interval, behind a buffer that sends its bytes when it is full. */
function lumped (size: number, interval: number, count: number): Came {
  const came: Array<[number, string]> = []
  let kept = ''
  for (let id = 1; id <= count; id++) {
    kept += long(id)
    for (; kept.length >= size; kept = kept.slice(size)) came.push([id * interval, kept.slice(0, size)])
  }
  return came
}

t.test('events that arrive one by one have no findings', async t => {
  t.strictSame(await arrivalOf({ came: [[5, ':\n\n'], ...every(1_000, 3)] }), {
    name: 'arrival',
    mark: 'ok',
    summary: '3 events and 1 comment, in 4 pieces',
    findings: []
  })
})

t.test('pieces that end in the middle of an event, with a late rest, show a buffer', async t => {
  t.match(found(await arrivalOf({ came: lumped(4_096, 500, 40) })), [
    /^problem: The stream looks buffered: 4 pieces ended in the middle .* \(4096, 4096, 4096, 4096 bytes\)/
  ])
  t.match(found(await arrivalOf({ came: lumped(4_096, 500, 20) })), [
    /^problem: The stream looks buffered: a piece ended/
  ], 'one of them is enough where its size is round')
  t.match(found(await arrivalOf({ came: lumped(3_000, 500, 20) })), [/^problem: The stream looks buffered: 2 pieces/],
    'and otherwise two')
  t.strictSame(found(await arrivalOf({ came: lumped(3_000, 500, 14) })), [], 'and one is chance')
})

t.test('a large event in consecutive pieces shows no buffer', async t => {
  t.strictSame(
    found(
      await arrivalOf({
        came: [[10, long(1).slice(0, 100)], [30, long(1).slice(100)], [1_000, long(2).slice(0, 100)], [1_200,
          long(2).slice(100)]]
      })
    ),
    []
  )
})

t.test('all events at the end, after a silence, show a buffer; a fast stream and a single event do not', async t => {
  const all = every(1, 5).map(([, text]) => text).join('')
  t.match(found(await arrivalOf({ came: [[3_000, all]], end: 'complete', at: 3_001 })), [
    /^problem: The stream looks buffered: no byte for 3\.0 s, then all 5 events and the end together/
  ])
  t.strictSame(found(await arrivalOf({ came: [[30, all]], end: 'complete', at: 31 })), [])
  t.strictSame(found(await arrivalOf({ came: [[3_000, event(1)]], end: 'complete', at: 3_001 })), [])
  t.strictSame(found(await arrivalOf({ came: [[3_000, all]], end: 'complete', at: 9_000 })), [])
  t.strictSame(found(await arrivalOf({ came: [[3_000, all]] })), [])
})

t.test('a buffered stream names the way around it', async t => {
  for (const [base, origin] of [[{ came: [] }, { came: every(1_000, 5) }], [{ came: every(1_000, 5, 4_000) }, {
    came: every(1_000, 5)
  }]] as const) {
    t.match((await arrivalOf(base, origin)).findings[1], { mark: 'note', text: /may poll/, setting: /withPolling\(\)/ })
  }
  t.notMatch(found(await arrivalOf({}, { came: every(1_000, 20) })).join(), 'poll')
})

t.test('events that arrive together after silences may be buffered', async t => {
  const three = (id: number): string => [id, id + 1, id + 2].map(id => event(id)).join('')
  t.match(found(await arrivalOf({ came: [[5, ':\n\n'], [2_000, three(1)], [4_000, three(4)]] })), [
    /^warning: The stream may be buffered: events arrive together, 3, 3 after a silence/
  ])
  t.strictSame(found(await arrivalOf({ came: [[5, ':\n\n'], [2_000, three(1)]] })), [], 'once is chance')
  t.strictSame(
    found(await arrivalOf({ came: [[5, ':\n\n'], [2_000, three(1)], [2_500, event(9)], [4_000, three(4)]] })),
    [],
    'and a single event shows that none is held back'
  )
})

t.test('without a byte, silence and a buffer look alike', async t => {
  t.match(await arrivalOf({ came: [] }), {
    mark: 'warning',
    summary: 'nothing within 20.0 s',
    findings: [{
      text: /^No byte arrived\. From here a silent stream looks like a buffered one/,
      setting: /--origin/
    }]
  })
  t.strictSame(found(await arrivalOf({ came: [], end: 'cut', at: 3_000 })), [])
})

t.test('a comparison with the origin shows a buffer', async t => {
  t.match(found(await arrivalOf({ came: [] }, { came: every(1_000, 5) })), [
    'problem: The stream is buffered: the origin sent its first byte 19.0 s before the end of the examination, and no byte arrived here.'
  ])
  t.match(found(await arrivalOf({ came: every(1_000, 5, 4_000) }, { came: every(1_000, 5) })), [
    'problem: The stream is buffered: 5 events arrived later than from the origin, by up to 4.0 s.'
  ])
  t.match(found(await arrivalOf({}, { came: every(1_000, 20) })), [
    'note: Compared with the origin no event is held back. 20 events arrived 0 ms later than at the origin (median; at most 0 ms).'
  ])
  t.match(found(await arrivalOf({ came: every(1_000, 5, 207) }, { came: every(1_000, 5) })), [
    'warning: Each event is delayed on the way: 5 events arrived 207 ms later than at the origin (median; at most 207 ms).'
  ])
  t.match(found(await arrivalOf({ came: [[5, ':\n\n']] }, { came: [[5, ':\n\n']] })), [
    'note: Compared with the origin no event is held back.'
  ])
  t.match(found(await arrivalOf({}, { came: [] })), [
    'warning: The origin sent no byte: there is nothing to compare with.'
  ])
  t.match(found(await arrivalOf({}, { head: false, end: 'failed', error: new Error('refused') })),
    [/^warning: The origin sent no byte \(refused\)/, /./].slice(0, 1))
})

t.test('a missing x-accel-buffering is reported if it can be seen', async t => {
  const { 'x-accel-buffering': _, ...without } = STREAM
  const missed = /^warning: The header x-accel-buffering: no is missing/
  t.match(found(await arrivalOf({ headers: without })), [missed])
  t.strictSame(found(await arrivalOf({ headers: { ...without, server: 'nginx/1.22.1' } })), [],
    'nginx keeps it for itself')
  t.strictSame(found(await arrivalOf({ headers: without }, { came: every(1_000, 20) })).length, 1, 'the origin has it')
  t.match(
    found(await arrivalOf({ headers: { ...without, server: 'nginx' } }, { came: every(1_000, 20), headers: without })),
    [/^note/, missed]
  )
})

const GZIP = { headers: { ...STREAM, 'content-encoding': 'gzip' } }
const compressionOf = async (compressed: Sight, base: Sight = {}) => compression(await examined({ base, compressed }))

t.test('a stream without compression has no findings', async t => {
  t.strictSame(await compressionOf({}), { name: 'compression', mark: 'ok', summary: 'none', findings: [] })
})

t.test('events that arrive later with compression are a problem', async t => {
  t.match(found(await compressionOf({ ...GZIP, came: every(1_000, 20, 5_000) })), [
    'problem: Compression holds events back: with gzip 20 events arrived later than without, by up to 5.0 s.'
  ])
  t.match(found(await compressionOf({ ...GZIP, came: [] })), [
    'problem: Compression holds events back: with gzip no byte of the stream arrived, 19.0 s after the first one without.'
  ])
})

t.test('compression without delay is a note, and so is an unknown delay', async t => {
  t.match(found(await compressionOf(GZIP)), [/^note: The stream is compressed \(gzip\) and no event is held back/])
  t.match(found(await compressionOf(GZIP, { came: [] })), [
    /^note: The stream is compressed \(gzip\)\. No byte arrived/
  ])
})

t.test('a different response with compression is a warning', async t => {
  t.match(found(await compressionOf({ status: 429, headers: {} })), [
    /^warning: With accept-encoding: gzip, br the response is different: 429\./
  ])
  t.match(found(await compressionOf({ headers: { 'content-type': 'text/html' } })), [/is different: 200 text\/html\./])
  t.match(found(await compressionOf({ head: false, end: 'failed', error: new Error('socket hang up') })), [
    /is different: socket hang up\./
  ])
  t.match(found(await compressionOf({ head: false })), [/is different: no response\./])
})
