import { setTimeout as sleep } from 'node:timers/promises'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import type { FastifyInstance } from 'fastify'
import { mcp } from 'fastify-typed-sse/protocols/mcp'
import { z } from 'zod'

export interface McpExampleOptions {
  /** Milliseconds between two steps of the tool. */
  interval?: number
}

/** A server with one slow tool, which reports its progress. A client that loses its connection gets the rest. */
export function createServer ({ interval = 300 }: McpExampleOptions = {}): McpServer {
  const server = new McpServer({ name: 'fastify-typed-sse example', version: '1.0.0' })
  server.registerTool('brew', {
    description: 'Brews tea, slowly',
    inputSchema: { cups: z.number().int().min(1).max(20) }
  }, async ({ cups }, { _meta, sendNotification, signal }) => {
    const progressToken = _meta?.progressToken
    for (let progress = 1; progress <= cups; progress++) {
      await sleep(interval, undefined, { signal })
      if (progressToken === undefined) continue
      const message = `Cup ${progress} of ${cups}`
      await sendNotification({
        method: 'notifications/progress',
        params: { progressToken, progress, total: cups, message }
      })
    }
    return { content: [{ type: 'text', text: `${cups} cups of tea` }] }
  })
  return server
}

/** The endpoint `/mcp`. */
export default async function (app: FastifyInstance, options: McpExampleOptions): Promise<void> {
  mcp(app, { connect: transport => createServer(options).connect(transport) })
}
