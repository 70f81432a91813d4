import { Type } from '@sinclair/typebox'
import t from 'tap'
import { describe } from '../../lib/errors.ts'
import {
  validateName, difference, isChannelName, resolveChannel,
  type ChannelOptions
} from '../../lib/channel/settings.ts'
import { memoryLog } from '../../lib/log/memory.ts'

const HISTORY = { maxEvents: 1_000, maxBytes: 1_048_576, maxAge: 300_000 }

t.test('without options a channel has the defaults', async t => {
  const defaults = {
    name: 'news',
    events: undefined,
    history: HISTORY,
    start: 'latest',
    slowConsumer: 'disconnect',
    pace: undefined,
    errorEvent: undefined,
    leaseDuration: 15_000,
    compress: false,
    eventLog: undefined
  }
  t.strictSame(resolveChannel('news', {}), defaults)
  t.strictSame(
    resolveChannel('news', {
      events: undefined,
      history: undefined,
      start: undefined,
      slowConsumer: undefined,
      pace: undefined,
      errorEvent: undefined,
      leaseDuration: undefined,
      compress: undefined,
      eventLog: undefined
    }),
    defaults
  )
  t.strictSame(resolveChannel('news', { history: { maxEvents: undefined } }), defaults)
})

t.test('given options override the defaults, limit by limit', async t => {
  const events = { message: Type.String() }
  const latest = () => 1
  const errorEvent = () => null
  const eventLog = memoryLog()
  t.strictSame(
    resolveChannel('news', {
      events,
      history: { maxAge: Infinity, maxEvents: 0 },
      start: 'earliest',
      slowConsumer: { compactBy: latest },
      pace: { every: 5, key: latest },
      errorEvent,
      leaseDuration: 100,
      compress: true,
      eventLog
    }),
    {
      name: 'news',
      events,
      history: { maxEvents: 0, maxBytes: 1_048_576, maxAge: Infinity },
      start: 'earliest',
      slowConsumer: { compactBy: latest },
      pace: { every: 5, key: latest },
      errorEvent,
      leaseDuration: 100,
      compress: true,
      eventLog
    }
  )
  t.equal(resolveChannel('news', { errorEvent: null }).errorEvent, null)
  t.equal(resolveChannel('news', { slowConsumer: 'snapshot' }).slowConsumer, 'snapshot')
})

t.test('a name is a string of 1 to 512 characters without control characters', async t => {
  for (const name of ['a', ' ', 'orders:7', 'Bestellungen für Ärzte', '😀'.repeat(512), '__proto__', 'a'.repeat(512)]) {
    t.equal(resolveChannel(name, {}).name, name)
  }
  const bad: Array<[unknown, string]> = [
    ['', '"" (string)'],
    ['a'.repeat(513), `"${'a'.repeat(40)}…" (string)`],
    ['a\n', '"a\\n" (string)'],
    ['\u0000', '"\\u0000" (string)'],
    ['a\u007fb', '"a\u007fb" (string)'],
    ['\u0085', '"\u0085" (string)'],
    [undefined, 'undefined'],
    [null, 'null'],
    [7, '7 (number)'],
    [{}, 'an object (Object)'],
    [Symbol.iterator, 'Symbol(Symbol.iterator) (symbol)']
  ]
  for (const [name, shown] of bad) {
    t.throws(() => resolveChannel(name, {}), {
      code: 'FST_SSE_OPTION',
      message: `Option 'name' must be a string of 1 to 512 characters without control characters, got ${shown}`
    })
  }
})

t.test('R10: a name that begins with sse. is reserved', async t => {
  for (const name of ['sse.', 'sse.control', 'sse.news']) {
    const expected = {
      code: 'FST_SSE_OPTION',
      message:
        `Option 'name' must be a name that does not begin with 'sse.', which is reserved, got "${name}" (string)`
    }
    t.throws(() => resolveChannel(name, {}), expected)
    t.throws(() => validateName(name), expected)
    t.equal(isChannelName(name), false)
  }
  for (const name of ['sse', 'sse:control', 'SSE.control', 'my.sse.control', ' sse.control']) {
    t.equal(validateName(name), name)
    t.equal(isChannelName(name), true)
  }
})

t.test('R8: a name that a store could confuse with another is rejected', async t => {
  // Half a surrogate pair: as UTF-8, all of these are one name.
  for (const name of ['\ud800', 'a\udc00b']) t.throws(() => resolveChannel(name, {}), { code: 'FST_SSE_OPTION' })
})

t.test('an invalid option is named, with the expected and the actual value', async t => {
  const events = 'a whole number of events from 0 to 4294967295'
  const bytes = 'a whole number of bytes from 0 to 9007199254740991'
  const age =
    'a number of milliseconds above 0 and up to 3153600000000 (100 years: no store keeps a longer time), or Infinity'
  const slow = "'disconnect', 'skip', 'snapshot' or { compactBy: a function that returns an event's key }"
  const cases: Array<[unknown, string]> = [
    [null, "Option 'options' must be an object, got null"],
    [undefined, "Option 'options' must be an object, got undefined"],
    [[], "Option 'options' must be an object, got an array"],
    ['x', 'Option \'options\' must be an object, got "x" (string)'],
    [{ event: {} },
      "Option 'event' must be one of events, history, start, slowConsumer, pace, errorEvent, leaseDuration, compress, eventLog, got an unknown option"],
    [{ toString: 1 },
      "Option 'toString' must be one of events, history, start, slowConsumer, pace, errorEvent, leaseDuration, compress, eventLog, got an unknown option"],
    [{ events: [] }, "Option 'events' must be a map of names to schemas, got an array"],
    [{ events: null }, "Option 'events' must be a map of names to schemas, got null"],
    [{ history: 100 }, "Option 'history' must be an object, got 100 (number)"],
    [{ history: null }, "Option 'history' must be an object, got null"],
    [{ history: { size: 1 } },
      "Option 'history.size' must be one of maxEvents, maxBytes, maxAge, got an unknown option"],
    [{ history: { maxEvents: -1 } }, `Option 'history.maxEvents' must be ${events}, got -1 (number)`],
    [{ history: { maxEvents: 1.5 } }, `Option 'history.maxEvents' must be ${events}, got 1.5 (number)`],
    [{ history: { maxEvents: Infinity } }, `Option 'history.maxEvents' must be ${events}, got Infinity (number)`],
    [{ history: { maxEvents: '5' } }, `Option 'history.maxEvents' must be ${events}, got "5" (string)`],
    [{ history: { maxEvents: 2 ** 32 } }, `Option 'history.maxEvents' must be ${events}, got 4294967296 (number)`],
    [{ history: { maxBytes: 2 ** 53 } }, `Option 'history.maxBytes' must be ${bytes}, got 9007199254740992 (number)`],
    [{ history: { maxAge: 1e17 } }, `Option 'history.maxAge' must be ${age}, got 100000000000000000 (number)`],
    [{ history: { maxBytes: -1 } }, `Option 'history.maxBytes' must be ${bytes}, got -1 (number)`],
    [{ history: { maxBytes: NaN } }, `Option 'history.maxBytes' must be ${bytes}, got NaN (number)`],
    [{ history: { maxBytes: null } }, `Option 'history.maxBytes' must be ${bytes}, got null`],
    [{ history: { maxAge: 0 } }, `Option 'history.maxAge' must be ${age}, got 0 (number)`],
    [{ history: { maxAge: -1 } }, `Option 'history.maxAge' must be ${age}, got -1 (number)`],
    [{ history: { maxAge: NaN } }, `Option 'history.maxAge' must be ${age}, got NaN (number)`],
    [{ history: { maxAge: '1' } }, `Option 'history.maxAge' must be ${age}, got "1" (string)`],
    [{ start: 'first' }, "Option 'start' must be 'latest' or 'earliest', got \"first\" (string)"],
    [{ start: null }, "Option 'start' must be 'latest' or 'earliest', got null"],
    [{ slowConsumer: 'drop' }, `Option 'slowConsumer' must be ${slow}, got "drop" (string)`],
    [{ slowConsumer: {} }, `Option 'slowConsumer' must be ${slow}, got an object (Object)`],
    [{ slowConsumer: { compactBy: 'id' } }, `Option 'slowConsumer' must be ${slow}, got an object (Object)`],
    [{ slowConsumer: null }, `Option 'slowConsumer' must be ${slow}, got null`],
    [{ pace: null }, "Option 'pace' must be an object { every, key }, got null"],
    [{ pace: 100 }, "Option 'pace' must be an object { every, key }, got 100 (number)"],
    [{ pace: { every: 0, key: () => 1 } },
      "Option 'pace.every' must be a number of milliseconds from 1 to 2147483647, got 0 (number)"],
    [{ errorEvent: 'error' }, "Option 'errorEvent' must be a function or null, got \"error\" (string)"],
    ...[99, 2 ** 31, NaN, '1000', null].map((leaseDuration): [unknown, string] => [
      { leaseDuration },
      `Option 'leaseDuration' must be a number of milliseconds from 100 to 2147483647, got ${describe(leaseDuration)}`
    ]),
    [{ compress: 'gzip' }, 'Option \'compress\' must be a boolean, got "gzip" (string)'],
    [{ compress: null }, "Option 'compress' must be a boolean, got null"],
    [{ eventLog: null }, "Option 'eventLog' must be a function that opens logs, such as memoryLog(), got null"]
  ]
  for (const [options, message] of cases) {
    t.throws(() => resolveChannel('news', options), { code: 'FST_SSE_OPTION', message })
  }
})

t.test('options of two channels are compared by identity for schemas and functions, and by value for the rest', async t => {
  const events = { message: Type.String() }
  const latest = () => 1
  const errorEvent = () => null
  const base: ChannelOptions = {
    events,
    history: { maxEvents: 5 },
    start: 'earliest',
    slowConsumer: { compactBy: latest },
    pace: { every: 100, key: latest },
    errorEvent
  }
  const cases: Array<[ChannelOptions, string | undefined]> = [
    [{}, undefined],
    [{ history: { maxEvents: 5, maxBytes: 1_048_576 } }, undefined],
    [{ slowConsumer: { compactBy: latest } }, undefined],
    [{ history: { maxEvents: 6 } }, 'history.maxEvents'],
    [{ history: { maxEvents: 5, maxBytes: 1 } }, 'history.maxBytes'],
    [{ history: { maxEvents: 5, maxAge: 1 } }, 'history.maxAge'],
    [{ slowConsumer: 'skip' }, 'slowConsumer'],
    [{ slowConsumer: { compactBy: () => 1 } }, 'slowConsumer'],
    [{ pace: { every: 100, key: latest } }, undefined],
    [{ pace: { every: 101, key: latest } }, 'pace'],
    [{ pace: { every: 100, key: () => 1 } }, 'pace'],
    [{ pace: undefined }, 'pace'],
    [{ events: { ...events } }, 'events'],
    [{ events: undefined }, 'events'],
    [{ start: 'latest' }, 'start'],
    [{ errorEvent: () => null }, 'errorEvent'],
    [{ errorEvent: null }, 'errorEvent'],
    [{ leaseDuration: 1_000 }, 'leaseDuration'],
    [{ compress: true }, 'compress'],
    [{ eventLog: memoryLog() }, 'eventLog']
  ]
  for (const [change, differing] of cases) {
    t.equal(difference(resolveChannel('news', base), resolveChannel('news', { ...base, ...change })), differing,
      JSON.stringify(change))
  }
  t.equal(difference(resolveChannel('news', { slowConsumer: 'skip' }), resolveChannel('news', {})), 'slowConsumer')
})
