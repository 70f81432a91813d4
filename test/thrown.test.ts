import t from 'tap'
import { errorOf, isAbort, legible } from '../lib/thrown.ts'
import { oddities } from './setup/oddities.ts'

t.test('an error that can be read is itself, also one that has causes', async t => {
  const inner = new TypeError('inner')
  for (const error of [inner, new Error('outer', { cause: inner }), new DOMException('gone', 'AbortError'), Object.assign(new Error('x'), { statusCode: 404, cause: 'text' })]) {
    t.equal(errorOf(error), error)
    t.equal(legible(error), error)
  }
})

t.test('what is no error becomes the cause of one', async t => {
  for (const thrown of ['text', 7, null, undefined, { a: 1 }, Symbol('x'), () => {}]) {
    const error = errorOf(thrown, 'The handler')
    t.match(error.message, /^The handler threw /)
    t.equal(error.cause, thrown)
    t.equal(legible(thrown), thrown)
  }
})

t.test('an error in place of what cannot be read has nothing of it', async t => {
  for (const [what, thrown] of oddities()) {
    const error = errorOf(thrown)
    t.not(error, thrown, what)
    t.match(String(error.stack), 'cannot be read', what)
    t.equal(error.cause, undefined, what)
    t.ok(legible(thrown) instanceof Error, what)
    t.equal(isAbort(thrown), false, what)
  }
})

t.test('an error that is its own cause is looked at for a while', async t => {
  const error = new Error('round')
  error.cause = error
  t.equal(errorOf(error), error)
})

t.test('an abort is known by its name or code', async t => {
  t.equal(isAbort(new DOMException('gone', 'AbortError')), true)
  t.equal(isAbort(Object.assign(new Error('gone'), { code: 'ERR_STREAM_PREMATURE_CLOSE' })), true)
  for (const other of [new Error('gone'), { name: 'AbortError' }, 'AbortError', undefined]) t.equal(isAbort(other), false)
})
