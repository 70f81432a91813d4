import fastifyRedis from '@fastify/redis'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { Redis as OldRedis } from 'ioredis-5'
import t, { type Test } from 'tap'
import { checkEventLog } from '../../../lib/log/check-event-log.ts'
import { RedisSubscriber } from '../../../lib/log/redis/subscriber.ts'
import plugin from '../../../lib/server/plugin.ts'
import { redisLog } from '../../../lib/log/redis/factory.ts'
import type { RedisClient } from '../../../lib/log/redis/client.ts'
import { absent, REDIS } from '../../setup/programs.ts'
import { RedisCluster } from '../../setup/redis-cluster.ts'
import { freePort, RedisServer } from '../../setup/redis.ts'
import { until as untilEnd } from '../../setup/until.ts'

t.setTimeout(300_000)

t.test('an invalid client or option throws at the call', async t => {
  for (const client of [undefined, {}, 'redis://127.0.0.1']) {
    t.throws(() => redisLog(client as never), {
      code: 'FST_SSE_OPTION',
      message: /^Option 'client' must be a Redis or Cluster of ioredis, or a client of node-redis, got /
    })
  }
  const client = { callBuffer: () => {}, duplicate: () => {}, options: {} } as unknown as RedisClient
  for (const prefix of [1, 'a{', '}', 'a\n']) {
    t.throws(() => redisLog(client, { prefix: prefix as never }), {
      code: 'FST_SSE_OPTION',
      message: /^Option 'prefix' must be a string without braces/
    })
  }
  for (const timeout of ['1', 0, -1, NaN, Infinity, 2 ** 31]) {
    t.throws(() => redisLog(client, { timeout: timeout as never }), {
      code: 'FST_SSE_OPTION',
      message: /^Option 'timeout' must be a number of milliseconds/
    })
  }
  t.throws(() => redisLog(client, { ttl: 1 } as never), { code: 'FST_SSE_OPTION' })
  t.throws(() => redisLog(client, null as never), { code: 'FST_SSE_OPTION' })
  redisLog(client, { prefix: '', timeout: 1 })
  t.throws(() => redisLog({ ...client, options: { autoResendUnfulfilledCommands: false } } as never), {
    code: 'FST_SSE_OPTION',
    message:
      "Option 'client' must be a client that resends unanswered commands, got autoResendUnfulfilledCommands: false"
  })
  t.throws(() => redisLog({ ...client, options: { enableAutoPipelining: true } } as never), {
    code: 'FST_SSE_OPTION',
    message: "Option 'client' must be a client without automatic pipelines, got enableAutoPipelining: true"
  })
})

t.test('with Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)

  t.test('it passes the contract of a log', async t => {
    await checkEventLog(t, () => redisLog(server.client(t)), { shared: true })
  })

  const clients: Array<[version: string, Client: new (options: object) => Redis | OldRedis]> = [['5.4', OldRedis],
    ['6', Redis]]
  for (const [version, Client] of clients) {
    t.test(`ioredis ${version} passes the contract under a prefix of the client and its own`, async t => {
      const keyPrefix = `of client ${version}:`
      const connect = (options: object = {}): Redis | OldRedis => {
        const client = new Client({ port: server.port, host: '127.0.0.1', ...options })
        t.teardown(() => client.disconnect())
        return client
      }
      await checkEventLog(t, () => redisLog(connect({ keyPrefix }), { prefix: 'news:' }), { shared: true })
      const keys = await connect().keys('*')
      t.ok(keys.some(key => key.startsWith(keyPrefix)))
      t.strictSame(keys.filter(key => key.startsWith('news:')), [])
      for (const key of keys.filter(key => key.startsWith(keyPrefix))) {
        t.match(key.slice(keyPrefix.length), /^news:(\{checkEventLog |epoch:|appends:)/)
      }
    })
  }

  t.test('the client of @fastify/redis is used as it is, and closed by its plugin after the log', async t => {
    const nodes = await Promise.all([1, 2].map(async () => {
      // `fetch` connects again when its response is cut. To Node a connection without a request is not idle.
      const app = Fastify({ forceCloseConnections: true })
      t.teardown(() => app.close())
      await app.register(fastifyRedis, { host: '127.0.0.1', port: server.port })
      await app.register(plugin, { eventLog: redisLog(app.redis) })
      const channel = app.sse.channel('plugin', { start: 'earliest' })
      app.get('/', (request, reply) => reply.sse(channel))
      return { app, channel }
    }))
    const [one, other] = nodes as [typeof nodes[0], typeof nodes[0]]
    const id = await one.channel.publish({ data: 'event' })
    const url = await other.app.listen({ host: '127.0.0.1', port: 0 })
    const response = await fetch(url, { headers: { accept: 'text/event-stream' } })
    let text = ''
    for await (const bytes of response.body!) {
      text += Buffer.from(bytes).toString()
      if (text.includes(`id: ${id}\ndata: event\n\n`)) break
    }
    for (const { app } of nodes) {
      await app.close()
      await untilEnd('the end of the connection', () => app.redis.status === 'end')
    }
  })

  t.test('two prefixes are separate', async t => {
    const client = server.client(t)
    const [one, other] = ['one:', 'other:'].map(prefix =>
      redisLog(client, { prefix })('name', { maxEvents: 10, maxBytes: 1_000, maxAge: Infinity })
    )
    await one!.append({ event: 'message', data: '1', json: true })
    t.equal((await other!.state()).newest, 0)
  })

  t.test('two databases are separate, also in their messages', async t => {
    const logs = [0, 1].map(db =>
      redisLog(server.client(t, { db }))('databases', { maxEvents: 10, maxBytes: 1_000, maxAge: Infinity })
    )
    const counts = logs.map(() => 0)
    for (const [index, log] of logs.entries()) {
      t.teardown(() => log.close())
      log.tail(({ entries }) => { counts[index]! += entries.length })
      await log.state()
    }
    const admin = server.client(t)
    const [one, other] = await admin.pubsub('CHANNELS', '*databases*') as string[]
    t.not(one, other)
    await Promise.all(logs.map(async log => log.append({ event: 'message', data: '1', json: true })))
    while (counts.some(count => count === 0)) await new Promise(setImmediate)
    t.strictSame(counts, [1, 1])
  })

  t.test('a log with listeners is checked regularly: lost messages are found', async t => {
    const client = server.client(t)
    const log = redisLog(client)('looked at', { maxEvents: 10, maxBytes: 1_000, maxAge: Infinity })
    const found = new Promise<number>(resolve => log.tail(({ newest }) => resolve(newest)))
    await log.state()
    await client.hset('sse:{looked at}', 'newest', 5)
    const { now } = performance
    t.intercept(performance, 'now', { value: () => now.call(performance) + 20_000 })
    t.equal(await found, 5)
    log.close()
  })

  t.test('the types of ioredis fit, for every kind of client', async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(plugin, { eventLog: redisLog(server.client(t)) })
    t.match(await app.sse.channel('typed').publish({ data: 1 }), /^\w+-1$/)
  })
})

t.test('with a cluster of three', { skip: absent(REDIS) }, async t => {
  const cluster = await RedisCluster.start(t, 3)
  t.test('it passes the contract of a log', async t => {
    await checkEventLog(t, () => redisLog(cluster.client(t)), { shared: true })
  })

  t.test('channels are spread over the servers, each with all of its keys', async t => {
    const open = redisLog(cluster.client(t), { prefix: 'spread:' })
    await Promise.all(
      Array.from({ length: 100 }, async (_, n) =>
        open(`${n}`, { maxEvents: 10, maxBytes: 1_000, maxAge: Infinity }).append({
          event: 'message',
          data: '1',
          json: true
        }))
    )
    const counts = await Promise.all(
      cluster.masters.map(async master => (await master.client(t).keys('spread:{*')).length)
    )
    t.equal(counts.reduce((sum, count) => sum + count, 0), 300)
    t.ok(counts.every(count => count > 0 && count % 3 === 0), String(counts))
  })

  for (const location of ['of no server', 'of another server']) {
    t.test(`a client with the location ${location} for a slot learns the right one`, async t => {
      const client = cluster.client(t)
      const slot = Number(await client.cluster('KEYSLOT', 'sse:{sought}'))
      const [right] = client.slots[slot]!
      const others = client.slots.flat().filter(node => node !== right)
      client.slots[slot] = location === 'of no server' ? ['127.0.0.1:1'] : [others[0]!]
      const subscriber = new RedisSubscriber(client)
      t.teardown(() => subscriber.close())
      let missed = 0
      // Like a log: any command updates the client.
      const onLoss = (): void => {
        missed++
        client.get('sse:{sought}').catch(() => {})
      }
      const received = new Promise<string>(resolve => {
        subscriber.subscribe('sse:{sought}', { onMessage: message => resolve(message.toString()), onLoss }).then(
          () => client.spublish('sse:{sought}', 'a'),
          resolve
        )
      })
      t.equal(await received, 'a')
      t.ok(missed > 0)
    })
  }

  t.test('a channel continues when its slot moves to another server', async (t: Test) => {
    const client = cluster.client(t)
    const open = redisLog(client)
    const log = open('moving', { maxEvents: 100, maxBytes: 100_000, maxAge: Infinity })
    const offsets: number[] = []
    let more = (): void => {}
    log.tail(({ entries }) => {
      offsets.push(...entries.map(({ offset }) => offset))
      more()
    })
    const until = (count: number): Promise<void> => new Promise(resolve => {
      more = () => { if (offsets.length >= count) resolve() }
      more()
    })
    await log.append({ event: 'message', data: '1', json: true })
    await until(1)
    const slot = await client.cluster('KEYSLOT', 'sse:{moving}')
    const [from, to] = await Promise.all(cluster.masters.map(async master => {
      const admin = master.client(t)
      const owns = (await admin.call('CLUSTER', 'COUNTKEYSINSLOT', slot)) as number > 0
      return { admin, owns, id: String(await admin.call('CLUSTER', 'MYID')), port: master.port }
    })).then(nodes => [nodes.find(({ owns }) => owns)!, nodes.find(({ owns }) => !owns)!])
    await to!.admin.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from!.id)
    await from!.admin.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to!.id)
    const keys = await from!.admin.call('CLUSTER', 'GETKEYSINSLOT', slot, 100) as string[]
    await from!.admin.call('MIGRATE', '127.0.0.1', to!.port, '', 0, 5_000, 'KEYS', ...keys)
    for (const master of cluster.masters) await master.client(t).call('CLUSTER', 'SETSLOT', slot, 'NODE', to!.id)
    t.equal((await log.append({ event: 'message', data: '2', json: true })).offset, 2)
    await until(2)
    t.strictSame(offsets, [1, 2])
    log.close()
  })
})

t.test('an absent Redis keeps no call pending forever', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  await server.kill()
  const log = redisLog(server.client(t, { port: await freePort() }), { timeout: 50 })('away', {
    maxEvents: 10,
    maxBytes: 1_000,
    maxAge: Infinity
  })
  t.teardown(() => log.close())
  await t.rejects(log.append({ event: 'message', data: '1', json: true }) as Promise<unknown>, {
    code: 'FST_SSE_LOG_UNAVAILABLE'
  })
  await t.rejects(log.end() as Promise<void>, { code: 'FST_SSE_LOG_UNAVAILABLE' })
})
