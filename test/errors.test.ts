import { readFileSync, readdirSync } from 'node:fs'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import * as errors from '../lib/errors.ts'

const { describe, isError, ...factories } = errors

const STATUS: Record<string, number> = { FST_SSE_CLOSING: 503, FST_SSE_LIMIT: 503, FST_SSE_KEY_LIMIT: 429, FST_SSE_REVOKED: 403, FST_SSE_FORBIDDEN: 403, FST_SSE_NOT_FOUND: 404, FST_SSE_LOG_UNAVAILABLE: 503 }

t.test('E1: every error is exported under its own code, and can be switched on by it', async t => {
  const names = Object.keys(factories)
  t.ok(names.length > 10, 'the list is not empty')
  for (const [name, Factory] of Object.entries(factories)) {
    const error = new Factory()
    t.match(name, /^FST_SSE_[A-Z_]+$/)
    t.equal(error.code, name, `${name} carries its own name as its code`)
    t.ok(error instanceof Error, `${name} is an Error`)
    t.equal(error.statusCode, STATUS[name] ?? 500, `${name} has its status`)
  }
})

t.test('E1: a mistake in a value is a TypeError, a mistake in the order of calls is not', async t => {
  const types = ['OPTION', 'MAP', 'SCHEMA', 'SOURCE', 'EVENT', 'UNKNOWN_EVENT', 'FIELD', 'DATA', 'SERIALIZE', 'PUBLISH', 'CHANNEL_EVENTS', 'CHANNELS'].map(name => `FST_SSE_${name}`)
  for (const [name, Factory] of Object.entries(factories)) t.equal(new Factory() instanceof TypeError, types.includes(name), name)
})

t.test('E1: a message says what is wrong, what was expected and what to do next', async t => {
  const cases: Array<[Error, string]> = [
    [new errors.FST_SSE_OPTION('retry', 'a number', "'5' (string)"), "Option 'retry' must be a number, got '5' (string)"],
    [new errors.FST_SSE_MAP('GET /a', 'got null'), 'GET /a: the events must be a map of names to TypeBox schemas: got null'],
    [new errors.FST_SSE_SCHEMA('GET /a', 'tick', 'why'), "GET /a: the schema of event 'tick' cannot be used: why"],
    [new errors.FST_SSE_SOURCE('null'), 'A source is an async iterable, an iterable, a readable stream, a channel or a function that returns one, got null'],
    [new errors.FST_SSE_ALREADY_STARTED(), 'reply.sse() was called twice for one request: merge the sources into one before the call'],
    [new errors.FST_SSE_REPLY_SENT(), 'reply.sse() was called after the reply was sent: call it instead of reply.send(), not after it'],
    [new errors.FST_SSE_SEND_AFTER_SSE(), 'reply.send() was called after reply.sse(): the payload was dropped; yield it as an event of the source instead'],
    [new errors.FST_SSE_HEADER('content-length', '3'), "The header 'content-length: 3' of a stream was dropped because a stream has no length: set it on other replies only"],
    [new errors.FST_SSE_TYPE('text/plain'), "An EventSource refuses the content type 'text/plain' of a stream: leave the content type to the plugin"],
    [new errors.FST_SSE_CLOSING(), 'The server is closing: connect again in a moment'],
    [new errors.FST_SSE_LIMIT(), 'As many streams are open as this server serves: connect again in a while'],
    [new errors.FST_SSE_KEY_LIMIT(), 'As many streams are open as one client may have: close one, or connect again in a while'],
    [new errors.FST_SSE_REVOKED('you left'), 'The stream was ended: you left'],
    [new errors.FST_SSE_NO_KEY(), 'disconnect() was called with a key, and streams have none: set limits.key at registration, or pass a function'],
    [new errors.FST_SSE_NOT_REGISTERED(), 'The inspector shows a registration of fastify-typed-sse: register that before it, in the same app or in one around it'],
    [new errors.FST_SSE_FORBIDDEN('the inspector is for others'), 'This is not permitted: the inspector is for others'],
    [new errors.FST_SSE_NOT_FOUND('stream 7'), 'There is no stream 7: it is over, or it never was'],
    [new errors.FST_SSE_EVENT('null'), 'Not an event: expected { data, event?, id?, retry? }, { comment }, { id } or { retry }, got null'],
    [new errors.FST_SSE_UNKNOWN_EVENT('tock', 'tick, done'), "Event 'tock' is not declared: add it to the map, or send one of tick, done"],
    [new errors.FST_SSE_FIELD('id', 'a string', 'null'), "The field 'id' of an event must be a string, got null"],
    [new errors.FST_SSE_DATA('tick', '/at', 'Expected string'), "Event 'tick' does not fit its schema at '/at': Expected string"],
    [new errors.FST_SSE_SERIALIZE('tick', '/n', 'no BigInt'), "Event 'tick' cannot be serialised at '/n': no BigInt"],
    [new errors.FST_SSE_QUEUE_LOCKED(), 'This EventQueue already has its reader: make one queue per stream'],
    [new errors.FST_SSE_QUEUE_ENDED(), 'push() was called after end(): push everything first, then end the queue'],
    [new errors.FST_SSE_PUBLISH("'id' is not for an event of a channel"), "This cannot be published: 'id' is not for an event of a channel"],
    [new errors.FST_SSE_CHANNEL_OPTIONS('orders', 'start'), "The channel 'orders' exists with another 'start': make the options once, outside of the handler, and pass the same everywhere"],
    [new errors.FST_SSE_CHANNEL_ENDED(), 'The channel has ended: publish before end(), or use another name'],
    [new errors.FST_SSE_CHANNEL_EVENTS('orders'), "The events of the channel 'orders' are not those of schema.sse: declare the same schema objects in both, or narrow with subscribe({ map })"],
    [new errors.FST_SSE_CHANNELS(64, 65), 'A stream follows 1 to 64 different channels, got 65'],
    [new errors.FST_SSE_SNAPSHOT('orders', '"x" (string)'), "The snapshot of the channel 'orders' brings an id that is no position in it: \"x\" (string)"],
    [new errors.FST_SSE_LAGGING('orders'), "The subscriber of 'orders' fell behind its history: read faster, keep more history, or choose another policy for slow readers"],
    [new errors.FST_SSE_REAUTHORIZE_TIMEOUT('reauthorize', 100), 'reauthorize did not settle within 100 milliseconds'],
    [new errors.FST_SSE_TEST_TIMEOUT('GET /: its end', 'within 5 ms', 'nothing'), 'GET /: its end did not come within 5 ms; so far: nothing'],
    [new errors.FST_SSE_LOG_UNAVAILABLE('orders', 'did not answer within 5000 milliseconds: it may still come'), "The log of the channel 'orders' did not answer within 5000 milliseconds: it may still come"],
    [new errors.FST_SSE_LOG_FOREIGN('orders', 'are of a newer version of this package'), "The keys of the channel 'orders' are of a newer version of this package: nothing was changed"]
  ]
  for (const [error, message] of cases) t.equal(error.message, message)
  const seen = new Set(cases.map(([error]) => (error as Error & { code: string }).code))
  t.strictSame(Object.keys(factories).filter(name => !seen.has(name)), [], 'no code was left out of this table')
})

t.test('E1: every code that lib knows stands in the README', async t => {
  const lib = new URL('../lib/', import.meta.url)
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'))
  const codes = new Set(files.flatMap(name => readFileSync(new URL(name, lib), 'utf8').match(/FST_SSE_[A-Z_]+/g) ?? []))
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  t.ok(codes.size >= Object.keys(factories).length)
  t.strictSame([...codes].filter(code => !readme.includes(`\`${code}\``)), [])
})

t.test('a value is shown by its type, and in full where that is short', async t => {
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

t.test('an error is one whatever realm made it', async t => {
  for (const value of [new Error('own'), new TypeError('own'), runInNewContext("new Error('foreign')"), new errors.FST_SSE_ALREADY_STARTED()]) t.ok(isError(value))
  for (const value of [undefined, null, 'Error', {}, { name: 'Error', message: 'like one' }]) t.notOk(isError(value))
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  t.notOk(isError(proxy), 'a revoked proxy is none')
})

t.test('an object without a maker of its own is shown all the same', async t => {
  t.equal(describe(Object.create({})), 'an object (Object)')
  t.equal(describe(Object.create({ get constructor () { throw new Error('not even that') } })), 'an object (Object)')
})
