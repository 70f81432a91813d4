import { once, EventEmitter } from 'node:events'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { ElicitResultSchema } from '@modelcontextprotocol/sdk/types.js'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { z } from 'zod'
import sse, { type RegisterOptions } from '../../lib/index.ts'
import { mcp, type McpEndpoint, type McpOptions } from '../../lib/protocols/mcp.ts'
import { listen } from './listen.ts'
import { until } from './until.ts'

/** The tools of a test's servers. */
export class Tools {
  /** The number of calls, by tool. */
  readonly calls = new Map<string, number>()
  /** The reasons for which calls were aborted. */
  readonly aborted: unknown[] = []
  readonly #steps = new EventEmitter()

  /** Lets the tool `steps` take its next step. */
  step (): void { this.#steps.emit('step') }
  /** The number of calls of `steps` that wait. */
  get waiting (): number { return this.#steps.listenerCount('step') }

  /** Returns a server of the official SDK. */
  server (): McpServer {
    const server = new McpServer({ name: 'tools', version: '1.0.0' }, { capabilities: { logging: {} } })
    const text = (text: string): { content: Array<{ type: 'text', text: string }> } => ({ content: [{ type: 'text', text }] })
    const count = (name: string): void => { this.calls.set(name, (this.calls.get(name) ?? 0) + 1) }

    server.registerTool('echo', { inputSchema: { text: z.string() } }, async args => {
      count('echo')
      return text(args.text)
    })

    // Reports its progress with each step of the test, then returns its number of steps.
    server.registerTool('steps', { inputSchema: { steps: z.number() } }, async ({ steps }, extra) => {
      count('steps')
      const { signal } = extra
      signal.addEventListener('abort', () => this.aborted.push(signal.reason))
      for (let progress = 1; progress <= steps; progress++) {
        await once(this.#steps, 'step', { signal })
        const { progressToken } = extra._meta ?? {}
        if (progressToken !== undefined) {
          await extra.sendNotification({ method: 'notifications/progress', params: { progressToken, progress, total: steps } })
        }
      }
      await once(this.#steps, 'step', { signal })
      return text(`${steps} steps`)
    })

    // Closes its own connection, as a server does that lets its clients poll.
    server.registerTool('poll', {}, async extra => {
      count('poll')
      extra.closeSSEStream?.()
      extra.closeStandaloneSSEStream?.()
      await once(this.#steps, 'step', { signal: extra.signal })
      return text('polled')
    })

    server.registerTool('ask', { inputSchema: { question: z.string() } }, async ({ question }, extra) => {
      const { content } = await extra.sendRequest({
        method: 'elicitation/create',
        params: {
          message: question,
          requestedSchema: { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'] }
        }
      }, ElicitResultSchema)
      return text(String(content?.answer))
    })

    server.registerTool('whoami', {}, async ({ authInfo, requestInfo, sessionId }) =>
      text(`${authInfo?.clientId} ${requestInfo?.url?.pathname} ${sessionId}`))

    server.registerTool('broken', {}, async () => { throw new Error('The tool is broken') })

    server.registerTool('endless', {}, async () => ({ content: [{ type: 'text', text: '' }], _meta: { count: 1n } }))
    return server
  }
}

/** Returns a connected client of the official SDK, and what it receives. */
export async function connectClient (
  t: { teardown: (fn: () => unknown) => unknown },
  port: number,
  requestInit: RequestInit = {}
): Promise<{ client: Client, transport: StreamableHTTPClientTransport, errors: Error[], logs: unknown[] }> {
  const transport = new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${port}/mcp`), {
    requestInit,
    reconnectionOptions: {
      initialReconnectionDelay: 10,
      maxReconnectionDelay: 100,
      reconnectionDelayGrowFactor: 1.5,
      maxRetries: 5
    }
  })
  const client = new Client({ name: 'test', version: '1.0.0' }, { capabilities: { elicitation: {} } })
  const errors: Error[] = []
  const logs: unknown[] = []
  client.onerror = error => { errors.push(error) }
  client.fallbackNotificationHandler = async ({ params }) => { logs.push(params) }
  t.teardown(() => client.close())
  await client.connect(transport)
  return { client, transport, errors, logs }
}

export interface McpNode { app: FastifyInstance, endpoint: McpEndpoint, port: number, tools: Tools }

/** A node with an endpoint at `/mcp`, whose servers have the tools of the test. */
export async function startMcp (
  t: Test,
  options: Partial<McpOptions> = {},
  registration: RegisterOptions = {}
): Promise<McpNode> {
  // The clients open connections ahead of need, for which the close of a server would wait.
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { heartbeatInterval: 0, ...registration })
  const tools = new Tools()
  const endpoint = mcp(app, { connect: transport => tools.server().connect(transport), retry: 10, ...options })
  return { app, endpoint, tools, port: await listen(t, app) }
}

/** The version of the protocol, as a header. */
export const versioned = { 'mcp-protocol-version': '2025-11-25' }

export interface Raw { status: number, type: string | null, body: string }

/** Sends a request as it is, and reads the whole response. */
export async function raw (port: number, method: string, headers: Record<string, string>, body?: string): Promise<Raw> {
  const response = await fetch(`http://127.0.0.1:${port}/mcp`, { method, headers, ...(body === undefined ? {} : { body }) })
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
}

/** Resolves when an event was published after a step. */
export async function published (app: FastifyInstance, step: () => void): Promise<void> {
  const before = app.sse.stats().published
  step()
  await until('the event', () => app.sse.stats().published > before)
}

/** The headers of a POST. */
export const json = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
export const initialize = (protocolVersion = '2025-11-25'): string =>
  JSON.stringify({
    jsonrpc: '2.0',
    id: 0,
    method: 'initialize',
    params: { protocolVersion, capabilities: {}, clientInfo: { name: 'raw', version: '1' } }
  })

/** Starts a session without the SDK. Returns its id, and the body of the response. */
export async function begin (port: number, version?: string): Promise<{ id: string, body: string }> {
  const response = await fetch(`http://127.0.0.1:${port}/mcp`, { method: 'POST', headers: json, body: initialize(version) })
  return { id: response.headers.get('mcp-session-id')!, body: await response.text() }
}

/** The response to a rejected request. */
export const rejected = (status: number, code: number, message: string): object =>
  ({ status, type: 'application/json; charset=utf-8', body: JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id: null }) })
