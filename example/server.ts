import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import sse from 'fastify-typed-sse'
import inspector from 'fastify-typed-sse/inspector'
import { sseTransform } from 'fastify-typed-sse/openapi'
import board from './board/server.ts'
import chat from './chat/server.ts'
import metrics from './metrics/server.ts'
import { modules } from './modules.ts'
import { page } from './page.ts'
import progress from './progress/server.ts'
import run from './run/server.ts'
import seed from './seed/server.ts'
import tokens from './tokens/server.ts'

const info = { title: 'fastify-typed-sse: examples', description: 'What the examples ask for, and what they send.', version: '1.0.0' }

// Who sits at this machine. Behind a proxy on it, that would be everybody.
const LOOPBACK = ['127.0.0.1', '::1', '::ffff:127.0.0.1']

/**
 * All the examples in one server, with a page at `/` that shows them, one at `/docs` that describes them, one at `/inspector` that looks into
 * them, and their figures at `/metrics`.
 */
export async function build (options: FastifyServerOptions = {}): Promise<FastifyInstance> {
  // Browsers open connections ahead and send nothing on them; close() would wait for those.
  const app = Fastify({ forceCloseConnections: true, ...options })
  await app.register(sse)
  await app.register(swagger, { openapi: { openapi: '3.2.0', info }, transform: sseTransform })
  await app.register(swaggerUi, { routePrefix: '/docs' })
  await app.register(seed)
  await app.register(tokens)
  await app.register(progress)
  await app.register(board)
  await app.register(chat)
  await app.register(run)
  await app.register(metrics)
  await app.register(inspector, { prefix: '/inspector', authorize: ({ ip }) => LOOPBACK.includes(ip) })
  page(app, '/', new URL('start.html', import.meta.url))
  page(app, '/page.css', new URL('page.css', import.meta.url))
  modules(app)
  return app
}

// Started, not imported by a test.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const app = await build()
  const address = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
  console.log(`Open ${address} in a browser, or read the stream: curl -N ${address}/sse`)
  // Streams get their end, then the process has nothing left to do.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => app.close())
}
