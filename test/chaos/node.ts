import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import sse from '../../lib/index.ts'
import { redisLog } from '../../lib/redis.ts'
import { chances } from '../setup/chances.ts'
import { CHANNELS, EVENTS } from './channels.ts'
import type { News, Order } from './messages.ts'
import { Publisher } from './publisher.ts'

/*
 * One of many servers, alone in a process: `node.ts <port of Redis> <publisher> <seed>`.
 * It serves each channel at its number, publishes on command, and exits with its parent.
 */
const [port, publisher, seed] = process.argv.slice(2).map(Number)
// Shorter than the time for which Redis is frozen: some events are rejected, and may be stored all the same.
const TIMEOUT = 2_000

const report = (news: News): void => { process.send!(news) }
const app = Fastify({
  logger: {
    level: 'warn',
    base: null,
    // Thousands are rejected in a second, so each gets only one line.
    serializers: { err: ({ code, message }: Error & { code?: string }) => `${code ?? ''} ${message}` as never }
  }
})
const redis = new Redis({ port: port!, host: '127.0.0.1' })
redis.on('error', error => app.log.warn(`redis: ${error.message}`))
await app.register(sse, { eventLog: redisLog(redis, { timeout: TIMEOUT }) })

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
