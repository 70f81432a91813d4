import t from 'tap'
import { call, failureIn } from '../../lib/client/callback.ts'
import { StreamError } from '../../lib/client/stream-error.ts'

t.test('E1: the error of a function of the program names the function; a StreamError stays as it is', async t => {
  t.equal(call('f()', () => 5), 5)
  const cause = new TypeError('no token')
  t.throws(() => call('headers()', () => { throw cause }), { code: 'FST_SSE_CALLBACK', message: 'headers() failed: no token', cause })
  const own = new StreamError('FST_SSE_NETWORK', 'offline')
  t.throws(() => call('headers()', () => { throw own }), own)
  t.equal(failureIn('url()', null).message, 'url() failed: undefined')
  t.equal(failureIn('url()', cause, 'FST_SSE_NETWORK').code, 'FST_SSE_NETWORK')
})
