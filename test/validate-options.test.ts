import t from 'tap'
import { aBoolean, aFunction, delay, functionOrNull, isOptions, validateOptions } from '../lib/validate-options.ts'

const DEFAULTS = { first: 1 as unknown, second: true }
const RULES = { first: delay, second: aBoolean }
const bad = (input: unknown, message: string, within?: string): void => {
  t.throws(() => validateOptions(input, DEFAULTS, RULES, within), { code: 'FST_SSE_OPTION', message })
}

t.test('an option replaces its default unless it is undefined, and the defaults stay unchanged', async t => {
  t.strictSame(validateOptions({}, DEFAULTS, RULES), DEFAULTS)
  t.strictSame(validateOptions({ first: 0, second: undefined }, DEFAULTS, RULES), { first: 0, second: true })
  t.strictSame(DEFAULTS, { first: 1, second: true })
})

t.test('an invalid option throws with its path, the expected value and the given value', async () => {
  bad({ first: '5' }, "Option 'first' must be a number of milliseconds from 0 to 2147483647, got \"5\" (string)")
  bad({ second: 0 }, "Option 'limits.second' must be a boolean, got 0 (number)", 'limits')
})

t.test('an unknown option throws with the list of known options', async () => {
  for (const name of ['third', 'toString', '__proto__']) {
    bad(JSON.parse(`{ "${name}": 1 }`), `Option '${name}' must be one of first, second, got an unknown option`)
  }
})

t.test('options that are no object throw', async () => {
  for (const [input, got] of [[null, 'null'], [5, '5 (number)'], ['retry', '"retry" (string)'], [true,
    'true (boolean)'], [() => {}, 'a function'], [[], 'an array']]) {
    bad(input, `Option 'options' must be an object, got ${String(got)}`)
    bad(input, `Option 'limits' must be an object, got ${String(got)}`, 'limits')
  }
})

t.test('a rule accepts the values that it describes, and no others', async t => {
  t.strictSame([0, 0.5, 2 ** 31 - 1, 2 ** 31, -1, NaN, Infinity, '1', null].map(delay.fits), [true, true, true, false,
    false, false, false, false, false])
  t.strictSame([() => {}, null, {}].map(aFunction.fits), [true, false, false])
  t.strictSame([() => {}, null, {}].map(functionOrNull.fits), [true, true, false])
  t.strictSame([true, false, 0].map(aBoolean.fits), [true, true, false])
  t.strictSame([{}, [], null, 'a'].map(isOptions), [true, false, false, false])
})
