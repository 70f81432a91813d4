import { randomUUID } from 'node:crypto'
import type { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type RegisterOptions } from '../../lib/index.ts'
import { mcp, type McpEndpoint, type McpOptions } from '../../lib/protocols/mcp.ts'
import { redisLog } from '../../lib/redis.ts'
import { listen } from '../setup/listen.ts'
import { connectClient, Tools } from '../setup/mcp.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'
import { Relay } from '../setup/relay.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

interface Node { app: FastifyInstance, endpoint: McpEndpoint, port: number, tools: Tools }

async function start (t: Test, options: Partial<McpOptions> = {}, registration: RegisterOptions = {}): Promise<Node> {
  // The clients open connections ahead of need, for which the close of a server would wait.
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { heartbeatInterval: 0, ...registration })
  const tools = new Tools()
  const endpoint = mcp(app, { connect: transport => tools.server().connect(transport), retry: 10, ...options })
  return { app, endpoint, tools, port: await listen(t, app) }
}

const versioned = { 'mcp-protocol-version': '2025-11-25' }

interface Raw { status: number, type: string | null, body: string }

/** Sends a request as it is, and reads the whole response. */
async function raw (port: number, method: string, headers: Record<string, string>, body?: string): Promise<Raw> {
  const response = await fetch(`http://127.0.0.1:${port}/mcp`, { method, headers, ...(body === undefined ? {} : { body }) })
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
}

/** Resolves when an event was published after a step. */
async function published (app: FastifyInstance, step: () => void): Promise<void> {
  const before = app.sse.stats().published
  step()
  await until('the event', () => app.sse.stats().published > before)
}

t.test('a client of the SDK initializes, lists and calls tools, and gets errors', async t => {
  const { port, endpoint, tools } = await start(t)
  const { client, transport, errors } = await connectClient(t, port)
  t.equal(transport.sessionId, [...endpoint.sessions.keys()][0])
  t.strictSame((await client.listTools()).tools.map(({ name }) => name), ['echo', 'steps', 'poll', 'ask', 'whoami', 'broken', 'endless'])
  const { content } = await client.callTool({ name: 'echo', arguments: { text: 'a\nb "ü" ' } })
  t.strictSame(content, [{ type: 'text', text: 'a\nb "ü" ' }])
  const broken = await client.callTool({ name: 'broken' })
  t.strictSame(broken, { content: [{ type: 'text', text: 'The tool is broken' }], isError: true })
  await t.rejects(client.request({ method: 'tools/unknown' }, {} as never), { code: -32601, message: /Method not found/ })
  await t.rejects(client.callTool({ name: 'endless' }), { code: -32603, message: /cannot be serialized/ })
  t.equal(tools.calls.get('echo'), 1)
  t.strictSame(errors, [])
})

t.test('R2: a client that is cut after the first event resumes from it', async t => {
  const { app, port, tools } = await start(t)
  const relay = await Relay.start(t, () => [port])
  const { client } = await connectClient(t, relay.port)
  const held = relay.holdAfter('data: \n\n')
  const call = client.callTool({ name: 'steps', arguments: { steps: 0 } })
  await held
  await until('the call', () => tools.waiting === 1)
  await published(app, () => tools.step())
  relay.cut()
  t.strictSame((await within('the result', call)).content, [{ type: 'text', text: '0 steps' }])
  t.equal(tools.calls.get('steps'), 1)
})

t.test('progress arrives in order, before the result', async t => {
  const { port, tools } = await start(t)
  const { client } = await connectClient(t, port)
  const progress: number[] = []
  const call = client.callTool({ name: 'steps', arguments: { steps: 3 } }, undefined, {
    onprogress: ({ progress: now }) => {
      progress.push(now)
      setImmediate(() => tools.step())
    }
  })
  await until('the call', () => tools.waiting === 1)
  tools.step()
  t.strictSame((await within('the result', call)).content, [{ type: 'text', text: '3 steps' }])
  t.strictSame(progress, [1, 2, 3])
})

t.test('R2: a call that is cut in the middle resumes, and gets its result once', async t => {
  const { app, port, tools } = await start(t)
  const relay = await Relay.start(t, () => [port])
  const { client } = await connectClient(t, relay.port)
  const progress: number[] = []
  const call = client.callTool({ name: 'steps', arguments: { steps: 4 } }, undefined, {
    onprogress: ({ progress: now }) => progress.push(now)
  })
  for (let step = 1; step <= 4; step++) {
    await until('the call', () => tools.waiting === 1)
    if (step % 2 === 0) relay.cut()
    tools.step()
    await until('the progress', () => progress.length === step)
  }
  await until('the call', () => tools.waiting === 1)
  relay.lose()
  await published(app, () => tools.step())
  relay.cut()
  t.strictSame((await within('the result', call)).content, [{ type: 'text', text: '4 steps' }])
  t.strictSame(progress, [1, 2, 3, 4])
  t.equal(tools.calls.get('steps'), 1)
})

t.test('server messages arrive on the GET stream, from the first one, and once after a cut', async t => {
  const { app, port, endpoint, tools } = await start(t)
  const relay = await Relay.start(t, () => [port])
  const { client, logs } = await connectClient(t, relay.port)
  const [session] = endpoint.sessions.values()
  const say = (data: string): Promise<void> =>
    session!.send({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data } })
  await say('early')
  await until('the first message', () => logs.length === 1)
  relay.lose()
  await published(app, () => { void say('lost') })
  relay.cut()
  await until('the second message', () => logs.length === 2)
  relay.cut()
  await say('late')
  await until('the third message', () => logs.length === 3)
  t.strictSame(logs.map(params => (params as { data: string }).data), ['early', 'lost', 'late'])
  t.strictSame((await client.callTool({ name: 'echo', arguments: { text: 'on' } })).content, [{ type: 'text', text: 'on' }])
  t.equal(tools.calls.get('echo'), 1)
})

t.test('a tool that closes its connection lets the client poll', async t => {
  const { port, tools } = await start(t, { retry: 30 })
  const { client, errors } = await connectClient(t, port)
  const ids: string[] = []
  const call = client.callTool({ name: 'poll' }, undefined, { onresumptiontoken: id => ids.push(id) })
  await until('the call', () => tools.waiting === 1 && ids.length === 1)
  await new Promise(resolve => setTimeout(resolve, 50))
  tools.step()
  t.strictSame((await within('the result', call)).content, [{ type: 'text', text: 'polled' }])
  t.equal(tools.calls.get('poll'), 1)
  t.strictSame(errors, [])
})

t.test('a server asks its client within a call', async t => {
  const { port } = await start(t)
  const { client } = await connectClient(t, port)
  client.setRequestHandler(ElicitRequestSchema, async ({ params }) => ({ action: 'accept', content: { answer: `${params.message}!` } }))
  const { content } = await client.callTool({ name: 'ask', arguments: { question: 'Really' } })
  t.strictSame(content, [{ type: 'text', text: 'Really!' }])
})

t.test('a client that cancels a call gets no response, and the stream of the call ends', async t => {
  const { app, port, tools } = await start(t)
  const { client } = await connectClient(t, port)
  const controller = new AbortController()
  const call = client.callTool({ name: 'steps', arguments: { steps: 1 } }, undefined, { signal: controller.signal })
  await until('the call', () => tools.waiting === 1)
  await until('the streams', () => app.sse.streams().length === 2)
  controller.abort(new Error('No longer needed'))
  await t.rejects(call, { message: /No longer needed/ })
  await until('the end of the stream', () => app.sse.streams().length === 1)
  t.equal(tools.aborted.length, 1)
})

t.test('a client that deletes its session ends its calls, its streams and its id', async t => {
  const { app, port, endpoint, tools } = await start(t)
  const { client, transport, errors } = await connectClient(t, port)
  const call = client.callTool({ name: 'steps', arguments: { steps: 1 } })
  const failed = t.rejects(within('the failure', call), { code: -32000, message: /The session was closed/ })
  await until('the call', () => tools.waiting === 1)
  await until('the streams', () => app.sse.streams().length === 2)
  const id = transport.sessionId!
  t.match(await raw(port, 'DELETE', { ...versioned, 'mcp-session-id': id }), { status: 200, body: '' })
  await failed
  await until('the end of the streams', () => app.sse.streams().length === 0)
  t.equal(tools.aborted.length, 1)
  t.equal(endpoint.sessions.size, 0)
  t.match(await raw(port, 'DELETE', { ...versioned, 'mcp-session-id': id }), { status: 404 })
  await t.rejects(client.callTool({ name: 'echo', arguments: { text: '' } }), { code: 404, message: /Session not found/ })
  await until('the client to notice', () => errors.some(({ message }) => /404|Not Found/.test(message)))
})

t.test('R6: two sessions do not see each other, and a foreign id reveals nothing', async t => {
  const { port, tools } = await start(t)
  const { client: alice, transport: alices } = await connectClient(t, port)
  const { client: bob, transport: bobs } = await connectClient(t, port)
  const ids: string[] = []
  const call = alice.callTool({ name: 'steps', arguments: { steps: 0 } }, undefined, { onresumptiontoken: id => ids.push(id) })
  await until('the first event', () => ids.length === 1 && tools.waiting === 1)
  const { content } = await bob.callTool({ name: 'echo', arguments: { text: 'mine' } })
  t.strictSame(content, [{ type: 'text', text: 'mine' }])
  const ask = (session: string | undefined, id: string): Promise<Raw> =>
    raw(port, 'GET', { ...versioned, accept: 'text/event-stream', 'mcp-session-id': session!, 'last-event-id': id })
  const unknown = await ask(bobs.sessionId, 'unknown-1')
  t.equal(unknown.status, 400)
  for (const id of [ids[0]!, `${ids[0]}.unknown-1`, 'x', `${ids[0]!.split('-')[0]}-99`]) {
    t.strictSame(await ask(bobs.sessionId, id), unknown)
  }
  t.match(await ask(`${alices.sessionId}x`, ids[0]!), { status: 404 })
  t.match(await ask(alices.sessionId!.slice(0, -1), ids[0]!), { status: 404 })
  tools.step()
  t.strictSame((await call).content, [{ type: 'text', text: '0 steps' }])
  t.match(await ask(alices.sessionId, ids[0]!), { status: 200, body: /0 steps/ })
})

const json = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
const initialize = (protocolVersion = '2025-11-25'): string =>
  JSON.stringify({
    jsonrpc: '2.0',
    id: 0,
    method: 'initialize',
    params: { protocolVersion, capabilities: {}, clientInfo: { name: 'raw', version: '1' } }
  })

/** Starts a session without the SDK. Returns its id, and the body of the response. */
async function begin (port: number, version?: string): Promise<{ id: string, body: string }> {
  const response = await fetch(`http://127.0.0.1:${port}/mcp`, { method: 'POST', headers: json, body: initialize(version) })
  return { id: response.headers.get('mcp-session-id')!, body: await response.text() }
}

const rejected = (status: number, code: number, message: string): object =>
  ({ status, type: 'application/json; charset=utf-8', body: JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id: null }) })

t.test('a request that breaks the rules of the transport gets the status of the protocol', async t => {
  const { port, tools } = await start(t, { allowedHosts: ['127.0.0.1', 'other.example'].flatMap(host => [host, `${host}:0`]) })
  t.match(await raw(port, 'POST', json, initialize()), rejected(403, -32000, `Invalid Host header: 127.0.0.1:${port}`))
  t.equal(tools.calls.size, 0)
})

t.test('a request that breaks the rules of the protocol gets its status', async t => {
  const { port, endpoint } = await start(t, { allowedOrigins: ['https://app.example'] })
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
  const { port } = await start(t, { retry: 1234 })
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
  const { app, port } = await start(t)
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
  const { port } = await start(t, {
    sessionId: request => `${String(request.headers['x-user'])}.${randomUUID()}`,
    authorize: async (request, id) => id.startsWith(`${String(request.headers['x-user'])}.`),
    authInfo: request => ({ token: 'secret', clientId: String(request.headers['x-user']), scopes: ['all'] })
  })
  const { client: alice, transport } = await connectClient(t, port, { headers: { 'x-user': 'alice' } })
  const { content } = await alice.callTool({ name: 'whoami' })
  t.strictSame(content, [{ type: 'text', text: `alice /mcp ${transport.sessionId}` }])
  for (const method of ['GET', 'POST', 'DELETE']) {
    const headers = { ...method === 'POST' ? json : { accept: 'text/event-stream' }, 'x-user': 'bob' }
    t.match(await raw(port, method, { ...headers, 'mcp-session-id': transport.sessionId! },
      method === 'POST' ? '{"jsonrpc":"2.0","id":1,"method":"ping"}' : undefined),
      rejected(404, -32001, 'Session not found'))
  }
})

t.test('L12: a session without requests and streams ends after its time', async t => {
  const { port, endpoint } = await start(t, { sessionTimeout: 300 })
  const { id } = await begin(port)
  const { client, transport } = await connectClient(t, port)
  await until('the end of the session', () => !endpoint.sessions.has(id))
  t.strictSame([...endpoint.sessions.keys()], [transport.sessionId], 'an open stream keeps its session')
  await client.close()
  await until('the end of the other session', () => endpoint.sessions.size === 0)
})

t.test('the number of sessions is limited', async t => {
  const { port, endpoint } = await start(t, { maxSessions: 2 })
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
  const { port, endpoint } = await start(t, {
    connect: async () => { throw failure },
    sessionId: () => 'the-only-one'
  })
  t.match(await raw(port, 'POST', json, initialize()), rejected(500, -32603, 'Internal Server Error'))
  t.equal(endpoint.sessions.size, 0)
  failure = new Error('never called')
  t.match(await raw(port, 'POST', json, initialize()), { status: 500 }, 'an id is used once')
  const { port: other } = await start(t, { sessionId: () => 'with space' })
  t.match(await raw(other, 'POST', json, initialize()), { status: 500 })
})

t.test('L7: a server that closes fails its calls, and ends its sessions', async t => {
  const { app, port, endpoint, tools } = await start(t)
  const { client, transport } = await connectClient(t, port)
  const call = client.callTool({ name: 'steps', arguments: { steps: 1 } })
  const failed = t.rejects(within('the failure', call), { code: -32000, message: /The session was closed/ })
  await until('the call', () => tools.waiting === 1)
  await until('the streams', () => app.sse.streams().length === 2)
  const closed = app.close()
  await failed
  await transport.close()
  await within('the close', closed)
  t.equal(tools.aborted.length, 1)
  t.equal(endpoint.sessions.size, 0)
})

t.test('a server sends no second response, and none without a request', async t => {
  const { port, endpoint } = await start(t)
  const { id } = await begin(port)
  const session = endpoint.sessions.get(id)!
  await t.rejects(session.send({ jsonrpc: '2.0', id: 0, result: {} }), { code: 'FST_SSE_NOT_FOUND', message: /request with the id 0/ })
  await t.rejects(session.send({ jsonrpc: '2.0', error: {} }), { code: 'FST_SSE_NOT_FOUND' })
  await t.rejects(session.send({ jsonrpc: '2.0', method: 'a' }, { relatedRequestId: 'b' }), { code: 'FST_SSE_NOT_FOUND', message: /"b"/ })
  await session.close()
  await session.close()
  await t.rejects(session.send({ jsonrpc: '2.0', method: 'a' }), { code: 'FST_SSE_CHANNEL_ENDED' })
})

t.test('options are checked', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  t.throws(() => mcp(app, {} as never), { code: 'FST_SSE_OPTION', message: /'connect'/ })
  t.throws(() => mcp(app, { connect: () => {}, maxSessions: 0 }), { code: 'FST_SSE_OPTION', message: /'maxSessions'/ })
})

t.test('over Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const node = (t: Test, options: Partial<McpOptions> = {}, redis = server.client(t)): Promise<Node> =>
    start(t, options, { eventLog: redisLog(redis) })
  const calling = async (t: Test, here: Node, there: Node): Promise<{
    call: Promise<unknown>, relay: Relay, to: (node: Node) => void, transport: StreamableHTTPClientTransport
  }> => {
    let { port } = here
    const relay = await Relay.start(t, () => [port])
    const { client, transport } = await connectClient(t, relay.port)
    const ids: string[] = []
    const call = client.callTool({ name: 'steps', arguments: { steps: 0 } }, undefined, { onresumptiontoken: id => ids.push(id) })
    // The test may look at it later.
    call.catch(() => {})
    await until('the first event', () => ids.length === 1 && here.tools.waiting === 1)
    const to = (node: Node): void => {
      port = node.port
      relay.cut()
    }
    to(there)
    await until('the other node', () => there.app.sse.streams().length > 0)
    return { call, relay, to, transport }
  }

  t.test('R8: a call resumes on another node, and gets its result once', async t => {
    const [here, there] = [await node(t), await node(t)]
    const { call, to } = await calling(t, here, there)
    here.tools.step()
    t.match(await within('the result', call), { content: [{ type: 'text', text: '0 steps' }] })
    t.equal(there.tools.calls.size, 0)
    t.equal(there.endpoint.sessions.size, 0)
    to(here)
  })

  t.test('R6: a node reveals nothing of a session of another node', async t => {
    const [here, there] = [await node(t), await node(t)]
    const { id, body } = await begin(here.port)
    const { id: own } = await begin(there.port)
    const [, event] = /^id: (\S+)$/m.exec(body)!
    const get = (session: string): Promise<Raw> =>
      raw(there.port, 'GET', { accept: 'text/event-stream', 'mcp-session-id': session, 'last-event-id': event! })
    t.match(await get(own), { status: 400 })
    t.match(await get('unknown'), { status: 404 })
    t.match(await get(id), { status: 200, body: /serverInfo/ })
    t.match(await raw(there.port, 'GET', { accept: 'text/event-stream', 'mcp-session-id': id }), { status: 404 })
  })

  t.test('R8: a client deletes its session on any node', async t => {
    const [here, there] = [await node(t), await node(t)]
    const { call, transport } = await calling(t, here, there)
    const failed = t.rejects(within('the failure', call), { code: -32000, message: /The session was closed/ })
    const session = { 'mcp-session-id': transport.sessionId! }
    t.match(await raw(there.port, 'DELETE', session), { status: 200 })
    await failed
    await until('the end of the session', () => here.endpoint.sessions.size === 0)
    t.equal(here.tools.aborted.length, 1)
    t.match(await raw(there.port, 'DELETE', session), { status: 404 })
    t.match(await raw(there.port, 'GET', { ...session, accept: 'text/event-stream', 'last-event-id': 'a-1' }), { status: 404 })
  })

  t.test('L12: a call fails when its node is lost, on every node', async t => {
    const redis = server.client(t)
    const options = { leaseDuration: 600 }
    const [here, there] = [await node(t, options, redis), await node(t, options)]
    const { call } = await calling(t, here, there)
    const failed = t.rejects(within('the failure', call), { code: -32000, message: /The node of the session has stopped/ })
    redis.disconnect()
    await failed
    await until('the end of the session', () => here.endpoint.sessions.size === 0)
  })

  t.test('L7: a call of a node that closes fails on another node', async t => {
    const [here, there] = [await node(t), await node(t)]
    const { call, relay, to } = await calling(t, here, there)
    const failed = t.rejects(within('the failure', call), { code: -32000 })
    relay.lose()
    await here.app.close()
    to(there)
    await failed
  })
})
