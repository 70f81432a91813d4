import { setTimeout as delay } from 'node:timers/promises'
import Fastify from 'fastify'
import sse, { memoryLog } from 'fastify-typed-sse'
import { redisLog } from 'fastify-typed-sse/redis'
import { Redis } from 'ioredis'
import { payload } from '../broadcast/publish.js'
import { report } from '../report.js'

/** Microseconds of the clock that all processes of the machine share. */
const now = () => String(process.hrtime.bigint() / 1000n).padStart(16, '0')

const { BENCH_REDIS } = process.env
const redis = BENCH_REDIS === undefined ? undefined : new Redis({ host: '127.0.0.1', port: Number(BENCH_REDIS) })
const app = Fastify()
await app.register(sse, { eventLog: redis === undefined ? memoryLog() : redisLog(redis, { timeout: 60_000 }) })

let channels = 1
let streams = 0
const channelOf = n => app.sse.channel(`paced:${n % channels}`)
// The same number on each.
app.get('/', (request, reply) => reply.sse(channelOf(streams++)))

const history = { maxEvents: 1_000_000, maxBytes: 1_000_000_000, maxAge: Infinity }
let replays = 0
const replayed = () => app.sse.channel(`replay:${replays}`, { history, start: 'earliest' })
app.get('/replay', (request, reply) => reply.sse(replayed()))

await app.listen({ host: '127.0.0.1', port: 0 })
report(app.server.address().port, {
  /** Waits for that many subscribers of that many channels. */
  async subscribed (by, of) {
    channels = of
    const following = () =>
      Array.from({ length: channels }, (_, n) => channelOf(n).subscribers).reduce((sum, count) => sum + count, 0)
    while (following() !== by) await delay(1)
  },

  /** Publishes that many events to each channel, one after the other, at the given rate per second. */
  async pace (each, rate) {
    const started = performance.now()
    const published = []
    for (let n = 0; n < each * channels; n++) {
      while ((performance.now() - started) * rate < n * 1_000) await delay(1)
      published.push(channelOf(n).publish({ data: payload(now()) }))
    }
    await Promise.all(published)
  },

  /**
   * Publishes events of 200 bytes to several channels, with a window of unacknowledged ones. Returns the seconds it
   * took.
   */
  async publish (events, to, window) {
    const published = Array.from({ length: to }, (_, n) => app.sse.channel(`published:${n}`))
    const data = payload('')
    const started = performance.now()
    let sent = 0
    await Promise.all(Array.from({ length: window }, async () => {
      while (sent < events) await published[sent++ % to].publish({ data })
    }))
    return (performance.now() - started) / 1_000
  },

  /** Creates a channel with that many events, and ends it. */
  async fill (events) {
    replays++
    const channel = replayed()
    for (let n = 1; n <= events; n += 1_000) {
      await Promise.all(Array.from({ length: Math.min(1_000, events - n + 1) }, (_, index) =>
        channel.publish({ data: payload(` ${n + index}`) })))
    }
    await channel.end()
  }
})
