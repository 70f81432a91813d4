import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import sse from 'fastify-typed-sse'
import inspector from 'fastify-typed-sse/inspector'
import { sseTransform } from 'fastify-typed-sse/openapi'
import assistant from './assistant/server.ts'
import board from './board/server.ts'
import chat from './chat/server.ts'
import { openEventLog } from './event-log.ts'
import hypermedia from './hypermedia/server.ts'
import mcp from './mcp/server.ts'
import metrics from './metrics/server.ts'
import { modules } from './modules.ts'
import { page } from './page.ts'
import presence from './presence/server.ts'
import progress from './progress/server.ts'
import run from './run/server.ts'
import seed from './seed/server.ts'
import messages from './tokens/messages.ts'
import tokens from './tokens/server.ts'

const info = {
  title: 'fastify-typed-sse: examples',
  description: 'The requests and events of the examples.',
  version: '1.0.0'
}

// Only users of this machine. Behind a proxy on this machine, every request would come from it.
const LOOPBACK = ['127.0.0.1', '::1', '::ffff:127.0.0.1']

/**
 * All the examples in one server: a start page at `/`, their OpenAPI document at `/docs`, the inspector at
 * `/inspector`, and Prometheus metrics at `/metrics`.
 */
export async function build (options: FastifyServerOptions = {}): Promise<FastifyInstance> {
  // Browsers open spare connections and send nothing on them; close() would wait for them.
  const app = Fastify({ forceCloseConnections: true, ...options })
  const eventLog = await openEventLog(app)
  await app.register(sse, { eventLog })
  await app.register(swagger, { openapi: { openapi: '3.2.0', info }, transform: sseTransform })
  await app.register(swaggerUi, { routePrefix: '/docs' })
  await app.register(seed)
  await app.register(tokens)
  await app.register(messages)
  await app.register(progress)
  await app.register(board)
  await app.register(chat)
  await app.register(presence)
  await app.register(run)
  await app.register(hypermedia)
  await app.register(assistant)
  await app.register(mcp)
  await app.register(metrics)
  await app.register(inspector, { prefix: '/inspector', authorize: ({ ip }) => LOOPBACK.includes(ip) })
  page(app, '/', new URL('start.html', import.meta.url))
  page(app, '/page.css', new URL('page.css', import.meta.url))
  modules(app)
  return app
}

// True if this file is the program, and not imported by a test.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const app = await build()
  const address = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
  console.log(`Open ${address} in a browser, or read the stream: curl -N ${address}/sse`)
  // close() ends the streams, then nothing keeps the process alive.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => app.close())
}
