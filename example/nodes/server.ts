import { realpathSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import sse, { type ChannelOptions } from 'fastify-typed-sse'
import { redisLog } from 'fastify-typed-sse/redis'
import { Redis } from 'ioredis'

const published = {
  tick: Type.Object({ from: Type.String(), number: Type.Integer() })
}

/** What clients get: with the node that they got it from. */
export const events = {
  tick: Type.Object({ ...published.tick.properties, via: Type.String() })
}

const options = { events: published } satisfies ChannelOptions<typeof published>

export interface NodeOptions extends FastifyServerOptions {
  name: string
  redis: Redis
}

/** One of many nodes, all alike: it publishes ticks in a channel that they share, and `GET /ticks/events` follows that through this node. */
export async function build ({ name, redis, ...fastify }: NodeOptions): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true, ...fastify })
  // Whoever loses a node is soon at the next one.
  await app.register(sse, { eventLog: redisLog(redis, { prefix: 'nodes:' }), retry: 500 })
  const channel = app.sse.channel('ticks', options)

  app.get('/ticks/events', { schema: { sse: events } }, (_request, reply) => reply.sse(channel.subscribe({
    map: ({ event, data }) => ({ event, data: { ...data, via: name } })
  })))

  const closing = new AbortController()
  app.addHook('onListen', () => { tick(closing.signal).catch(() => {}) })
  app.addHook('preClose', async () => closing.abort())

  async function tick (signal: AbortSignal): Promise<void> {
    for (let number = 1; ; number++) {
      // Redis is waited for. One that is away for too long costs this tick, which is then in the log.
      await channel.publish({ event: 'tick', data: { from: name, number } }).catch(() => {})
      await pause(500 + Math.random() * 1_000, undefined, { signal })
    }
  }
  return app
}

// Started, not imported by a test.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { NAME = 'A', PORT = '0', REDIS_URL = 'redis://127.0.0.1:6379' } = process.env
  const redis = new Redis(REDIS_URL)
  // It connects again by itself, and whoever waits too long for it hears of that.
  redis.on('error', () => {})
  const app = await build({ name: NAME, redis, logger: { level: 'warn' } })
  const close = async (): Promise<void> => {
    await app.close()
    redis.disconnect()
    if (process.connected) process.disconnect()
  }
  // The last one: the process that started this one is gone.
  for (const event of ['SIGINT', 'SIGTERM', 'disconnect']) process.once(event, close)
  await app.listen({ host: '127.0.0.1', port: Number(PORT) })
  process.send?.({ port: (app.server.address() as AddressInfo).port })
}
