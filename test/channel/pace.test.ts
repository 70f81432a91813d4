import t from 'tap'
import { isSamePace, paceOrNullRule, paceRule, resolvePace } from '../../lib/channel/pace.ts'

const key = (): number => 1

t.test('a pace is an object with both options', async t => {
  t.strictSame(resolvePace({ every: 0.5 + 0.5, key }), { every: 1, key })
  const every = 'a number of milliseconds from 1 to 2147483647'
  const rows: Array<[object, string]> = [
    [{ key }, `Option 'pace.every' must be ${every}, got undefined`],
    [{ every: 100 }, "Option 'pace.key' must be a function, got undefined"],
    [{ every: 100, key: undefined }, "Option 'pace.key' must be a function, got undefined"],
    [{ every: 0, key }, `Option 'pace.every' must be ${every}, got 0 (number)`],
    [{ every: 2 ** 31, key }, `Option 'pace.every' must be ${every}, got 2147483648 (number)`],
    [{ every: '1s', key }, `Option 'pace.every' must be ${every}, got "1s" (string)`],
    [{ every: 100, key: 'symbol' }, "Option 'pace.key' must be a function, got \"symbol\" (string)"],
    [{ every: 100, keys: key }, "Option 'pace.keys' must be one of every, key, got an unknown option"]
  ]
  for (const [value, message] of rows) t.throws(() => resolvePace(value), { code: 'FST_SSE_OPTION', message })
})

t.test('only a subscription may have no pace by null', async t => {
  for (const rule of [paceRule, paceOrNullRule]) {
    t.equal(rule.fits({ every: 1, key }), true)
    for (const value of [100, 'fast', [], true]) t.equal(rule.fits(value), false)
  }
  t.strictSame([paceRule.fits(null), paceOrNullRule.fits(null)], [false, true])
})

t.test('paces are the same with the same time and the same function', async t => {
  t.equal(isSamePace(undefined, undefined), true)
  t.equal(isSamePace({ every: 1, key }, { every: 1, key }), true)
  t.equal(isSamePace({ every: 1, key }, undefined), false)
  t.equal(isSamePace({ every: 1, key }, { every: 2, key }), false)
  t.equal(isSamePace({ every: 1, key }, { every: 1, key: () => 1 }), false)
})
