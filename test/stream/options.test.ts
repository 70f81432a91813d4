import t from 'tap'
import { resolveOptions, type StreamOptions } from '../../lib/stream/options.ts'
import { resolveRegistration } from '../../lib/server/options.ts'

const DEFAULTS = {
  heartbeatInterval: 15_000,
  retry: undefined,
  flushHeadersAfter: 50,
  stallTimeout: 30_000,
  maxLifetime: 0,
  onInvalid: 'error',
  errorEvent: undefined,
  onShutdown: 'close',
  reauthorize: undefined,
  reauthorizeInterval: 15_000,
  onClose: undefined,
  directWrites: true,
  finite: false
}

const refusalOf = (given: unknown): string => {
  try {
    Reflect.apply(resolveOptions, undefined, [given])
    return 'no error'
  } catch (error) {
    return `${(error as { code?: string }).code}: ${(error as Error).message}`
  }
}

t.test('options that nobody gave have their defaults', async t => {
  for (const given of [undefined, {}, { heartbeatInterval: undefined, retry: undefined, onInvalid: undefined, once: undefined }]) t.strictSame(resolveOptions(given), DEFAULTS)
})

t.test('options that fit are taken, falsy ones too', async t => {
  const onClose = () => {}
  const onInvalid = () => 'skip' as const
  const errorEvent = () => null
  const cases: StreamOptions[] = [
    { heartbeatInterval: 0, flushHeadersAfter: 0, stallTimeout: 0, maxLifetime: 0, retry: 0 },
    { heartbeatInterval: 2 ** 31 - 1, flushHeadersAfter: 0.5, stallTimeout: 1, maxLifetime: 1, retry: Number.MAX_SAFE_INTEGER },
    { onInvalid: 'skip', errorEvent: null, directWrites: false, finite: true },
    { onInvalid, errorEvent, onClose },
    { onShutdown: 'drain', reauthorize: () => true, reauthorizeInterval: 1 }
  ]
  for (const given of cases) t.strictSame(resolveOptions(given), { ...DEFAULTS, ...given })
})

t.test('options of a stream stand on those of the registration, and change nothing there', async t => {
  const registered = resolveOptions({ heartbeatInterval: 5, retry: 7, errorEvent: null })
  t.strictSame(resolveOptions({ retry: 9, flushHeadersAfter: 1, errorEvent: undefined }, registered), { ...DEFAULTS, heartbeatInterval: 5, retry: 9, flushHeadersAfter: 1, errorEvent: null })
  t.strictSame(registered, { ...DEFAULTS, heartbeatInterval: 5, retry: 7, errorEvent: null })
  t.strictSame(resolveOptions(undefined, registered), registered)
  t.strictSame(resolveOptions({}), DEFAULTS)
})

t.test('a bad option throws, naming it, what was expected and what was got', async t => {
  const delay = 'a number of milliseconds from 0 to 2147483647'
  const bad: Array<[string, string, Array<[unknown, string]>]> = [
    ...['heartbeatInterval', 'flushHeadersAfter', 'stallTimeout', 'maxLifetime'].map((name): [string, string, Array<[unknown, string]>] => [name, delay, [
      [-1, '-1 (number)'], [NaN, 'NaN (number)'], [Infinity, 'Infinity (number)'], [2 ** 31, '2147483648 (number)'], ['5', '"5" (string)'], [null, 'null'], [false, 'false (boolean)'], [5n, '5 (bigint)']
    ]]),
    ['retry', 'a whole number of milliseconds, 0 or more', [[-1, '-1 (number)'], [0.5, '0.5 (number)'], [NaN, 'NaN (number)'], [Infinity, 'Infinity (number)'], ['5', '"5" (string)'], [null, 'null'], [5n, '5 (bigint)']]],
    ['onInvalid', "'error', 'skip' or a function", [['ignore', '"ignore" (string)'], [true, 'true (boolean)'], [null, 'null']]],
    ['errorEvent', 'a function or null', [[{ event: 'error', data: 1 }, 'an object (Object)'], [false, 'false (boolean)'], ['error', '"error" (string)']]],
    ['shutdown', "'end' or 'finish'", [['close', '"close" (string)'], [true, 'true (boolean)'], [null, 'null']]],
    ['reauthorize', 'a function', [[true, 'true (boolean)'], [null, 'null']]],
    ['reauthorizeInterval', 'a number of milliseconds from 1 to 2147483647', [[0, '0 (number)'], [2 ** 31, '2147483648 (number)'], ['5', '"5" (string)'], [null, 'null']]],
    ['onClose', 'a function', [[null, 'null'], [{}, 'an object (Object)'], ['x', '"x" (string)']]],
    ['directWrites', 'a boolean', [[0, '0 (number)'], ['false', '"false" (string)'], [null, 'null']]],
    ['once', 'a boolean', [[1, '1 (number)'], ['true', '"true" (string)'], [null, 'null']]]
  ]
  t.strictSame(bad.map(([name]) => name).sort(), Object.keys(DEFAULTS).sort(), 'no option was left out of this table')
  for (const [name, expected, values] of bad) {
    for (const [value, got] of values) t.equal(refusalOf({ [name]: value }), `FST_SSE_OPTION: Option '${name}' must be ${expected}, got ${got}`)
  }
})

t.test('an option that does not exist throws, naming those that do', async t => {
  for (const name of ['heartbeat', 'onclose', 'toString', 'constructor', '__proto__', 'prefix']) {
    const given = JSON.parse(`{ "${name}": 1 }`) as unknown
    t.equal(refusalOf(given), `FST_SSE_OPTION: Option '${name}' must be one of heartbeatInterval, flushHeadersAfter, stallTimeout, maxLifetime, retry, onInvalid, errorEvent, shutdown, reauthorize, reauthorizeInterval, onClose, directWrites, once, got an unknown option`)
  }
})

t.test('options that are no object throw', async t => {
  for (const [given, got] of [[null, 'null'], [5, '5 (number)'], ['retry', '"retry" (string)'], [true, 'true (boolean)'], [() => {}, 'a function'], [[], 'an array']]) {
    t.equal(refusalOf(given), `FST_SSE_OPTION: Option 'options' must be an object, got ${got}`)
  }
})

t.test('options of the registration have their defaults, and their limits', async t => {
  const limits = { maxStreams: Infinity, maxStreamsPerKey: Infinity, keyGenerator: undefined, retryAfter: 5_000 }
  t.strictSame(resolveRegistration({}), { streams: DEFAULTS, server: { limits, shutdownTimeout: 10_000, reconnectWindow: 5_000 } })
  const key = () => 'me'
  t.strictSame(resolveRegistration({ retry: 7, shutdownTimeout: 0, reconnectWindow: 1, limits: { maxStreams: 5, maxStreamsPerKey: 0, keyGenerator: key, retryAfter: 9 } }), {
    streams: { ...DEFAULTS, retry: 7 },
    server: { limits: { maxStreams: 5, maxStreamsPerKey: 0, key, retryAfter: 9 }, grace: 0, reconnectWindow: 1 }
  })
  t.strictSame(resolveRegistration({ limits: { maxStreams: 5 } }).server.limits, { ...limits, maxStreams: 5 })
})

t.test('a bad option of the registration throws, naming it', async t => {
  const streams = 'a whole number of streams, 0 or more, or Infinity'
  const delay = 'a number of milliseconds from 0 to 2147483647'
  const bad: Array<[object, string]> = [
    [{ grace: -1 }, `Option 'grace' must be ${delay}, got -1 (number)`],
    [{ reconnectWindow: '5' }, `Option 'reconnectWindow' must be ${delay}, got "5" (string)`],
    [{ limits: 5 }, "Option 'limits' must be an object, got 5 (number)"],
    [{ limits: { maxStreams: 0.5 } }, `Option 'limits.total' must be ${streams}, got 0.5 (number)`],
    [{ limits: { maxStreamsPerKey: -1 } }, `Option 'limits.perKey' must be ${streams}, got -1 (number)`],
    [{ limits: { keyGenerator: 'ip' } }, "Option 'limits.key' must be a function, got \"ip\" (string)"],
    [{ limits: { retryAfter: NaN } }, `Option 'limits.retryAfter' must be ${delay}, got NaN (number)`],
    [{ limits: { max: 1 } }, "Option 'limits.max' must be one of total, perKey, key, retryAfter, got an unknown option"],
    [{ heartbeat: 1 }, "Option 'heartbeat' must be one of heartbeatInterval, flushHeadersAfter, stallTimeout, maxLifetime, retry, onInvalid, errorEvent, shutdown, reauthorize, reauthorizeInterval, onClose, directWrites, once, limits, grace, reconnectWindow, got an unknown option"]
  ]
  for (const [given, message] of bad) t.throws(() => resolveRegistration(given), { code: 'FST_SSE_OPTION', message })
})
