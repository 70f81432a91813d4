import t from 'tap'
import { StreamError } from '../../lib/client/stream-error.ts'

t.test('E1: an error has a code, a message and a name, and is an Error', async t => {
  const error = new StreamError('FST_SSE_INACTIVE', 'No bytes')
  t.type(error, Error)
  t.equal(error.code, 'FST_SSE_INACTIVE')
  t.equal(`${error}`, 'StreamError: No bytes')
  t.match(error.stack, /^StreamError: No bytes\n/)
  t.notOk('cause' in error, 'no cause where there is none')
  t.strictSame({ status: error.status, headers: error.headers, retryAfter: error.retryAfter, data: error.data }, {
    status: undefined,
    headers: undefined,
    retryAfter: undefined,
    data: undefined
  })
})

t.test('E1: an error has a cause', async t => {
  const cause = new TypeError('fetch failed')
  t.equal(new StreamError('FST_SSE_NETWORK', 'The connection failed', { cause }).cause, cause)
  t.strictSame(new StreamError('FST_SSE_SERVER_ERROR', 'The server failed', { data: { status: 500 } }).data, {
    status: 500
  })
})

t.test('an error has the status and the headers of the response', async t => {
  const response = new Response(null, { status: 429, headers: { 'x-limit': '5' } })
  const error = new StreamError('FST_SSE_STATUS', 'Too many', { response })
  t.equal(error.status, 429)
  t.equal(error.headers?.get('x-limit'), '5')
  t.equal(error.retryAfter, undefined)
})

t.test('Retry-After is a number of seconds or a date; a past date is 0, and any other value is undefined', async t => {
  const after = (text: string): number | undefined => {
    const response = new Response(null, { status: 503, headers: { 'retry-after': text } })
    return new StreamError('FST_SSE_STATUS', '', { response }).retryAfter
  }
  t.equal(after('120'), 120_000)
  t.equal(after('0'), 0)
  const soon = after(new Date(Date.now() + 60_000).toUTCString())!
  t.ok(soon > 50_000 && soon <= 60_000, `${soon} ms until a date in a minute`)
  t.equal(after('Sun, 06 Nov 1994 08:49:37 GMT'), 0)
  t.equal(after('soon'), undefined)
  t.equal(after(''), undefined)
})
