import t from 'tap'
import { resolveOptions, type StreamOptions } from '../../lib/stream/options.ts'

const DEFAULTS = {
  heartbeatInterval: 15_000,
  retry: undefined,
  flushHeadersAfter: 50,
  stallTimeout: 30_000,
  maxLifetime: 0,
  onInvalid: 'error',
  errorEvent: undefined,
  systemEvent: undefined,
  formats: ['event-stream'],
  maxWait: 60_000,
  onShutdown: 'close',
  reauthorize: undefined,
  reauthorizeInterval: 15_000,
  onOpen: undefined,
  onClose: undefined,
  directWrites: true,
  compress: undefined,
  end: undefined,
  finite: false
}

const errorOf = (input: unknown): string => {
  try {
    Reflect.apply(resolveOptions, undefined, [input])
    return 'no error'
  } catch (error) {
    return `${(error as { code?: string }).code}: ${(error as Error).message}`
  }
}

t.test('a missing or undefined option has its default', async t => {
  for (const input of [undefined, {}, {
    heartbeatInterval: undefined,
    retry: undefined,
    onInvalid: undefined,
    finite: undefined
  }]) t.strictSame(resolveOptions(input), DEFAULTS)
})

t.test('a valid option replaces its default, also a falsy one', async t => {
  const onClose = () => {}
  const onInvalid = () => 'skip' as const
  const errorEvent = () => null
  const cases: StreamOptions[] = [
    { heartbeatInterval: 0, flushHeadersAfter: 0, stallTimeout: 0, maxLifetime: 0, retry: 0 },
    {
      heartbeatInterval: 2 ** 31 - 1,
      flushHeadersAfter: 0.5,
      stallTimeout: 1,
      maxLifetime: 1,
      retry: Number.MAX_SAFE_INTEGER
    },
    { onInvalid: 'skip', errorEvent: null, directWrites: false, finite: true },
    { onInvalid, errorEvent, onClose },
    { compress: true },
    { compress: false },
    { formats: ['json', 'ndjson', 'event-stream'], maxWait: 0 },
    { onShutdown: 'drain', reauthorize: () => true, reauthorizeInterval: 1 }
  ]
  for (const input of cases) t.strictSame(resolveOptions(input), { ...DEFAULTS, ...input })
})

t.test('options of a stream override the options of the registration, which stay unchanged', async t => {
  const registered = resolveOptions({ heartbeatInterval: 5, retry: 7, errorEvent: null })
  t.strictSame(resolveOptions({ retry: 9, flushHeadersAfter: 1, errorEvent: undefined }, registered), {
    ...DEFAULTS,
    heartbeatInterval: 5,
    retry: 9,
    flushHeadersAfter: 1,
    errorEvent: null
  })
  t.strictSame(registered, { ...DEFAULTS, heartbeatInterval: 5, retry: 7, errorEvent: null })
  t.strictSame(resolveOptions(undefined, registered), registered)
  t.strictSame(resolveOptions({}), DEFAULTS)
})

t.test('an invalid option throws with its name, the expected value and the given value', async t => {
  const delay = 'a number of milliseconds from 0 to 2147483647'
  const bad: Array<[string, string, Array<[unknown, string]>]> = [
    ...['heartbeatInterval', 'flushHeadersAfter', 'stallTimeout', 'maxLifetime', 'maxWait'].map((
      name
    ): [string, string, Array<[unknown, string]>] => [name, delay, [
      [-1, '-1 (number)'],
      [NaN, 'NaN (number)'],
      [Infinity, 'Infinity (number)'],
      [2 ** 31, '2147483648 (number)'],
      ['5', '"5" (string)'],
      [null, 'null'],
      [false, 'false (boolean)'],
      [5n, '5 (bigint)']
    ]]),
    ['retry', 'a whole number of milliseconds, 0 or more', [[-1, '-1 (number)'], [0.5, '0.5 (number)'], [NaN,
      'NaN (number)'], [Infinity, 'Infinity (number)'], ['5', '"5" (string)'], [null, 'null'], [5n, '5 (bigint)']]],
    ['onInvalid', "'error', 'skip' or a function", [['ignore', '"ignore" (string)'], [true, 'true (boolean)'], [null,
      'null']]],
    ['errorEvent', 'a function or null', [[{ event: 'error', data: 1 }, 'an object (Object)'], [false,
      'false (boolean)'], ['error', '"error" (string)']]],
    ['onShutdown', "'close' or 'drain'", [['end', '"end" (string)'], [true, 'true (boolean)'], [null, 'null']]],
    ['reauthorize', 'a function', [[true, 'true (boolean)'], [null, 'null']]],
    ['reauthorizeInterval', 'a number of milliseconds from 1 to 2147483647', [[0, '0 (number)'], [2 ** 31,
      '2147483648 (number)'], ['5', '"5" (string)'], [null, 'null']]],
    ['systemEvent', 'a function or null', [[false, 'false (boolean)'], ['null', '"null" (string)']]],
    ['formats', "a list of 'event-stream', 'ndjson' and 'json', each at most once", [[[], 'an array'], ['json',
      '"json" (string)'], [['json', 'json'], 'an array'], [['xml'], 'an array'], [['toString'], 'an array'], [[['json']],
      'an array'], [null, 'null']]],
    ['onOpen', 'a function', [[null, 'null'], ['log', '"log" (string)']]],
    ['end', 'an event or a function that returns one', [['[DONE]', '"[DONE]" (string)'], [null, 'null'], [true,
      'true (boolean)']]],
    ['onClose', 'a function', [[null, 'null'], [{}, 'an object (Object)'], ['x', '"x" (string)']]],
    ['directWrites', 'a boolean', [[0, '0 (number)'], ['false', '"false" (string)'], [null, 'null']]],
    ['compress', 'a boolean', [[1, '1 (number)'], ['gzip', '"gzip" (string)'], [null, 'null']]],
    ['finite', 'a boolean', [[1, '1 (number)'], ['true', '"true" (string)'], [null, 'null']]]
  ]
  t.strictSame(bad.map(([name]) => name).sort(), Object.keys(DEFAULTS).sort(), 'the table has every option')
  for (const [name, expected, values] of bad) {
    for (const [value, got] of values) {
      t.equal(errorOf({ [name]: value }), `FST_SSE_OPTION: Option '${name}' must be ${expected}, got ${got}`)
    }
  }
})

t.test('an unknown option throws with the list of known options', async t => {
  for (const name of ['heartbeat', 'onclose', 'toString', 'constructor', '__proto__', 'prefix']) {
    const input = JSON.parse(`{ "${name}": 1 }`) as unknown
    t.equal(errorOf(input),
      `FST_SSE_OPTION: Option '${name}' must be one of heartbeatInterval, flushHeadersAfter, stallTimeout, maxLifetime, retry, onInvalid, errorEvent, systemEvent, formats, maxWait, onShutdown, reauthorize, reauthorizeInterval, onOpen, onClose, directWrites, compress, end, finite, got an unknown option`)
  }
})
