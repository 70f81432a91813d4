import { realpathSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import sse, { type ChannelOptions } from 'fastify-typed-sse'
import { redisLog } from 'fastify-typed-sse/redis'
import { Redis } from 'ioredis'

const channelEvents = {
  tick: Type.Object({ from: Type.String(), number: Type.Integer() })
}

/** The events for clients: with the node that serves the client. */
export const events = {
  tick: Type.Object({ ...channelEvents.tick.properties, via: Type.String() })
}

const options = { events: channelEvents } satisfies ChannelOptions<typeof channelEvents>

export interface NodeOptions extends FastifyServerOptions {
  name: string
  redis: Redis
}

/** One of many equal nodes. It publishes ticks to a shared channel, and `GET /ticks/events` subscribes to it. */
export async function build ({ name, redis, ...fastify }: NodeOptions): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true, ...fastify })
  // A short retry: a client that loses its node is soon connected to the next one.
  await app.register(sse, { eventLog: redisLog(redis, { prefix: 'nodes:' }), retry: 500 })
  const channel = app.sse.channel('ticks', options)

  app.get('/ticks/events', { schema: { sse: events } }, (_request, reply) => reply.sse(channel.subscribe({
    map: ({ event, data }) => ({ event, data: { ...data, via: name } })
  })))

  const stopping = new AbortController()
  app.addHook('onListen', () => { tick(stopping.signal).catch(() => {}) })
  app.addHook('preClose', async () => stopping.abort())

  async function tick (signal: AbortSignal): Promise<void> {
    for (let number = 1; ; number++) {
      // publish waits for Redis. If Redis is unreachable for too long, it rejects; the tick may still be stored later.
      await channel.publish({ event: 'tick', data: { from: name, number } }).catch(() => {})
      await sleep(500 + Math.random() * 1_000, undefined, { signal })
    }
  }
  return app
}

// True if this file is the program, and not imported by a test.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { NAME = 'A', PORT = '0', REDIS_URL = 'redis://127.0.0.1:6379' } = process.env
  const redis = new Redis(REDIS_URL)
  // ioredis reconnects by itself, and a publish that waits too long rejects.
  redis.on('error', () => {})
  const app = await build({ name: NAME, redis, logger: { level: 'warn' } })
  const close = async (): Promise<void> => {
    await app.close()
    redis.disconnect()
    if (process.connected) process.disconnect()
  }
  // 'disconnect': the parent process exited.
  for (const event of ['SIGINT', 'SIGTERM', 'disconnect']) process.once(event, close)
  await app.listen({ host: '127.0.0.1', port: Number(PORT) })
  process.send?.({ port: (app.server.address() as AddressInfo).port })
}
