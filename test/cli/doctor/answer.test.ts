import t from 'tap'
import { answer } from '../../../lib/cli/doctor/answer.ts'
import { event, examined, found, STREAM, type Sight } from '../../setup/seen.ts'

const answerOf = async (base: Sight) => answer(await examined({ base }))

t.test('a stream whose head comes at once has nothing to be said about', async t => {
  const probe = await answerOf({ came: [[12, ':\n\n']] })
  t.strictSame(probe, { name: 'answer', mark: 'ok', summary: '200 text/event-stream, head after 5 ms, first byte after 12 ms', findings: [] })
  t.strictSame(found(await answerOf({ came: [] })), [], 'and neither has one that is silent')
})

t.test('no answer is a problem: its reason where there is one', async t => {
  t.match(await answerOf({ head: false }), { mark: 'problem', summary: 'none within 20.0 s', findings: [{ text: /There is a connection, and no answer/ }] })
  t.strictSame(found(await answerOf({ head: false, end: 'failed', error: new Error('socket hang up') })), ['problem: There is no answer: socket hang up.'])
  t.strictSame(found(await answerOf({ head: false, end: 'failed' })), ['problem: There is no answer: the connection ended.'])
})

t.test('what is no stream is a problem, and 204 is an end', async t => {
  t.match(found(await answerOf({ status: 502 })), [/^problem: The status is 502: a native EventSource .* does not come back/])
  t.match((await answerOf({ status: 401 })).findings, [{ setting: /Authorization/ }])
  t.match((await answerOf({ status: 403 })).findings, [{ setting: /Authorization/ }])
  t.match(found(await answerOf({ headers: { 'content-type': 'text/html' } })), [/^problem: The type is text\/html/])
  t.match(found(await answerOf({ headers: {} })), [/^problem: The type is no content type/])
  t.match(found(await answerOf({ status: 204 })), [/^note: 204 says/])
})

t.test('a head that is late: with the first event, or by itself', async t => {
  t.match(found(await answerOf({ head: 3_000, came: [[3_001, event(1)]] })), [/^warning: The head came only with the first event, after 3\.0 s/])
  t.match(found(await answerOf({ head: 3_000, came: [[3_001, ':\n\n']] })), ['warning: The head took 3.0 s.'])
  t.match(found(await answerOf({ head: 3_000, came: [[4_001, event(1)]] })), ['warning: The head took 3.0 s.'])
  t.match(found(await answerOf({ head: 3_000, came: [] })), ['warning: The head took 3.0 s.'])
})

t.test('a head without a byte of the body after it', async t => {
  t.match(found(await answerOf({ came: [[4_000, event(1)]] })), [/^warning: After the head nothing came for 4\.0 s/])
})

t.test('cache-control should have no-transform', async t => {
  const { 'cache-control': _, ...without } = STREAM
  t.match(found(await answerOf({ headers: without })), [/^warning: There is no cache-control: a proxy may compress/])
  t.match(found(await answerOf({ headers: { ...STREAM, 'cache-control': 'no-cache' } })), [/^warning: cache-control is 'no-cache'/])
})

t.test('redirects are told', async t => {
  const [one, two] = [new URL('http://a.example/'), new URL('http://b.example/')]
  t.strictSame(found(await answerOf({ redirects: [one] })), ['note: It is at http://127.0.0.1/, and says so with a redirect. Each connection asks twice.'])
  t.match(found(await answerOf({ redirects: [one, two], head: false, end: 'failed' })), [/with redirects\./, /^problem/])
})
