import { once, EventEmitter } from 'node:events'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { ElicitResultSchema } from '@modelcontextprotocol/sdk/types.js'
import { z } from 'zod'

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
