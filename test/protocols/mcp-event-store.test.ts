import { randomUUID } from 'node:crypto'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type RegisterOptions } from '../../lib/index.ts'
import { mcpEventStores, type McpEventStores } from '../../lib/protocols/mcp.ts'
import { redisLog } from '../../lib/redis.ts'
import { listen } from '../setup/listen.ts'
import { connectClient, published, Tools } from '../setup/mcp.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'
import { Relay } from '../setup/relay.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

interface Node { app: FastifyInstance, stores: McpEventStores, port: number, tools: Tools }

/** A node that serves the SDK's own transport. It knows the sessions of other nodes by their ids. */
async function start (t: Test, registration: RegisterOptions = {}): Promise<Node> {
  // The clients open connections ahead of need, for which the close of a server would wait.
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { heartbeatInterval: 0, ...registration })
  const stores = mcpEventStores(app)
  const tools = new Tools()
  const transports = new Map<string, StreamableHTTPServerTransport>()
  app.all('/mcp', async (request, reply) => {
    const known = request.headers['mcp-session-id'] as string | undefined
    let transport = transports.get(known ?? '')
    if (transport === undefined) {
      const id = known ?? randomUUID()
      transport = new StreamableHTTPServerTransport({
        eventStore: stores.of(id),
        retryInterval: 10,
        // A transport without a generator serves the stored events of any session.
        ...(known === undefined ? { sessionIdGenerator: () => id } : {})
      })
      if (known === undefined) transports.set(id, transport)
      await tools.server().connect(transport as never)
    }
    reply.hijack()
    await transport.handleRequest(request.raw, reply.raw, request.body)
  })
  app.addHook('onClose', async () => { for (const transport of transports.values()) await transport.close() })
  return { app, stores, tools, port: await listen(t, app) }
}

t.test("R2: the SDK's transport resumes a call from the channel, and gets its result once", async t => {
  const { app, port, tools } = await start(t)
  const relay = await Relay.start(t, () => [port])
  const { client, errors } = await connectClient(t, relay.port)
  const progress: number[] = []
  const call = client.callTool({ name: 'steps', arguments: { steps: 2 } }, undefined, {
    onprogress: ({ progress: now }) => progress.push(now)
  })
  await until('the call', () => tools.waiting === 1)
  tools.step()
  await until('the progress', () => progress.length === 1)
  relay.lose()
  await until('the call', () => tools.waiting === 1)
  tools.step()
  await until('the call', () => tools.waiting === 1)
  await published(app, () => tools.step())
  relay.cut()
  t.strictSame((await within('the result', call)).content, [{ type: 'text', text: '2 steps' }])
  t.strictSame(progress, [1, 2])
  t.equal(tools.calls.get('steps'), 1)
  t.match(errors[0]?.message, /disconnected/)
})

t.test('R6: the id of an event reveals nothing to another session', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  const stores = mcpEventStores(app)
  const own = stores.of('own')
  const first = await own.storeEvent('call', {} as never)
  const second = await own.storeEvent('call', { jsonrpc: '2.0', method: 'secret' })
  t.equal(await own.getStreamIdForEventId(first), 'call')
  const foreign = stores.of('ow')
  t.equal(await foreign.getStreamIdForEventId(first), undefined)
  const sent: unknown[] = []
  const target = { send: async (id: string, message: unknown) => { sent.push([id, message]) } }
  for (const id of [first, 'unknown-1', 'malformed', '']) {
    await t.rejects(foreign.replayEventsAfter(id, target), { code: 'FST_SSE_NOT_FOUND' })
  }
  t.strictSame(sent, [])
  t.equal(await own.replayEventsAfter(first, target), 'call')
  t.equal(await own.replayEventsAfter(second, target), 'call')
  t.strictSame(sent, [[second, { jsonrpc: '2.0', method: 'secret' }]])
})

t.test('R6: a session whose id begins another one with a slash does not have its streams', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  const stores = mcpEventStores(app)
  const message = { jsonrpc: '2.0', method: 'secret' } as const
  for (const [outer, inner] of [['a', 'a/b'], ['a', 'a/'], ['a%2Fb', 'a/b']] as const) {
    const id = await stores.of(inner).storeEvent('call', message)
    t.equal(await stores.of(inner).getStreamIdForEventId(id), 'call')
    t.equal(await stores.of(outer).getStreamIdForEventId(id), undefined)
  }
})

t.test('a replay leaves out the first event and evicted ones', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  const store = mcpEventStores(app, { name: 'short', history: { maxEvents: 2 } }).of('session')
  const first = await store.storeEvent('call', {} as never)
  const sent: unknown[] = []
  const target = { send: async (_id: string, message: unknown) => { sent.push(message) } }
  await store.replayEventsAfter(first.replace(/1$/, '0'), target)
  t.strictSame(sent, [])
  for (const method of ['one', 'two', 'three']) await store.storeEvent('call', { jsonrpc: '2.0', method })
  await store.replayEventsAfter(first, target)
  t.strictSame(sent, [{ jsonrpc: '2.0', method: 'two' }, { jsonrpc: '2.0', method: 'three' }])
})

t.test('R8: another node replays the events behind Redis', { skip: absent(REDIS) }, async t => {
  const redis = await RedisServer.start(t)
  const [here, there] = await Promise.all([0, 1].map(() => start(t, { eventLog: redisLog(redis.client(t)) })))
  let port = here!.port
  const relay = await Relay.start(t, () => [port])
  const { client } = await connectClient(t, relay.port)
  const ids: string[] = []
  const call = client.callTool({ name: 'steps', arguments: { steps: 0 } }, undefined, {
    onresumptiontoken: id => ids.push(id)
  })
  await until('the first event', () => ids.length === 1 && here!.tools.waiting === 1)
  relay.lose()
  await published(here!.app, () => here!.tools.step())
  port = there!.port
  relay.cut()
  t.strictSame((await within('the result', call)).content, [{ type: 'text', text: '0 steps' }])
  t.equal(there!.tools.calls.get('steps'), undefined)
})
