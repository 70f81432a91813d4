import { setTimeout as delay } from 'node:timers/promises'
import Fastify from 'fastify'
import sse, { memoryLog } from 'fastify-typed-sse'
import { postgresLog } from 'fastify-typed-sse/postgres'
import { redisLog } from 'fastify-typed-sse/redis'
import { sqliteLog } from 'fastify-typed-sse/sqlite'
import { Redis } from 'ioredis'
import Database from 'libsql'
import { Pool } from 'pg'
import { payload } from '../broadcast/publish.js'
import { report } from '../report.js'

/** Microseconds of the clock that all processes of the machine share. */
const now = () => String(process.hrtime.bigint() / 1000n).padStart(16, '0')

const { BENCH_LOG, BENCH_AT } = process.env
const host = '127.0.0.1'
const timeout = 60_000
const ignore = () => {}
const LOGS = {
  memory: () => memoryLog(),
  sqlite: () => sqliteLog(process.getBuiltinModule('node:sqlite') === undefined ? new Database(BENCH_AT) : BENCH_AT),
  postgres: () =>
    postgresLog(new Pool({ host, port: Number(BENCH_AT), user: 'postgres', database: 'postgres' }).on('error', ignore),
      { timeout }),
  redis: () => redisLog(new Redis({ host, port: Number(BENCH_AT) }).on('error', ignore), { timeout })
}
const app = Fastify()
await app.register(sse, { eventLog: LOGS[BENCH_LOG]() })

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
  /**
   * Waits for that many subscribers of that many channels that are at the end of the log: others have no position yet,
   * so that they would begin after an event.
   */
  async subscribed (by, of) {
    channels = of
    const names = new Set(Array.from({ length: channels }, (_, n) => channelOf(n).name))
    const following = () => {
      const all = app.sse.channels().filter(({ name }) => names.has(name))
      return all.reduce((sum, { subscribers, lagging }) => lagging > 0 ? NaN : sum + subscribers, 0)
    }
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
   * Publishes events of 200 bytes to several channels for some seconds, with a window of unacknowledged ones. Returns
   * how many a second.
   */
  async publish (seconds, to, window) {
    const published = Array.from({ length: to }, (_, n) => app.sse.channel(`published:${n}`))
    const data = payload('')
    const started = performance.now()
    let sent = 0
    await Promise.all(Array.from({ length: window }, async () => {
      while (performance.now() - started < seconds * 1_000) await published[sent++ % to].publish({ data })
    }))
    return sent / (performance.now() - started) * 1_000
  },

  /** Creates a channel with that many events, and ends it. Returns the id after which `rest` of them follow. */
  async fill (events, rest) {
    replays++
    const channel = replayed()
    const ids = []
    for (let n = 1; n <= events; n += 1_000) {
      ids.push(...await Promise.all(Array.from({ length: Math.min(1_000, events - n + 1) }, (_, index) =>
        channel.publish({ data: payload(` ${n + index}`) }))))
    }
    await channel.end()
    return ids[events - rest - 1]
  }
})
