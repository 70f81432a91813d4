import t from 'tap'
import { answer, headRequest, protocol } from '../../../lib/cli/doctor/answer.ts'
import { event, examined, found, STREAM, type Sight } from '../../setup/seen.ts'

const answerOf = async (base: Sight) => answer(await examined({ base }))

t.test('a stream whose head arrives at once has no findings', async t => {
  const probe = await answerOf({ came: [[12, ':\n\n']] })
  t.strictSame(probe, {
    name: 'answer',
    mark: 'ok',
    summary: '200 text/event-stream, head after 5 ms, first byte after 12 ms',
    findings: []
  })
  t.strictSame(found(await answerOf({ came: [] })), [], 'and neither has one that is silent')
})

t.test('no response is a problem, with its reason', async t => {
  t.match(await answerOf({ head: false }), {
    mark: 'problem',
    summary: 'none within 20.0 s',
    findings: [{ text: /There is a connection and no response/ }]
  })
  t.strictSame(found(await answerOf({ head: false, end: 'failed', error: new Error('socket hang up') })), [
    'problem: There is no response: socket hang up.'
  ])
  t.strictSame(found(await answerOf({ head: false, end: 'failed' })), [
    'problem: There is no response: the connection ended.'
  ])
})

t.test('a response that is no stream is a problem, and 204 is an end', async t => {
  t.match(found(await answerOf({ status: 502 })), [
    /^problem: The status is 502: a native EventSource .* does not reconnect/
  ])
  t.match((await answerOf({ status: 401 })).findings, [{ setting: /Authorization/ }])
  t.match((await answerOf({ status: 403 })).findings, [{ setting: /Authorization/ }])
  t.match(found(await answerOf({ headers: { 'content-type': 'text/html' } })), [/^problem: The type is text\/html/])
  t.match(found(await answerOf({ headers: {} })), [/^problem: The type is no content type/])
  t.match(found(await answerOf({ status: 204 })), [/^note: 204 means/])
})

t.test('a late head is a warning, with the first event or alone', async t => {
  t.match(found(await answerOf({ head: 3_000, came: [[3_001, event(1)]] })), [
    /^warning: The head arrived only with the first event, after 3\.0 s/
  ])
  t.match(found(await answerOf({ head: 3_000, came: [[3_001, ':\n\n']] })), ['warning: The head took 3.0 s.'])
  t.match(found(await answerOf({ head: 3_000, came: [[4_001, event(1)]] })), ['warning: The head took 3.0 s.'])
  t.match(found(await answerOf({ head: 3_000, came: [] })), ['warning: The head took 3.0 s.'])
})

t.test('a head without a byte of the body is a warning', async t => {
  t.match(found(await answerOf({ came: [[4_000, event(1)]] })), [/^warning: No byte followed the head for 4\.0 s/])
})

t.test('cache-control should have no-transform', async t => {
  const { 'cache-control': _, ...without } = STREAM
  t.match(found(await answerOf({ headers: without })), [
    /^warning: There is no cache-control: a proxy may compress or cache/
  ])
  t.match(found(await answerOf({ headers: { ...STREAM, 'cache-control': 'no-cache' } })), [
    /^warning: cache-control is 'no-cache'/
  ])
})

t.test('redirects are reported', async t => {
  const [one, two] = [new URL('http://a.example/'), new URL('http://b.example/')]
  t.strictSame(found(await answerOf({ redirects: [one] })), [
    'note: The stream is at http://127.0.0.1/, behind a redirect: each connection sends more than one request.'
  ])
  t.match(found(await answerOf({ redirects: [one, two], head: false, end: 'failed' })), [/behind 2 redirects:/,
    /^problem/])
})

t.test('HTTP/2 has no findings', async t => {
  t.strictSame(protocol(await examined({ base: { version: '2' } })), {
    name: 'protocol',
    mark: 'ok',
    summary: 'HTTP/2',
    findings: []
  })
})

t.test('HTTP/1.1 is a warning with TLS and a note without', async t => {
  t.match(protocol(await examined({ alpn: 'http/1.1' })), {
    mark: 'warning',
    summary: 'HTTP/1.1, HTTP/2 is not offered',
    findings: [{ text: /six connections/, setting: /http2 on/ }]
  })
  t.match(protocol({ ...await examined(), alpn: undefined }), {
    mark: 'note',
    summary: 'HTTP/1.1, without TLS',
    findings: [{ text: /six connections.*over TLS only/ }]
  })
})

t.test('HTTP/1.0 and connections for one request are warnings', async t => {
  t.match(found(protocol(await examined({ base: { version: '1.0' } }))), [/^warning: The response is HTTP\/1\.0/])
  t.match(found(protocol(await examined({ base: { headers: { ...STREAM, connection: 'close' } } }))), [
    /^warning: connection: close/
  ])
  t.match(protocol(await examined({ base: { head: false } })), { mark: 'ok', summary: 'no answer', findings: [] })
})

t.test('a response to HEAD ends at once', async t => {
  t.strictSame(headRequest(await examined()), {
    name: 'HEAD',
    mark: 'ok',
    summary: '200, over after 6 ms',
    findings: []
  })
})

t.test('a response to HEAD that does not end is a problem', async t => {
  t.match(found(headRequest(await examined({ head: { end: 'left', at: 5_000 } }))), [
    /^problem: The response to HEAD does not end/
  ])
})

t.test('a failed HEAD request is a note', async t => {
  t.match(found(headRequest(await examined({ head: { status: 405 } }))), [/^note: HEAD gets 405/])
  t.strictSame(
    found(headRequest(await examined({ head: { head: false, end: 'failed', error: new Error('socket hang up') } }))),
    ['note: There is no response to HEAD: socket hang up.']
  )
  t.strictSame(found(headRequest(await examined({ head: { head: false, end: 'failed' } }))), [
    'note: There is no response to HEAD: the connection ended.'
  ])
})
