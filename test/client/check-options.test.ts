import { Type } from '@sinclair/typebox'
import { type } from 'arktype'
import t from 'tap'
import * as v from 'valibot'
import { z } from 'zod'
import { checkOptions, reconnects } from '../../lib/client/check-options.ts'

const URLS = ['/a', new URL('http://there/'), () => '/a', { href: 'http://there/' }]

t.test('valid arguments have no error', async t => {
  for (const url of URLS) t.equal(checkOptions(url, {}), undefined)
  const { signal } = new AbortController()
  const events = { a: Type.String(), b: 'json', c: 'text', d: type('string'), e: z.string(), f: {} }
  const options = {
    retryDelay: 0,
    maxRetryDelay: Infinity,
    maxAttempts: 3,
    inactivityTimeout: 0,
    maxEventBytes: 1,
    fetch,
    onError: () => {},
    onStateChange: () => {},
    validate: () => undefined,
    reconnect: false,
    method: 'POST',
    body: new ReadableStream(),
    lastEventId: '7',
    share: 'name',
    signal,
    events
  }
  t.equal(checkOptions('/a', options), undefined)
  t.equal(checkOptions('/a', { lastEventId: null, signal: null, share: true, retryDelay: undefined }), undefined)
  t.equal(checkOptions(() => '/a', { share: false }), undefined)
  t.equal(checkOptions('/a', { body: () => new ReadableStream(), method: 'POST', reconnect: true }), undefined)
})

t.test('E1: an invalid argument is FST_SSE_OPTION, with the name of the option and the expected value', async t => {
  const cases: Array<[options: unknown, name: string, expected: string]> = [
    [null, 'options', 'an object'],
    [5, 'options', 'an object'],
    ...['retryDelay', 'maxRetryDelay', 'maxAttempts', 'inactivityTimeout', 'maxEventBytes'].flatMap(name =>
      ['x', NaN, -1, null]
        .map((value): [unknown, string, string] => [{ [name]: value }, name, 'a number, 0 or more'])
    ),
    ...['fetch', 'onError', 'onStateChange', 'validate'].flatMap(name =>
      [5, null, {}].map((value): [unknown, string, string] => [{ [name]: value }, name, 'a function'])
    ),
    [{ reconnect: 'no' }, 'reconnect', 'true or false'],
    [{ method: 5 }, 'method', 'a string'],
    [{ lastEventId: 5 }, 'lastEventId', 'a string'],
    [{ share: 5 }, 'share', 'true, false or a name'],
    [{ share: null }, 'share', 'true, false or a name'],
    [{ signal: 5 }, 'signal', 'an AbortSignal'],
    [{ signal: {} }, 'signal', 'an AbortSignal'],
    [{ events: 5 }, 'events', "a map of schemas, 'text' or 'json'"],
    [{ events: { a: 'jason' } }, 'events', "a map of schemas, 'text' or 'json'"],
    [{ events: { a: null } }, 'events', "a map of schemas, 'text' or 'json'"],
    [{ events: { a: 'json', b: v.string() } }, 'events.b', 'a schema that gives its JSON Schema, such as toStandardJsonSchema(schema)'],
    [{ events: { at: z.date() } }, 'events.at', 'a schema that gives its JSON Schema, such as toStandardJsonSchema(schema)'],
    [{ body: new ReadableStream(), method: 'POST', reconnect: true }, 'body',
      'a function, since the stream is sent again']
  ]
  for (const [options, name, expected] of cases) {
    t.match(checkOptions('/a', options), { code: 'FST_SSE_OPTION', message: `Option '${name}' must be ${expected}` },
      name)
  }
  for (const url of [undefined, null, 5, {}]) {
    t.equal(checkOptions(url, {})?.message, "Option 'url' must be a string, a URL or a function")
  }
  t.equal(checkOptions(() => '/a', { share: true })?.message,
    "Option 'share' must be a name, since the URL is a function")
})

t.test('GET reconnects, and so does a request with reconnect: true', async t => {
  for (const method of ['GET', 'get', undefined]) t.ok(reconnects({ ...method !== undefined && { method } }))
  t.notOk(reconnects({ method: 'POST' }))
  t.ok(reconnects({ method: 'POST', reconnect: true }))
  t.notOk(reconnects({ reconnect: false }))
})
