import t from 'tap'
import {
  cancelledBy, failure, isInitialize, isMessage, isRequest, readsPriming, rejection, requestIn, suffixOf,
  type JsonRpcMessage
} from '../../lib/protocols/mcp-messages.ts'

const request = (id: string | number): JsonRpcMessage => ({ jsonrpc: '2.0', id, method: 'tools/call', params: {} })

t.test('a message is a request, a notification or a response', async t => {
  const response = { jsonrpc: '2.0', id: 1, result: {} } as const
  const notification = { jsonrpc: '2.0', method: 'notifications/initialized' } as const
  const error = { jsonrpc: '2.0', error: { code: 1, message: 'unknown' } } as const
  for (const message of [request(1), request('a'), request(''), response, notification, error]) {
    t.equal(isMessage(message), true, JSON.stringify(message))
  }
  t.strictSame([request(0), response, notification, error].map(isRequest), [true, false, false, false])
  for (const value of [undefined, null, 'text', [request(1)], { ...request(1), id: NaN }, { ...response, id: true }, { ...request(1), params: [] }]) {
    t.equal(isMessage(value), false, JSON.stringify(value))
  }
  t.equal(isInitialize({ ...request(1), method: 'initialize' }), true)
  t.equal(isInitialize({ jsonrpc: '2.0', method: 'initialize' }), false)
  t.equal(isInitialize(request(1)), false)
})

t.test('a client of version 2025-11-25 and later reads an event without data', async t => {
  const reads = (params?: object): boolean => readsPriming({ ...request(1), params })
  t.strictSame([{ protocolVersion: '2025-11-25' }, { protocolVersion: '2026-01-01' }].map(reads), [true, true])
  t.strictSame([{ protocolVersion: '2025-06-18' }, { protocolVersion: 2026 }, {}, undefined].map(reads), [false, false, false, false])
})

t.test('a notification cancels a request by its id', async t => {
  const cancel = (params: object | undefined): JsonRpcMessage => ({ jsonrpc: '2.0', method: 'notifications/cancelled', params })
  t.equal(cancelledBy(cancel({ requestId: 0 })), 0)
  t.equal(cancelledBy(cancel({ requestId: 'a' })), 'a')
  t.strictSame([cancel({}), cancel(undefined), { ...cancel({ requestId: 1 }), method: 'other' }].map(cancelledBy), [undefined, undefined, undefined])
})

t.test('the id of a stream has its request, whatever the id of the request is', async t => {
  for (const id of [0, 7, -1, '7', '', 'a/b', 'ü"\n', '\ud800', 'x'.repeat(190)]) {
    const suffix = suffixOf([request(id), { jsonrpc: '2.0', method: 'notifications/initialized' }])
    t.match(suffix, /^\/[^/]+$/)
    t.equal(requestIn(`mcp:session/stream${suffix}`), id)
    t.equal(requestIn(`api/v1/mcp:a:session/stream${suffix}`), id, 'the name of the endpoint has slashes')
  }
  for (const messages of [[request(1), request(2)], [request('x'.repeat(200))], []]) {
    const suffix = suffixOf(messages)
    t.equal(suffix, '')
    t.equal(requestIn(`mcp:session/stream${suffix}`), undefined)
  }
  t.equal(requestIn('mcp:session'), undefined)
})

t.test('a rejection has a status, a code of this package, and one of JSON-RPC', async t => {
  t.match(rejection(404, 'Gone'), { code: 'FST_SSE_MCP', statusCode: 404, message: 'Gone', rpcCode: -32_000 })
  t.match(rejection(400, 'Bad', -32_600), { statusCode: 400, rpcCode: -32_600 })
})

t.test('a failure is the response of a request', async t => {
  t.strictSame(failure('a', -32_000, 'Lost'), { jsonrpc: '2.0', id: 'a', error: { code: -32_000, message: 'Lost' } })
})
