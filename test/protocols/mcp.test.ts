import { randomUUID } from 'node:crypto'
import Fastify from 'fastify'
import t from 'tap'
import sse from '../../lib/index.ts'
import { mcp } from '../../lib/protocols/mcp.ts'
import { begin, connectClient, initialize, json, raw, rejected, startMcp } from '../setup/mcp.ts'
import { until } from '../setup/until.ts'

t.setTimeout(300_000)

t.test('a request that breaks the rules of the transport gets the status of the protocol', async t => {
  const { port, tools } = await startMcp(t, { allowedHosts: ['127.0.0.1', 'other.example'].flatMap(host => [host, `${host}:0`]) })
  t.match(await raw(port, 'POST', json, initialize()), rejected(403, -32000, `Invalid Host header: 127.0.0.1:${port}`))
  t.equal(tools.calls.size, 0)
})

t.test('a request that breaks the rules of the protocol gets its status', async t => {
  const { port, endpoint } = await startMcp(t, { allowedOrigins: ['https://app.example'] })
  const { id } = await begin(port)
  const session = { ...json, 'mcp-session-id': id }
  const ping = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' })
  const noText = 'Not Acceptable: Client must accept text/event-stream'
  const noBoth = 'Not Acceptable: Client must accept application/json and text/event-stream'
  const noSession = 'Bad Request: Mcp-Session-Id header is required'
  const noMessage = 'Parse error: Invalid JSON-RPC message'
  const version = 'Bad Request: Unsupported protocol version: 1999-01-01'
  const stream = { ...session, accept: 'text/event-stream' }
  const cases: Array<[string, string, Record<string, string>, string | undefined, object]> = [
    ['a foreign origin', 'POST', { ...json, origin: 'http://evil.example' }, initialize(),
      rejected(403, -32000, 'Invalid Origin header: http://evil.example')],
    ['no session', 'POST', json, ping, rejected(400, -32000, noSession)],
    ['no session', 'GET', { accept: 'text/event-stream' }, undefined, rejected(400, -32000, noSession)],
    ['no session', 'DELETE', {}, undefined, rejected(400, -32000, noSession)],
    ...['unknown', `${id}/1`, `${id}x`, ''].flatMap((unknown): typeof cases => [
      ['an unknown session', 'POST', { ...json, 'mcp-session-id': unknown }, ping, rejected(404, -32001, 'Session not found')],
      ['an unknown session', 'GET', { ...stream, 'mcp-session-id': unknown }, undefined, rejected(404, -32001, 'Session not found')],
      ['an unknown session', 'DELETE', { 'mcp-session-id': unknown }, undefined, rejected(404, -32001, 'Session not found')]
    ]),
    ['a second initialization', 'POST', session, initialize(), rejected(400, -32600, 'Invalid Request: Server already initialized')],
    ['a batch with an initialization', 'POST', json, `[${initialize()},${ping}]`,
      rejected(400, -32600, 'Invalid Request: Only one initialization request is allowed')],
    ['a long batch', 'POST', session, `[${Array.from({ length: 101 }, () => ping).join(',')}]`,
      rejected(400, -32600, 'Invalid Request: Batch must not exceed 100 messages')],
    ['an id twice', 'POST', session, `[${ping},${ping}]`,
      rejected(400, -32600, 'Invalid Request: The id of a request is in use')],
    ...['application/json', 'text/event-stream', 'text/html', '', 'application/json;q=0, text/event-stream',
      'application/json, text/event-stream;q=0.000', ';;,,', 'application/jsonx, text/event-streamx'
    ].map((accept): typeof cases[number] => [`Accept: ${accept}`, 'POST', { ...session, accept }, ping, rejected(406, -32000, noBoth)]),
    ['Accept without streams', 'GET', { ...session, accept: 'application/json' }, undefined, rejected(406, -32000, noText)],
    ['another version', 'POST', { ...session, 'mcp-protocol-version': '1999-01-01' }, ping, rejected(400, -32000, version)],
    ['another version', 'GET', { ...stream, 'mcp-protocol-version': '1999-01-01' }, undefined, rejected(400, -32000, version)],
    ['text', 'POST', { ...session, 'content-type': 'text/plain' }, ping,
      rejected(415, -32000, 'Unsupported Media Type: Content-Type must be application/json')],
    ['another type of JSON', 'POST', { ...session, 'content-type': 'application/jsonx' }, ping,
      rejected(415, -32000, 'Unsupported Media Type: Content-Type must be application/json')],
    ['no JSON', 'POST', session, '{', { status: 400, body: /"code":-32700/ }],
    ['no body', 'POST', session, '', { status: 400, body: /"code":-32700/ }],
    ...['null', '1', '"text"', '[]', '[1]', '{}', '{"jsonrpc":"1.0","method":"a"}', '{"jsonrpc":"2.0"}',
      '{"jsonrpc":"2.0","method":1}', '{"jsonrpc":"2.0","method":"a","id":null}', '{"jsonrpc":"2.0","method":"a","id":1.5}',
      '{"jsonrpc":"2.0","method":"a","params":1}', '{"jsonrpc":"2.0","id":1,"result":1}', '{"jsonrpc":"2.0","id":{},"result":{}}'
    ].map((body): typeof cases[number] => [body, 'POST', session, body, rejected(400, -32700, noMessage)]),
    ['another method', 'PUT', session, ping, rejected(405, -32000, 'Method not allowed.')],
    ['another method', 'PATCH', session, ping, rejected(405, -32000, 'Method not allowed.')],
    ['HEAD', 'HEAD', session, undefined, { status: 405, body: '' }]
  ]
  for (const [title, method, headers, body, expected] of cases) {
    t.match(await raw(port, method, headers, body), expected, `${method}, ${title}`)
  }
  t.strictSame([...endpoint.sessions.keys()], [id])
  for (const accept of ['*/*', 'application/*, text/*;q=0.1', 'TEXT/EVENT-STREAM , application/json; charset=utf-8']) {
    const { status, body } = await raw(port, 'POST', { ...session, accept, origin: 'https://app.example' }, ping)
    t.match({ status, body }, { status: 200, body: /data: \{"jsonrpc":"2\.0","result":\{\},"id":1\}\n\n$/ }, accept)
  }
  t.match(await raw(port, 'POST', session, '{"jsonrpc":"2.0","method":"notifications/initialized"}'), { status: 202, body: '' })
})

t.test('the frames of a call: first its position, then messages', async t => {
  const { port } = await startMcp(t, { retry: 1234 })
  const { id, body } = await begin(port)
  const [, epoch] = /^id: (\w+)-1$/m.exec(body)!
  const frames = body.replace(/^: \w+\n\n/gm, '').split('\n\n')
  t.strictSame(frames.slice(0, 2), ['retry: 1234', `id: ${epoch}-1\ndata: `])
  t.match(frames[2], new RegExp(`^id: ${epoch}-2\ndata: \\{"jsonrpc":"2\\.0","result":\\{"protocolVersion":"2025-11-25",.*,"id":0\\}$`))
  t.strictSame(frames.slice(3), [''])
  const old = await begin(port, '2025-06-18')
  t.notMatch(old.body, /data: \n/, 'a client of an earlier version reads no event without data')
  t.match(old.body, /id: \w+-1\ndata: \{"jsonrpc"/)
  const batch = `[${[1, 2].map(id => JSON.stringify({ jsonrpc: '2.0', id, method: 'ping' })).join(',')},` +
    '{"jsonrpc":"2.0","method":"notifications/initialized"}]'
  const { body: both } = await raw(port, 'POST', { ...json, 'mcp-session-id': id }, batch)
  t.strictSame(both.match(/(?<=^data: ).+$/gm)?.map(text => JSON.parse(text).id).toSorted(), [1, 2])
})

t.test('only one stream of server messages is open; a client that resumes takes its place', async t => {
  const { app, port } = await startMcp(t)
  const { id } = await begin(port)
  const get = (headers: Record<string, string>): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}/mcp`, { headers: { accept: 'text/event-stream', 'mcp-session-id': id, ...headers } })
  const first = await get({})
  const reader = first.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  while (!text.includes('data: \n\n')) text += (await reader.read()).value
  const position = /^id: (.*)$/m.exec(text)![1]!
  const second = await get({})
  t.equal(second.status, 409)
  await second.body!.cancel()
  const resumed = await get({ 'last-event-id': position })
  t.equal(resumed.status, 200)
  t.equal(resumed.headers.get('mcp-session-id'), id)
  while (!(await reader.read()).done);
  t.equal(app.sse.streams().length, 1)
  await resumed.body!.cancel()
  await until('the end of the stream', () => app.sse.streams().length === 0)
  const third = await get({})
  t.equal(third.status, 200)
  await third.body!.cancel()
})

t.test('authorize hides the session of another client', async t => {
  const { port } = await startMcp(t, {
    sessionId: request => `${String(request.headers['x-user'])}.${randomUUID()}`,
    authorize: async (request, id) => id.startsWith(`${String(request.headers['x-user'])}.`),
    authInfo: request => ({ token: 'secret', clientId: String(request.headers['x-user']), scopes: ['all'] })
  })
  const { client: alice, transport } = await connectClient(t, port, { headers: { 'x-user': 'alice' } })
  const { content } = await alice.callTool({ name: 'whoami' })
  t.strictSame(content, [{ type: 'text', text: `alice /mcp ${transport.sessionId}` }])
  for (const method of ['GET', 'POST', 'DELETE']) {
    const accept = method === 'POST' ? json : { accept: 'text/event-stream' }
    const headers = { ...accept, 'x-user': 'bob', 'mcp-session-id': transport.sessionId! }
    const body = method === 'POST' ? '{"jsonrpc":"2.0","id":1,"method":"ping"}' : undefined
    t.match(await raw(port, method, headers, body), rejected(404, -32001, 'Session not found'))
  }
})

t.test('authorize permits with true alone: a forgotten or truthy value is a refusal', async t => {
  let value: unknown
  const { port, endpoint } = await startMcp(t, { authorize: () => value as boolean })
  const { id } = await begin(port)
  for (value of [undefined, null, 0, '', 'yes', 1, {}]) {
    t.match(await raw(port, 'DELETE', { 'mcp-session-id': id }), rejected(404, -32001, 'Session not found'), String(value))
  }
  t.ok(endpoint.sessions.has(id))
})

t.test('L12: a session without requests and streams ends after its time', async t => {
  const { port, endpoint } = await startMcp(t, { sessionTimeout: 1_500 })
  const { id } = await begin(port)
  const { client, transport } = await connectClient(t, port)
  await until('the end of the session', () => !endpoint.sessions.has(id))
  t.strictSame([...endpoint.sessions.keys()], [transport.sessionId], 'an open stream keeps its session')
  await client.close()
  await until('the end of the other session', () => endpoint.sessions.size === 0)
})

t.test('the number of sessions is limited', async t => {
  const { port, endpoint } = await startMcp(t, { maxSessions: 2 })
  const { client } = await connectClient(t, port)
  const started = await Promise.all([raw(port, 'POST', json, initialize()), raw(port, 'POST', json, initialize())])
  t.strictSame(started.map(({ status }) => status).toSorted(), [200, 503])
  t.match(started.find(({ status }) => status === 503), rejected(503, -32000, 'Service Unavailable'))
  await endpoint.sessions.values().next().value!.close()
  t.equal((await begin(port)).body.includes('serverInfo'), true)
  await client.close()
})

t.test('a server that cannot be connected leaves no session', async t => {
  let failure: unknown = new Error('The database is down')
  const { port, endpoint } = await startMcp(t, {
    connect: async () => { throw failure },
    sessionId: () => 'the-only-one'
  })
  t.match(await raw(port, 'POST', json, initialize()), rejected(500, -32603, 'Internal Server Error'))
  t.equal(endpoint.sessions.size, 0)
  failure = new Error('never called')
  t.match(await raw(port, 'POST', json, initialize()), { status: 500 }, 'an id is used once')
  const { port: other } = await startMcp(t, { sessionId: () => 'with space' })
  t.match(await raw(other, 'POST', json, initialize()), { status: 500 })
})

t.test('a server sends no second response, and none without a request', async t => {
  const { port, endpoint } = await startMcp(t)
  const { id } = await begin(port)
  const session = endpoint.sessions.get(id)!
  await t.rejects(session.send({ jsonrpc: '2.0', id: 0, result: {} }), { code: 'FST_SSE_NOT_FOUND', message: /request with the id 0/ })
  await t.rejects(session.send({ jsonrpc: '2.0', error: {} }), { code: 'FST_SSE_NOT_FOUND' })
  await t.rejects(session.send({ jsonrpc: '2.0', method: 'a' }, { relatedRequestId: 'b' }), { code: 'FST_SSE_NOT_FOUND', message: /"b"/ })
  await session.close()
  await session.close()
  await t.rejects(session.send({ jsonrpc: '2.0', method: 'a' }), { code: 'FST_SSE_CHANNEL_ENDED' })
})

t.test('a request that is rejected by Fastify, or by the limits of streams, does not reach the server', async t => {
  const { app, port } = await startMcp(t, {}, { limits: { maxStreams: 1 } })
  const { id } = await begin(port)
  const session = { ...json, 'mcp-session-id': id }
  const large = JSON.stringify({ jsonrpc: '2.0', method: 'large', params: { text: 'x'.repeat(1_048_576) } })
  t.match(await raw(port, 'POST', session, large), rejected(413, -32000, 'Request body is too large'))
  const stream = await fetch(`http://127.0.0.1:${port}/mcp`, { headers: { ...session, accept: 'text/event-stream' } })
  t.match(await raw(port, 'POST', session, '{"jsonrpc":"2.0","id":1,"method":"ping"}'), { status: 503, body: /FST_SSE_LIMIT/ })
  await stream.body!.cancel()
  await until('the end of the stream', () => app.sse.streams().length === 0)
  t.match(await raw(port, 'POST', session, '{"jsonrpc":"2.0","id":1,"method":"ping"}'), { status: 200 })
})

t.test('an error of a server that closes is logged', async t => {
  const { app, port, endpoint } = await startMcp(t)
  const { id } = await begin(port)
  const lines: unknown[] = []
  app.log.error = (...args: unknown[]) => { lines.push(args) }
  const failure = new Error('The server failed')
  endpoint.sessions.get(id)!.onclose = () => { throw failure }
  t.match(await raw(port, 'DELETE', { 'mcp-session-id': id }), { status: 200 })
  t.strictSame(lines, [[{ err: failure }, 'mcp server failed']])
})

t.test('options are checked', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  t.throws(() => mcp(app, {} as never), { code: 'FST_SSE_OPTION', message: /'connect'/ })
  t.throws(() => mcp(app, { connect: () => {}, maxSessions: 0 }), { code: 'FST_SSE_OPTION', message: /'maxSessions'/ })
})
