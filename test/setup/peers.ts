import { createRequire } from 'node:module'
import Fastify, { type FastifyInstance, type FastifyPluginAsync, type FastifyReply, type FastifyRequest } from 'fastify'
import sse, { type RegisterOptions } from '../../lib/index.ts'

// Apps with the other plugins for Server-Sent Events, and with this package.
const require = createRequire(import.meta.url)
const { FastifySSEPlugin } = require('fastify-sse-v2') as {
  FastifySSEPlugin: FastifyPluginAsync<{ retryDelay?: number | false, highWaterMark?: number }>
}
const fastifySSE = require('@fastify/sse') as FastifyPluginAsync<
  { heartbeatInterval?: number, serializer?: (data: unknown) => string }
>

/**
 * The reply of fastify-sse-v2. Its types and the types of this package declare the same name, so a program has one of
 * them.
 */
interface ReplyOfV2 { sse: (source: object) => void, sseContext: { source: { end: () => void } } }

/** The context that @fastify/sse sets on a reply. */
interface ContextOfSse {
  lastEventId: string | null
  isConnected: boolean
  send: (source: unknown) => Promise<void>
  stream: () => NodeJS.ReadWriteStream
  keepAlive: () => void
  close: () => void
  replay: (callback: (lastEventId: string) => Promise<void>) => Promise<void>
  onClose: (callback: () => void) => void
  sendHeaders: (statusCode: number) => void
}

type V2Handler = (request: FastifyRequest, reply: ReplyOfV2) => unknown
type SseHandler = (
  request: FastifyRequest,
  reply: { sse: ContextOfSse, code: (status: number) => unknown, raw: NodeJS.WritableStream }
) => unknown
type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

/** Returns an app with `GET /` of fastify-sse-v2. */
export async function v2 (handler: V2Handler, options = {}): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(FastifySSEPlugin, options)
  return app.get('/', (request, reply) => { handler(request, reply as unknown as ReplyOfV2) })
}

/** Returns an app with `GET /` of @fastify/sse. `route` is its route option. */
export async function theirs (route: unknown, handler: SseHandler, options = {}): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(fastifySSE, options)
  return app.get('/', { sse: route } as object, handler as unknown as Handler)
}

/** Returns an app with `GET /` of this package. */
export async function ours (handler: Handler, options: RegisterOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(sse, options)
  return app.get('/', handler)
}
