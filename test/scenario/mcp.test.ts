import type { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import t, { type Test } from 'tap'
import type { CloseReport } from '../../lib/index.ts'
import type { McpOptions } from '../../lib/protocols/mcp.ts'
import { redisLog } from '../../lib/redis.ts'
import { begin, connectClient, published, raw, startMcp, versioned, type McpNode, type Raw } from '../setup/mcp.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'
import { Relay } from '../setup/relay.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

// MCP with the client of the official SDK, over real sockets.

t.setTimeout(300_000)

t.test('a client of the SDK initializes, lists and calls tools, and gets errors', async t => {
  const { port, endpoint, tools } = await startMcp(t)
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
  const { app, port, tools } = await startMcp(t)
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

t.test('R2: a client that is cut again before an event resumes too', async t => {
  const { port, tools } = await startMcp(t)
  const relay = await Relay.start(t, () => [port])
  const { client } = await connectClient(t, relay.port)
  const ids: string[] = []
  const call = client.callTool({ name: 'steps', arguments: { steps: 0 } }, undefined, {
    onresumptiontoken: id => ids.push(id)
  })
  for (let connection = 1; connection <= 3; connection++) {
    await until('the first event', () => ids.length === connection && tools.waiting === 1)
    relay.cut()
  }
  tools.step()
  t.match(await within('the result', call), { content: [{ type: 'text', text: '0 steps' }] })
  t.equal(tools.calls.get('steps'), 1)
})

t.test('progress arrives in order, before the result', async t => {
  const { port, tools } = await startMcp(t)
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
  const { app, port, tools } = await startMcp(t)
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

t.test('R3: a client that comes back too late for its progress gets the result, and the reset is counted', async t => {
  const closed: CloseReport[] = []
  const onClose = (report: CloseReport): number => closed.push(report)
  const { app, port, tools } = await startMcp(t, { history: { maxEvents: 1 } }, { onClose })
  const relay = await Relay.start(t, () => [port])
  const { client, errors } = await connectClient(t, relay.port)
  const progress: number[] = []
  const ids: string[] = []
  const call = client.callTool({ name: 'steps', arguments: { steps: 2 } }, undefined, {
    onprogress: ({ progress: now }) => progress.push(now),
    onresumptiontoken: id => ids.push(id)
  })
  await until('the first event', () => ids.length === 1 && tools.waiting === 1)
  relay.lose()
  for (let step = 1; step <= 3; step++) {
    await until('the call', () => tools.waiting === 1)
    await published(app, () => tools.step())
  }
  relay.cut()
  t.match(await within('the result', call), { content: [{ type: 'text', text: '2 steps' }] })
  t.strictSame(progress, [])
  await until('the end of the stream', () => closed.some(({ omittedSystemEvents }) => omittedSystemEvents === 1))
  t.equal(app.sse.stats().resets, 1)
  t.notMatch(errors.map(String).join(), /JSON|parse/i)
})

t.test('server messages arrive on the GET stream, from the first one, and once after a cut', async t => {
  const { app, port, endpoint, tools } = await startMcp(t)
  const relay = await Relay.start(t, () => [port])
  const { client, logs } = await connectClient(t, relay.port)
  const [session] = endpoint.sessions.values()
  const say = (data: string): Promise<void> =>
    session!.send({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data } })
  await say('early')
  await until('the first message', () => logs.length === 1)
  relay.lose()
  await published(app, () => { say('lost').catch(error => t.error(error)) })
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
  const { port, tools } = await startMcp(t, { retry: 30 })
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
  const { port } = await startMcp(t)
  const { client } = await connectClient(t, port)
  client.setRequestHandler(ElicitRequestSchema, async ({ params }) => ({ action: 'accept', content: { answer: `${params.message}!` } }))
  const { content } = await client.callTool({ name: 'ask', arguments: { question: 'Really' } })
  t.strictSame(content, [{ type: 'text', text: 'Really!' }])
})

t.test('a client that cancels a call gets no response, and the stream of the call ends', async t => {
  const { app, port, tools } = await startMcp(t)
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
  const { app, port, endpoint, tools } = await startMcp(t)
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
  const { port, tools } = await startMcp(t)
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

t.test('L7: a server that closes fails its calls, and ends its sessions', async t => {
  const { app, port, endpoint, tools } = await startMcp(t)
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

t.test('over Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const node = (t: Test, options: Partial<McpOptions> = {}, redis = server.client(t)): Promise<McpNode> =>
    startMcp(t, options, { eventLog: redisLog(redis) })
  const calling = async (t: Test, here: McpNode, there: McpNode): Promise<{
    call: Promise<unknown>
    relay: Relay
    to: (node: McpNode) => void
    transport: StreamableHTTPClientTransport
  }> => {
    let { port } = here
    const relay = await Relay.start(t, () => [port])
    const { client, transport } = await connectClient(t, relay.port)
    const ids: string[] = []
    const call = client.callTool({ name: 'steps', arguments: { steps: 0 } }, undefined, { onresumptiontoken: id => ids.push(id) })
    // The test may look at it later.
    call.catch(() => {})
    await until('the first event', () => ids.length === 1 && here.tools.waiting === 1)
    const to = (node: McpNode): void => {
      port = node.port
      relay.cut()
    }
    to(there)
    await until('the other node', () => ids.length === 2)
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
