import { readFileSync, readdirSync } from 'node:fs'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import * as errors from '../lib/errors.ts'

const { describe, isError, ...factories } = errors

const STATUS: Record<string, number> = {
  FST_SSE_CLOSING: 503,
  FST_SSE_LIMIT: 503,
  FST_SSE_KEY_LIMIT: 429,
  FST_SSE_NOT_ACCEPTABLE: 406,
  FST_SSE_WAIT: 400,
  FST_SSE_INCOMPLETE: 503,
  FST_SSE_REVOKED: 403,
  FST_SSE_FORBIDDEN: 403,
  FST_SSE_NOT_FOUND: 404,
  FST_SSE_LOG_UNAVAILABLE: 503,
  FST_SSE_LOG_IN_USE: 503,
  FST_SSE_RUN_BROKEN: 503,
  FST_SSE_MCP: 400,
  FST_SSE_BATCH: 400
}

t.test('E1: every error is exported under its own code', async t => {
  const names = Object.keys(factories)
  t.ok(names.length > 10, 'the list is not empty')
  for (const [name, Factory] of Object.entries(factories)) {
    const error = new Factory()
    t.match(name, /^FST_SSE_[A-Z_]+$/)
    t.equal(error.code, name, `${name} has its own name as its code`)
    t.ok(error instanceof Error, `${name} is an Error`)
    t.equal(error.statusCode, STATUS[name] ?? 500, `${name} has its status`)
  }
})

t.test('E1: an invalid value is a TypeError, a wrong order of calls is not', async t => {
  const types = ['OPTION', 'MAP', 'SCHEMA', 'SOURCE', 'EVENT', 'UNKNOWN_EVENT', 'FIELD', 'DATA', 'SERIALIZE', 'PUBLISH',
    'CHANNEL_EVENTS', 'CHANNELS', 'LOG_METHOD'].map(name => `FST_SSE_${name}`)
  for (const [name, Factory] of Object.entries(factories)) {
    t.equal(new Factory() instanceof TypeError, types.includes(name), name)
  }
})

t.test('E1: a message says what happened and what to do next', async t => {
  const cases: Array<[Error, string]> = [
    [new errors.FST_SSE_OPTION('retry', 'a number', "'5' (string)"),
      "Option 'retry' must be a number, got '5' (string)"],
    [new errors.FST_SSE_MAP('GET /a', 'got null'), 'GET /a: the events must map names to schemas: got null'],
    [new errors.FST_SSE_SCHEMA('GET /a', "'tick' (zod)", 'why'),
      "GET /a: the schema of event 'tick' (zod) cannot be compiled: why"],
    [new errors.FST_SSE_SOURCE('null'),
      'A source must be an async iterable, an iterable, a readable stream, a channel or a function that returns one of these, got null'],
    [new errors.FST_SSE_ALREADY_STARTED(),
      'reply.sse() was called twice for one request: merge the sources and call it once'],
    [new errors.FST_SSE_REPLY_SENT(),
      'reply.sse() was called after the reply was sent: call it instead of reply.send()'],
    [new errors.FST_SSE_SEND_AFTER_SSE(),
      'reply.send() was called after reply.sse(): yield the payload from the source as an event instead'],
    [new errors.FST_SSE_HEADER('content-length', '3'),
      "The header 'content-length: 3' was dropped, because a stream has no length: set it only on replies that are no streams"],
    [new errors.FST_SSE_TYPE('text/plain'),
      "An EventSource rejects the content type 'text/plain' of a stream: leave the content type to the plugin"],
    [new errors.FST_SSE_CLOSING(), 'The server is closing: reconnect in a moment'],
    [new errors.FST_SSE_LIMIT(), 'The server has reached its limit of open streams: try again later'],
    [new errors.FST_SSE_KEY_LIMIT(), 'The client has reached its limit of open streams: close one, or try again later'],
    [new errors.FST_SSE_REVOKED('you left'), 'The stream was ended: you left'],
    [new errors.FST_SSE_NO_KEY(),
      'disconnect() was called with a key, but streams have no key: set limits.keyGenerator at registration, or pass a function'],
    [new errors.FST_SSE_NOT_REGISTERED(),
      'The inspector needs fastify-typed-sse: register the plugin before it, in the same scope or in a parent scope'],
    [new errors.FST_SSE_FORBIDDEN('the inspector is for operators'), 'Access denied: the inspector is for operators'],
    [new errors.FST_SSE_NOT_FOUND('stream 7'), 'There is no stream 7: it has ended, or it never existed'],
    [new errors.FST_SSE_EVENT('null'),
      'Not an event: expected { data, event?, id?, retry? }, { comment }, { id } or { retry }, got null'],
    [new errors.FST_SSE_UNKNOWN_EVENT('tock', 'tick, done'),
      "Event 'tock' is not declared: add it to the event map, or send one of tick, done"],
    [new errors.FST_SSE_FIELD('id', 'a string', 'null'), "The field 'id' of an event must be a string, got null"],
    [new errors.FST_SSE_DATA('tick', '/at', 'Expected string'),
      "Event 'tick' does not match its schema at '/at': Expected string"],
    [new errors.FST_SSE_SERIALIZE('tick', '/n', 'no BigInt'), "Event 'tick' cannot be serialized at '/n': no BigInt"],
    [new errors.FST_SSE_QUEUE_LOCKED(), 'This EventQueue already has a reader: create one queue for each stream'],
    [new errors.FST_SSE_QUEUE_ENDED(), 'push() was called after end(): push all events before end()'],
    [new errors.FST_SSE_PUBLISH("an event of a channel has no 'id'"),
      "The event cannot be published: an event of a channel has no 'id'"],
    [new errors.FST_SSE_BATCH(5, 6), 'A batch must have 1 to 5 events, got 6'],
    [new errors.FST_SSE_CHANNEL_OPTIONS('orders', 'start'),
      "The channel 'orders' exists with another 'start': create the options once, outside the handler, and pass the same values everywhere"],
    [new errors.FST_SSE_CHANNEL_ENDED(),
      'The channel has ended: publish before end(), or use a channel with another name'],
    [new errors.FST_SSE_CHANNEL_EVENTS('orders'),
      "The events of the channel 'orders' differ from schema.sse: declare the same schema objects in both, or convert the events with subscribe({ map })"],
    [new errors.FST_SSE_CHANNELS(64, 65), 'A stream must subscribe to 1 to 64 different channels, got 65'],
    [new errors.FST_SSE_SNAPSHOT('orders', '"x" (string)'),
      'The snapshot of the channel \'orders\' returned an id that is not a position in it: "x" (string)'],
    [new errors.FST_SSE_LAGGING('orders'),
      "The subscriber of 'orders' fell behind the history: read faster, raise the history limits, or set another slowConsumer policy"],
    [new errors.FST_SSE_REAUTHORIZE_TIMEOUT('reauthorize', 100),
      'The promise of reauthorize did not settle within 100 milliseconds: resolve or reject it sooner'],
    [new errors.FST_SSE_TEST_TIMEOUT('GET /: its end', 'within 5 ms', 'nothing'),
      'GET /: its end did not arrive within 5 ms; so far: nothing'],
    [
      new errors.FST_SSE_LOG_UNAVAILABLE('orders',
        'did not answer within 5000 milliseconds: the event may still be appended'),
      "The event log of the channel 'orders' did not answer within 5000 milliseconds: the event may still be appended"
    ],
    [new errors.FST_SSE_LOG_FOREIGN('keys of the channel', 'orders', 'are of a newer version of this package'),
      "The keys of the channel 'orders' are of a newer version of this package: nothing was changed"],
    [new errors.FST_SSE_LOG_IN_USE('events.db'),
      "The file 'events.db' is in use: an event log of SQLite belongs to one process, and to one sqliteLog() in it"],
    [new errors.FST_SSE_LOG_METHOD('locate()', 'app.sse.locate() needs'),
      "The event log has no 'locate()', which app.sse.locate() needs: use another log, such as postgresLog(), or add the method"],
    [new errors.FST_SSE_RUN_BROKEN('run:1'),
      "The node of the run 'run:1' has stopped before the run was complete: start another run"],
    [new errors.FST_SSE_NOT_ACCEPTABLE('text/event-stream, application/json'),
      'The Accept header allows no format of this stream, which are: text/event-stream, application/json'],
    [new errors.FST_SSE_WAIT('"soon" (string)'),
      "The query parameter 'wait' must be a number of seconds, 0 or more, got \"soon\" (string)"],
    [new errors.FST_SSE_INCOMPLETE(), 'The array ended before its source: request it again'],
    [new errors.FST_SSE_MCP('Session not found'), 'Session not found']
  ]
  for (const [error, message] of cases) t.equal(error.message, message)
  const seen = new Set(cases.map(([error]) => (error as Error & { code: string }).code))
  t.strictSame(Object.keys(factories).filter(name => !seen.has(name)), [], 'no code was left out of this table')
})

t.test('E1: every code in lib has a row in lib/errors.md, or in the README of the client', async t => {
  const lib = new URL('../lib/', import.meta.url)
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'))
  const codes = new Set(files.flatMap(name => readFileSync(new URL(name, lib), 'utf8').match(/FST_SSE_[A-Z_]+/g) ?? []))
  const tables = ['errors.md', 'client/README.md'].map(name => readFileSync(new URL(name, lib), 'utf8')).join('')
  t.ok(codes.size >= Object.keys(factories).length)
  t.strictSame([...codes].filter(code => !tables.includes(`| \`${code}\` |`)), [])
})

t.test('describe() gives the type of a value, and the value itself if it is short', async t => {
  class Order {}
  const cases: Array<[unknown, string]> = [
    [null, 'null'],
    [undefined, 'undefined'],
    ['', '"" (string)'],
    ['a\nb"c', '"a\\nb\\"c" (string)'],
    ['x'.repeat(40), `"${'x'.repeat(40)}" (string)`],
    ['x'.repeat(41), `"${'x'.repeat(40)}…" (string)`],
    [0, '0 (number)'],
    [-0.5, '-0.5 (number)'],
    [NaN, 'NaN (number)'],
    [10n, '10 (bigint)'],
    [false, 'false (boolean)'],
    [Symbol('s'), 'Symbol(s) (symbol)'],
    [[1, 2], 'an array'],
    [{ a: 1 }, 'an object (Object)'],
    [new Order(), 'an object (Order)'],
    [new Map(), 'an object (Map)'],
    [Object.create(null), 'an object (no prototype)'],
    [() => 1, 'a function'],
    [Order, 'a function']
  ]
  for (const [value, expected] of cases) t.equal(describe(value), expected)
})

t.test('isError() detects the errors of every realm', async t => {
  for (const value of [new Error('own'), new TypeError('own'), runInNewContext("new Error('foreign')"),
    new errors.FST_SSE_ALREADY_STARTED()]) t.ok(isError(value))
  for (const value of [undefined, null, 'Error', {}, { name: 'Error', message: 'like one' }]) t.notOk(isError(value))
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  t.notOk(isError(proxy), 'a revoked proxy is no error')
})

t.test('describe() accepts an object without a constructor of its own', async t => {
  t.equal(describe(Object.create({})), 'an object (Object)')
  t.equal(describe(Object.create({ get constructor () { throw new Error('not even that') } })), 'an object (Object)')
})
