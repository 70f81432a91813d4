import t from 'tap'
import { reasonOf } from '../../lib/cli/reason.ts'

t.test('a reason is what failed, and why, in the words of the first cause', async t => {
  const refused = new Error('connect ECONNREFUSED 127.0.0.1:1')
  const failed = new TypeError('fetch failed', { cause: refused })
  t.equal(reasonOf(new Error('The connection failed: fetch failed', { cause: failed })), 'The connection failed: connect ECONNREFUSED 127.0.0.1:1')
  t.equal(reasonOf(new Error('The server answered with status 401')), 'The server answered with status 401')
  t.equal(reasonOf(new Error('The connection failed: bad port', { cause: new Error('bad port') })), 'The connection failed: bad port')
})

t.test('an error of several addresses has no text, so its code is told, or its name', async t => {
  t.equal(reasonOf(Object.assign(new AggregateError([], ''), { code: 'ECONNREFUSED' })), 'ECONNREFUSED')
  t.equal(reasonOf(new AggregateError([])), 'AggregateError')
})
