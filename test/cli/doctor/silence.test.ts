import t from 'tap'
import { silence } from '../../../lib/cli/doctor/silence.ts'
import { StreamError } from '../../../lib/client/stream-error.ts'
import { event, every, examined, found, type Came, type Sight } from '../../setup/seen.ts'

const silenceOf = async (base: Sight, back: Sight | undefined = {}) => silence(await examined({ base, back }))
const beats = (interval: number, count: number): Came => every(interval, count).map(([at]) => [at, ':\n\n'])

t.test('the heartbeats of an open stream are reported', async t => {
  t.strictSame(await silenceOf({ came: beats(15_000, 3), at: 50_000 }), {
    name: 'silence',
    mark: 'ok',
    summary: 'open for 50.0 s, a heartbeat after 15.0 s of silence',
    findings: []
  })
  t.strictSame(await silenceOf({}), {
    name: 'silence',
    mark: 'ok',
    summary: 'open for 20.0 s, no heartbeat',
    findings: []
  }, 'a stream with events needs none')
  t.match((await silenceOf({ came: [[5, ':\n\n'], ...every(1_000, 19)] })).summary, /no heartbeat/,
    'a comment right at the beginning is none')
})

t.test('rare and missing heartbeats are reported', async t => {
  t.match(found(await silenceOf({ came: beats(58_000, 2), at: 120_000 })), [
    /^warning: Heartbeats arrive after 58\.0 s of silence/
  ])
  t.match(found(await silenceOf({ came: every(100, 1), at: 40_000 })), [
    /^warning: There were 39\.9 s of silence without a heartbeat/
  ])
  t.match(found(await silenceOf({ came: every(100, 1), at: 15_000 })), [
    /^note: The stream was silent for 14\.9 s, too short/
  ])
  t.match(found(await silenceOf({ came: [], at: 15_000 })), [/^note: The stream was silent for 15\.0 s, too short/])
})

t.test('a cut after a silence looks like a limit for silence, and two cuts confirm it', async t => {
  const cut: Sight = { came: every(1_000, 1), end: 'cut', at: 5_000, error: new Error('aborted') }
  t.match(await silenceOf(cut), {
    mark: 'problem',
    summary: 'cut after 5.0 s, no heartbeat',
    findings: [{
      text: /^The connection was cut after 4\.0 s without a byte, and without an end/,
      setting: /heartbeatInterval below 4\.0 s/
    }]
  })
  t.match(found(await silenceOf(cut, { ...cut, at: 5_200 })), [
    /after 4\.0 s without a byte, and the next one after 4\.2 s, and without an end/
  ])
  t.match(found(await silenceOf(cut, { ...cut, at: 9_000 })), [/after 4\.0 s without a byte, and without an end/])
  t.match(found(await silenceOf(cut, { came: [], end: 'cut', at: 4_005 })), [/the next one after 4\.0 s/])
  t.match(found(await silenceOf({ ...cut, came: [] }, { came: [], end: 'cut', at: 5_000 })), [
    /the next one after 5\.0 s/
  ])
  t.match(silence(await examined({ base: cut, back: undefined })).findings, [{ mark: 'problem' }])
})

t.test('a cut in the middle is a stopped server, or a limit if it is regular', async t => {
  const cut: Sight = { came: every(100, 50), end: 'cut', at: 5_010 }
  t.match(found(await silenceOf(cut)), [/^problem: The connection was cut after 5\.0 s, without an end: the server/])
  t.match(found(await silenceOf(cut, cut)), [
    /^problem: The connection was cut after 5\.0 s, and the next one after 5\.0 s, in the middle of data/
  ])
  t.match(found(await silenceOf({ ...cut, end: 'failed' })), [])
})

t.test('the end of a complete stream is no problem', async t => {
  const over: Sight = { came: every(1_000, 3), end: 'complete', at: 3_001 }
  t.match(await silenceOf(over), {
    summary: 'ended after 3.0 s, no heartbeat',
    findings: [{ mark: 'note', text: 'The server ended the stream. A native EventSource reconnects.' }]
  })
  t.strictSame(found(await silenceOf({ ...over, came: [[10, event(1)], [20, 'id: sse.end\n\n']] })), [])
  t.match(found(await silenceOf({ ...over, at: 9_000 })), [
    /^note: The stream ended completely, after 6\.0 s without a byte/
  ])
  t.match(found(await silenceOf({ ...over, end: 'closed' })), [
    /^note: The stream ended after 3\.0 s, the last 1 ms without a byte\. A limit for silence, or a server that stopped/
  ])
})

t.test('an unreadable stream is reported with its reason', async t => {
  t.match(found(await silenceOf({ end: 'cut', error: new StreamError('FST_SSE_EVENT_SIZE', 'An event is too large') })),
    ['problem: The stream cannot be read: An event is too large.'])
})
