import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type RegisterOptions } from '../../lib/index.ts'
import { mcp, type McpEndpoint, type McpOptions } from '../../lib/protocols/mcp.ts'
import { listen } from '../setup/listen.ts'
import { connectClient, Tools } from '../setup/mcp.ts'
import { Relay } from '../setup/relay.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

interface Node { app: FastifyInstance, endpoint: McpEndpoint, port: number, tools: Tools }

async function start (t: Test, options: Partial<McpOptions> = {}, registration: RegisterOptions = {}): Promise<Node> {
  const app = Fastify()
  await app.register(sse, { heartbeatInterval: 0, ...registration })
  const tools = new Tools()
  const endpoint = mcp(app, { connect: transport => tools.server().connect(transport), retry: 10, ...options })
  return { app, endpoint, tools, port: await listen(t, app) }
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
  t.strictSame((await client.listTools()).tools.map(({ name }) => name), ['echo', 'steps', 'poll', 'broken', 'endless'])
  const { content } = await client.callTool({ name: 'echo', arguments: { text: 'a\nb "ü" ' } })
  t.strictSame(content, [{ type: 'text', text: 'a\nb "ü" ' }])
  const broken = await client.callTool({ name: 'broken' })
  t.strictSame(broken, { content: [{ type: 'text', text: 'The tool is broken' }], isError: true })
  await t.rejects(client.request({ method: 'tools/unknown' }, {} as never), { code: -32601, message: /Method not found/ })
  await t.rejects(client.callTool({ name: 'endless' }), { code: -32603, message: /cannot be serialized/ })
  t.equal(tools.calls.get('echo'), 1)
  t.strictSame(errors, [])
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
