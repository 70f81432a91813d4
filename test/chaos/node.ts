import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { Pool } from 'pg'
import sse, { type EventLogFactory } from '../../lib/index.ts'
import { postgresLog } from '../../lib/postgres.ts'
import { redisLog } from '../../lib/redis.ts'
import { chances } from '../setup/chances.ts'
import { CHANNELS, EVENTS } from './channels.ts'
import type { News, Order } from './messages.ts'
import { Publisher } from './publisher.ts'
import type { StoreName } from './store.ts'

/*
 * One of many servers, alone in a process: `node.ts <log> <port of its server> <publisher> <seed>`.
 * It serves each channel at its number, publishes on command, and exits with its parent.
 */
const [port, publisher, seed] = process.argv.slice(3).map(Number)
// Shorter than the time for which the server is frozen: some events are rejected, and may be stored all the same.
const TIMEOUT = 2_000
// Milliseconds. A connection of Redis without answers is given up; with PostgreSQL, the log does it.
const SILENCE = 5_000

const report = (news: News): void => { process.send!(news) }
const app = Fastify({
  logger: {
    level: 'warn',
    base: null,
    // Thousands are rejected in a second, so each gets only one line.
    serializers: { err: ({ code, message }: Error & { code?: string }) => `${code ?? ''} ${message}` as never }
  }
})
const warn = (error: Error): void => app.log.warn(`store: ${error.message}`)
const LOGS: Record<StoreName, () => EventLogFactory> = {
  redis: () => redisLog(new Redis({ port: port!, host: '127.0.0.1', socketTimeout: SILENCE }).on('error', warn),
    { timeout: TIMEOUT }),
  postgres: () => postgresLog(new Pool({ port: port!, host: '127.0.0.1', user: 'postgres', database: 'postgres' })
    .on('error', warn), { timeout: TIMEOUT })
}
await app.register(sse, { eventLog: LOGS[process.argv[2] as StoreName]() })

const channels = CHANNELS.map(({ name, options }) => app.sse.channel(name, options))
app.get('/:channel', { schema: { sse: EVENTS } }, (request, reply) => {
  const { channel } = request.params as { channel: string }
  // For debugging: the node of a client.
  reply.header('x-publisher', publisher)
  return reply.sse(channels[Number(channel)]!)
})

const publishing = new Publisher(publisher!, channels, chances(seed!), report)
process.on('message', async (order: Order) => {
  switch (order.order) {
    case 'publish':
      publishing.begin(order.rate)
      break
    case 'burst':
      await publishing.burst(order.channel, order.events)
      report({ news: 'burst' })
      break
    case 'rest':
      await publishing.rest()
      report({ news: 'rest' })
      break
    case 'heads': {
      const heads = await Promise.all(channels.map(channel => channel.position()))
      report({ news: 'heads', heads: heads.map(({ epoch, newest }) => ({ epoch, newest })) })
    }
  }
})
process.once('disconnect', () => process.exit())
await app.listen({ port: 0, host: '127.0.0.1' })
report({ news: 'listening', port: (app.server.address() as AddressInfo).port })
