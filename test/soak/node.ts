import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import { redisLog } from 'fastify-typed-sse/redis'
import { Redis } from 'ioredis'
import { serve } from './worker.ts'

/*
 * One of two servers of one channel, whose events are in Redis: `node.ts <port of Redis> <shutdownTimeout>
 * <reconnectWindow>`.
 */
const [port, shutdownTimeout, reconnectWindow] = process.argv.slice(2).map(Number) as [number, number, number]
const redis = new Redis({ port, host: '127.0.0.1' })
const app = Fastify()
await app.register(sse, { eventLog: redisLog(redis), shutdownTimeout, reconnectWindow })
const channel = app.sse.channel('news')
app.get('/news', (_request, reply) => reply.sse(channel))
let number = 0
let timer: NodeJS.Timeout | undefined
let last: Promise<unknown> = Promise.resolve()

const duties = {
  async listen (): Promise<number> {
    await app.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 })
    return (app.server.address() as AddressInfo).port
  },

  publish (period: number) {
    timer = setInterval(() => { last = channel.publish({ event: 'tick', data: { number: ++number } }) }, period)
  },

  /** Resolves to the number of streams, when the last of them is open. */
  async rest (): Promise<number> {
    clearInterval(timer)
    await last
    return number
  },

  stats: () => app.sse.stats().streams,

  /** Resolves to the milliseconds that it took. */
  async close (): Promise<number> {
    const began = performance.now()
    await app.close()
    const took = performance.now() - began
    redis.disconnect()
    return took
  }
}

export type NodeDuties = typeof duties
serve(duties)
