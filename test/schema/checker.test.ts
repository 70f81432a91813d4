import t from 'tap'
import { hasJson, isPromise, lazily } from '../../lib/schema/checker.ts'

t.test('C2: undefined, functions and symbols have no JSON', async t => {
  t.strictSame([undefined, () => 1, Symbol('s')].filter(hasJson), [])
  t.ok([null, 0, '', false, [], {}].every(hasJson))
})

t.test('a check is compiled once, at its first use', async t => {
  let compiled = 0
  const check = lazily(() => {
    compiled++
    return value => value === 1
  })
  t.equal(compiled, 0)
  t.ok(check(1))
  t.notOk(check(2))
  t.equal(compiled, 1)
})

t.test('C2: the rejection of a promise is handled', async t => {
  t.ok(isPromise(Promise.reject(new Error('unhandled'))))
  t.notOk([undefined, null, true, { then: 1 }].some(isPromise))
  await new Promise(resolve => setImmediate(resolve))
})
