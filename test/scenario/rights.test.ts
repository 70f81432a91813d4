import Fastify, { type FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import sse, { type Channel } from '../../lib/index.ts'
import { checkEventLog } from '../../lib/log/check-event-log.ts'
import { redisLog } from '../../lib/redis.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'
import { until } from '../setup/until.ts'

t.setTimeout(300_000)

// Permissions and memory limits of Redis.

// As documented.
const RIGHTS = ['resetkeys', '~sse:*', 'resetchannels', '&sse:*', '-@all', '+@connection', '+info', '+eval', '+evalsha',
  '+time', '+exists', '+del', '+get', '+getrange', '+set', '+hmget', '+hset', '+pexpire', '+persist', '+xadd', '+xlen',
  '+xrange', '+xtrim', '+xinfo', '+publish', '+subscribe', '+unsubscribe', '+pubsub|numsub', '+hget',
  '+hsetnx', '+hincrby', '+hdel',
  '+hkeys', '+zadd', '+zrem', '+zscore', '+zcount', '+zrangebyscore']

async function serve (t: Test, client: Redis): Promise<{ app: FastifyInstance, news: Channel }> {
  const app = Fastify()
  await app.register(sse, { eventLog: redisLog(client) })
  t.teardown(() => app.close())
  const news = app.sse.channel('news', { history: { maxEvents: 100_000, maxBytes: 1e9, maxAge: Infinity } })
  app.post('/', async () => ({ id: await news.publish({ data: 'x'.repeat(100_000) }) }))
  return { app, news }
}

t.test('with Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const admin = server.client(t)
  const login = async (t: Test, username: string, ...rights: string[]): Promise<Redis> => {
    await admin.call('ACL', 'SETUSER', username, 'reset', 'on', '>secret', ...rights)
    return server.client(t, { username, password: 'secret' })
  }

  t.test('the documented permissions are sufficient for a log', async t => {
    const client = await login(t, 'frugal', ...RIGHTS)
    await checkEventLog(t, () => redisLog(client), { shared: true })
  })

  t.test('without the permission to publish, publish() and end() reject before anything is written', async t => {
    const { app, news } = await serve(t, await login(t, 'mute', '~sse:*', '+@all', 'resetchannels'))
    for (let n = 0; n < 3; n++) {
      await t.rejects(news.publish({ data: n }), {
        code: 'FST_SSE_LOG_UNAVAILABLE',
        statusCode: 503,
        message: "The event log of the channel 'news' needs the right to publish: nothing was appended",
        cause: { message: /UNPUBLISHABLE/ }
      })
    }
    await t.rejects(news.end(), { code: 'FST_SSE_LOG_UNAVAILABLE' })
    t.equal(await admin.exists('sse:{news}', 'sse:{news}:events'), 0)
    const { statusCode, body } = await app.inject({ method: 'POST', url: '/' })
    t.equal(statusCode, 503)
    t.notMatch(body, /NOPERM|ACL|user/i, 'the words of Redis are not for clients')
    await admin.call('ACL', 'SETUSER', 'mute', '&*')
    t.match(await news.publish({ data: 1 }), /-1$/)
    await admin.call('ACL', 'SETUSER', 'mute', 'resetchannels')
    t.match(await news.publish({ data: 2 }), /-2$/,
      'if the permission is withdrawn in the meantime, the event is in the channel, and publish resolves')
    t.equal(await admin.xlen('sse:{news}:events'), 2)
    await admin.flushall()
  })

  t.test('a full Redis rejects new events, and everything else continues', async t => {
    const { app, news } = await serve(t, server.client(t))
    await admin.config('SET', 'maxmemory-policy', 'noeviction')
    await admin.config('SET', 'maxmemory',
      String(Number(/used_memory:(\d+)/.exec(await admin.info('memory'))![1]) + 5_000_000))
    t.teardown(() => admin.config('SET', 'maxmemory', '0'))
    let accepted = 0
    let refusal: unknown
    while (refusal === undefined && accepted < 600) {
      await news.publish({ data: 'x'.repeat(100_000) }).then(() => { accepted++ }, error => { refusal = error })
    }
    t.ok(accepted > 10 && accepted < 100, `${accepted} were accepted`)
    t.match(refusal, {
      code: 'FST_SSE_LOG_UNAVAILABLE',
      statusCode: 503,
      message: "The event log of the channel 'news' has no memory left: nothing was appended"
    })
    // The memory of a running command is free again: now a small one does not fit either.
    await admin.config('SET', 'maxmemory', '1000000')
    for (const channel of [news, app.sse.channel('another')]) {
      await t.rejects(channel.publish({ data: 1 }), { code: 'FST_SSE_LOG_UNAVAILABLE', message: /has no memory left/ })
    }
    const { statusCode, body } = await app.inject({ method: 'POST', url: '/' })
    t.equal(statusCode, 503)
    t.notMatch(body, /OOM|maxmemory/)
    t.equal(await admin.xlen('sse:{news}:events'), accepted, 'the rejected events are not stored')
    const seen: number[] = []
    const reading = (async () => {
      for await (const { id } of news.subscribe({ start: 'earliest' })) seen.push(Number(id.split('-')[1]))
    })()
    await until('all of it is read', () => seen.length === accepted)
    t.match(await news.position(), { newest: accepted, ended: false })
    t.match(await app.sse.channel('new').position(), { newest: 0 })
    await news.end()
    await reading
    await admin.config('SET', 'maxmemory', '0')
    t.match(await app.sse.channel('another').publish({ data: 1 }), /-1$/)
  })
})
