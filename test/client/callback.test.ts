import t from 'tap'
import { call, callbackError, errorTexts, legible, quietly } from '../../lib/client/callback.ts'
import { StreamError } from '../../lib/client/stream-error.ts'
import { oddCancels, oddities } from '../setup/oddities.ts'

t.test('E1: the error of a function of the program names the function; a StreamError stays as it is', async t => {
  t.equal(call('f()', () => 5), 5)
  const cause = new TypeError('no token')
  t.throws(() =>
    call('headers()', () => {
      throw cause
    }), { code: 'FST_SSE_CALLBACK', message: 'headers() failed: no token', cause })
  const own = new StreamError('FST_SSE_NETWORK', 'offline')
  t.throws(() => call('headers()', () => { throw own }), own)
  t.equal(callbackError('url()', null).message, 'url() failed: undefined')
  t.equal(callbackError('url()', cause, 'FST_SSE_NETWORK').code, 'FST_SSE_NETWORK')
})

t.test('an unreadable error is replaced by a readable one', async t => {
  for (const [what, thrown] of [...oddities(), ['a message that is a symbol', { message: Symbol('x') }] as const]) {
    const error = callbackError('headers()', thrown)
    t.ok(error instanceof StreamError && error.code === 'FST_SSE_CALLBACK', what)
    t.match(error.message, /^headers\(\) failed: (x|undefined|the thrown value cannot be read)$/, what)
  }
  for (const thrown of [undefined, null, 5, 'x', Symbol('x'), new Error('x'), Object.create(null)]) {
    t.equal(legible(thrown), thrown)
  }
})

t.test('quietly() ignores synchronous and asynchronous failures', async t => {
  for (const [what, cancel] of oddCancels()) t.equal(await quietly(() => cancel!()), undefined, what)
  let called = false
  const calling = quietly(() => { called = true })
  t.ok(called, 'the function is called at once')
  await calling
})

t.test('the texts of an error are its message, and the message and the code of its cause', async t => {
  const cause = Object.assign(new Error('no server'), { code: 'ECONNREFUSED' })
  t.strictSame(errorTexts(new TypeError('fetch failed', { cause })), ['fetch failed', 'no server', 'ECONNREFUSED'])
  for (const thrown of [undefined, null, 5, 'x']) t.strictSame(errorTexts(thrown), [undefined, undefined, undefined])
})
