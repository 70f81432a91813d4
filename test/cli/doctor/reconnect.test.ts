import t from 'tap'
import { reconnect } from '../../../lib/cli/doctor/reconnect.ts'
import { event, every, examined, found, type Sight } from '../../setup/seen.ts'

const reconnectOf = async (back: Sight | undefined, base: Sight = {}) => reconnect(await examined({ base, back }))

t.test('a reconnecting client resumes after the last id', async t => {
  t.match(await reconnectOf({}), {
    name: 'reconnect',
    mark: 'note',
    summary: 'after 20: 200 after 5 ms',
    findings: [{ text: 'The stream resumes after that id, and its comments confirm it.' }]
  })
  t.strictSame(found(await reconnectOf({ came: [[10, event(21)]] })), [])
  t.strictSame(found(await reconnectOf({ came: [] })), [])
})

t.test('events without an id cannot be resumed, and without events nothing is known', async t => {
  const base = { came: [[10, 'data: 1\n\n'], [20, 'data: 2\n\n']] } satisfies Sight
  t.match(await reconnectOf({ came: [[10, 'data: 1\n\n']] }, base), {
    mark: 'warning',
    summary: 'without an id: 200 after 5 ms',
    findings: [{ text: /^Events have no id/ }]
  })
  t.strictSame(found(await reconnectOf({}, { came: [] })), [])
})

t.test('a reset, a gap, and a restart of the stream are warnings', async t => {
  t.match(found(await reconnectOf({ came: [[10, 'event: sse.reset\ndata: {}\n\n']] })), [
    /^warning: A reconnecting client is reset/
  ])
  t.match(found(await reconnectOf({ came: [[10, 'event: sse.gap\ndata: {}\n\n']] })), [
    /^warning: A reconnecting client has a gap/
  ])
  t.match(found(await reconnectOf({ came: every(1_000, 1) })), [
    /^warning: A reconnecting client gets the stream from the beginning/
  ])
  t.strictSame(found(await reconnectOf({ came: every(1_000, 1) }, { came: every(1_000, 1) })), [],
    'one event may be a snapshot')
})

t.test('a status that stops an EventSource is a problem', async t => {
  t.match(await reconnectOf({ status: 503 }), {
    mark: 'problem',
    findings: [{ text: /^A reconnecting client gets 503/, setting: /proxy_next_upstream/ }]
  })
  t.match(found(await reconnectOf({ status: 400 })), [/^problem: A reconnecting client gets 400/])
  t.match(found(await reconnectOf({ status: 204 })), [/^note: 204 means/])
  t.strictSame(found(await reconnectOf({ status: 204 }, { came: [[10, event(1)], [20, 'id: sse.end\n\n']] })), [])
})

t.test('no response is a problem', async t => {
  t.match(found(await reconnectOf({ head: false, end: 'failed', error: new Error('connect ECONNREFUSED') })), [
    'problem: A reconnecting client got no response: connect ECONNREFUSED.'
  ])
  t.match(found(await reconnectOf({ head: false })), [
    'problem: A reconnecting client got no response: no byte arrived.'
  ])
  t.match(found(await reconnectOf(undefined)), [/no byte arrived/])
})
