import t from 'tap'
import { resolveRegistration } from '../../lib/server/options.ts'
import { DEFAULTS as STREAM_DEFAULTS } from '../../lib/stream/options.ts'

t.test('options of the registration have defaults, also the limits', async t => {
  const limits = { maxStreams: Infinity, maxStreamsPerKey: Infinity, keyGenerator: undefined, retryAfter: 5_000 }
  t.strictSame(resolveRegistration({}), {
    streams: STREAM_DEFAULTS,
    server: { limits, shutdownTimeout: 10_000, reconnectWindow: 5_000 }
  })
  const key = () => 'me'
  t.strictSame(
    resolveRegistration({
      retry: 7,
      shutdownTimeout: 0,
      reconnectWindow: 1,
      limits: { maxStreams: 5, maxStreamsPerKey: 0, keyGenerator: key, retryAfter: 9 }
    }),
    {
      streams: { ...STREAM_DEFAULTS, retry: 7 },
      server: {
        limits: { maxStreams: 5, maxStreamsPerKey: 0, keyGenerator: key, retryAfter: 9 },
        shutdownTimeout: 0,
        reconnectWindow: 1
      }
    }
  )
  t.strictSame(resolveRegistration({ limits: { maxStreams: 5 } }).server.limits, { ...limits, maxStreams: 5 })
})

t.test('an invalid option of the registration throws with its name', async t => {
  const streams = 'a whole number of streams, 0 or more, or Infinity'
  const delay = 'a number of milliseconds from 0 to 2147483647'
  const bad: Array<[object, string]> = [
    [{ shutdownTimeout: -1 }, `Option 'shutdownTimeout' must be ${delay}, got -1 (number)`],
    [{ reconnectWindow: '5' }, `Option 'reconnectWindow' must be ${delay}, got "5" (string)`],
    [{ limits: 5 }, "Option 'limits' must be an object, got 5 (number)"],
    [{ limits: { maxStreams: 0.5 } }, `Option 'limits.maxStreams' must be ${streams}, got 0.5 (number)`],
    [{ limits: { maxStreamsPerKey: -1 } }, `Option 'limits.maxStreamsPerKey' must be ${streams}, got -1 (number)`],
    [{ limits: { keyGenerator: 'ip' } }, "Option 'limits.keyGenerator' must be a function, got \"ip\" (string)"],
    [{ limits: { retryAfter: NaN } }, `Option 'limits.retryAfter' must be ${delay}, got NaN (number)`],
    [{ limits: { max: 1 } },
      "Option 'limits.max' must be one of maxStreams, maxStreamsPerKey, keyGenerator, retryAfter, got an unknown option"],
    [{ heartbeat: 1 },
      "Option 'heartbeat' must be one of heartbeatInterval, flushHeadersAfter, stallTimeout, maxLifetime, retry, onInvalid, errorEvent, systemEvent, formats, maxWait, onShutdown, reauthorize, reauthorizeInterval, onOpen, onClose, directWrites, compress, end, finite, limits, shutdownTimeout, reconnectWindow, got an unknown option"]
  ]
  for (const [input, message] of bad) t.throws(() => resolveRegistration(input), { code: 'FST_SSE_OPTION', message })
})
