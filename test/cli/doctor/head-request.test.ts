import t from 'tap'
import { headRequest } from '../../../lib/cli/doctor/head-request.ts'
import { examined, found } from '../../setup/seen.ts'

t.test('an answer to HEAD is over at once', async t => {
  t.strictSame(headRequest(await examined()), { name: 'HEAD', mark: 'ok', summary: '200, over after 6 ms', findings: [] })
})

t.test('one that does not end is a problem', async t => {
  t.match(found(headRequest(await examined({ head: { end: 'left', at: 5_000 } }))), [/^problem: The answer to HEAD does not end/])
})

t.test('a status of failure, and no answer, are worth knowing', async t => {
  t.match(found(headRequest(await examined({ head: { status: 405 } }))), [/^note: HEAD gets 405/])
  t.strictSame(found(headRequest(await examined({ head: { head: false, end: 'failed', error: new Error('socket hang up') } }))), ['note: There is no answer to HEAD: socket hang up.'])
  t.strictSame(found(headRequest(await examined({ head: { head: false, end: 'failed' } }))), ['note: There is no answer to HEAD: the connection ended.'])
})
