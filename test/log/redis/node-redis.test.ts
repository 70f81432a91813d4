import t, { type Test } from 'tap'
import { createClient, createClientPool, createCluster, createSentinel } from 'redis'
import { createClient as createClient6 } from 'redis-6'
import { checkEventLog } from '../../../lib/log/check-event-log.ts'
import type { EventLog } from '../../../lib/log/log.ts'
import { NodeRedisConnection } from '../../../lib/log/redis/node-redis.ts'
import { RedisSubscriber } from '../../../lib/log/redis/subscriber.ts'
import { RecordedTail } from '../../../lib/log/recorded-tail.ts'
import { redisLog } from '../../../lib/redis.ts'
import { compareWithMemory } from '../../setup/log-model.ts'
import { absent, REDIS } from '../../setup/programs.ts'
import { freePort, RedisServer } from '../../setup/redis.ts'
import { Relay } from '../../setup/relay.ts'
import { HISTORY, numbered } from '../../setup/remote-log.ts'
import { within } from '../../setup/within.ts'

t.setTimeout(300_000)

const offsets = (tail: RecordedTail): number[] => tail.entries.map(({ offset }) => offset)
const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1)
type Options = NonNullable<Parameters<typeof createClient>[0]>

t.test('a client of another kind throws at the call', async t => {
  const clients = [createClientPool(), createCluster({ rootNodes: [{}] }),
    createSentinel({ name: 'mymaster', sentinelRootNodes: [{ host: '127.0.0.1', port: 1 }] })]
  for (const client of clients) {
    t.throws(() => redisLog(client as never), {
      code: 'FST_SSE_OPTION',
      message: /^Option 'client' must be a Redis or Cluster of ioredis, or a client of node-redis, got /
    })
  }
})

t.test('with Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t, '--appendonly', 'yes')
  const admin = server.client(t)
  for (const [version, create] of [['5', createClient], ['6', createClient6 as unknown as typeof createClient]] as const) {
    t.test(`node-redis ${version}`, async t => {
      const make = (t: Test, port = server.port, options: Options = {}): ReturnType<typeof create> => {
        const client = create({ ...options, socket: { host: '127.0.0.1', port, reconnectStrategy: 5 } }) as ReturnType<typeof create>
        client.on('error', () => {})
        t.teardown(() => { if (client.isOpen) client.destroy() })
        return client
      }
      const connect = async (...args: Parameters<typeof make>): Promise<ReturnType<typeof create>> => {
        const client = make(...args)
        await client.connect()
        return client
      }
      const open = async (t: Test, name: string, port = server.port): Promise<EventLog> => {
        const log = redisLog(await connect(t, port))(name, HISTORY)
        t.teardown(() => log.close())
        return log
      }

      t.test('it passes the contract of a log', async t => {
        await checkEventLog(t, async () => redisLog(await connect(t)), { shared: true })
      })

      t.test('every answer equals that of a log in memory', async t => {
        await compareWithMemory(t, redisLog(await connect(t)), { seeds: 5 })
      })

      t.test('thousands of commands at once cause no warning', async t => {
        const warnings: Error[] = []
        const onWarning = (warning: Error): void => { warnings.push(warning) }
        process.on('warning', onWarning)
        t.teardown(() => process.off('warning', onWarning))
        const make = redisLog(await connect(t))
        const logs = upTo(1_000).map(n => make(`many ${version} ${n}`, HISTORY))
        await Promise.all(logs.map(async log => log.state()))
        for (const log of logs) log.close()
        t.strictSame(warnings, [])
      })

      t.test('R8: for any loss of connections, every append is delivered once and in order', async t => {
        const relay = await Relay.start(t, () => [server.port])
        const name = `cut ${version}`
        const logs = [await open(t, name, relay.port), await open(t, name, relay.port)]
        const tails = logs.map(() => new RecordedTail())
        for (const [n, log] of logs.entries()) log.tail(tails[n]!.listener)
        await Promise.all(logs.map(async log => log.state()))
        const stopCutting = relay.keepCutting(t, 30)
        const positions = await within('all appends', Promise.all(upTo(20).map(async n => {
          await new Promise(resolve => setTimeout(resolve, n * 15))
          return await Promise.all(upTo(25).map(async m => (await logs[n % 2]!.append(numbered(n * 1_000 + m))).offset))
        })))
        stopCutting()
        t.strictSame(positions.flat().sort((a, b) => a - b), upTo(500), 'each append was done once')
        for (const tail of tails) {
          await within('all entries', tail.waitFor('all entries', () => tail.entries.at(-1)?.offset === 500))
          t.strictSame(offsets(tail), upTo(500))
        }
      })

      t.test('a restart of Redis with its data loses nothing', async t => {
        const log = await open(t, `restart ${version}`)
        const tail = new RecordedTail()
        log.tail(tail.listener)
        await log.append(numbered(1))
        await server.kill('SIGTERM')
        const appended = log.append(numbered(2))
        await server.start()
        t.equal((await within('the append', Promise.resolve(appended))).offset, 2)
        await log.append(numbered(3))
        await tail.waitFor('all entries', () => tail.entries.length === 3)
        t.strictSame(offsets(tail), [1, 2, 3])
      })

      t.test('a half-open connection for messages is replaced', async t => {
        const relay = await Relay.start(t, () => [server.port])
        const connection = new NodeRedisConnection(await connect(t, relay.port))
        const subscriber = new RedisSubscriber(connection, 100)
        t.teardown(() => subscriber.close())
        const messages: string[] = []
        let losses = 0
        const replaced = new Promise<void>(resolve => {
          subscriber.subscribe(`silent ${version}`, {
            onMessage: message => { messages.push(message.toString()) },
            onLoss: () => { if (++losses === 2) resolve() }
          })
        })
        await subscriber.subscribe(`silent ${version}`, { onMessage: () => {}, onLoss: () => {} })
        relay.lose(false)
        subscriber.tick(performance.now() + 200)
        await within('the replacement', replaced)
        await admin.publish(`silent ${version}`, 'found')
        while (messages.length === 0) await new Promise(setImmediate)
        t.strictSame(messages, ['found'])
        subscriber.tick(performance.now() + 10_000)
      })

      t.test('a client that is connected later is awaited, and a closed one is not', async t => {
        const client = make(t)
        const log = redisLog(client)(`late ${version}`, HISTORY)
        t.teardown(() => log.close())
        const appended = log.append(numbered(1))
        await client.connect()
        t.equal((await within('the append', Promise.resolve(appended))).offset, 1)
        client.destroy()
        await t.rejects(within('the refusal', Promise.resolve(log.state())), { code: 'FST_SSE_LOG_UNAVAILABLE' })
        await client.connect()
        t.equal((await within('the state', Promise.resolve(log.state()))).newest, 1, 'it may be opened again')
      })

      t.test('a client that gives up to reconnect is closed', async t => {
        const own = await RedisServer.start(t)
        const client = create({ socket: { host: '127.0.0.1', port: own.port, reconnectStrategy: false } })
        client.on('error', () => {})
        await client.connect()
        const log = redisLog(client)(`gone ${version}`, HISTORY)
        t.teardown(() => log.close())
        await log.append(numbered(1))
        await own.kill()
        await t.rejects(within('the refusal', Promise.resolve(log.state())), { code: 'FST_SSE_LOG_UNAVAILABLE' })
      })

      t.test('an unreachable Redis lets an append time out', async t => {
        const client = make(t, await freePort())
        client.connect().catch(() => {})
        const log = redisLog(client, { timeout: 50 })('away', HISTORY)
        t.teardown(() => log.close())
        await t.rejects(Promise.resolve(log.append(numbered(1))), { code: 'FST_SSE_LOG_UNAVAILABLE' })
      })

      t.test('errors of Redis reject with their code, and a script that Redis forgot is sent again', async t => {
        const log = await open(t, `errors ${version}`)
        await log.append(numbered(1))
        await admin.script('FLUSH')
        t.equal((await log.append(numbered(2))).offset, 2)
        await admin.set(`sse:{errors ${version}}`, 'taken')
        await t.rejects(Promise.resolve(log.append(numbered(3))), { code: 'FST_SSE_LOG_FOREIGN' })
        await admin.acl('SETUSER', `deaf ${version}`.replace(' ', ''), 'on', '>secret', '+@all', '~*', 'resetchannels')
        const deaf = redisLog(await connect(t, server.port, { username: `deaf${version}`, password: 'secret' }))('deaf', HISTORY)
        t.teardown(() => deaf.close())
        deaf.tail(() => {})
        await t.rejects(Promise.resolve(deaf.state()), { code: 'FST_SSE_LOG_UNAVAILABLE', cause: { message: /NOPERM/ } })
      })

      t.test('the database, the name and the prefix of the client are kept', async t => {
        const client = await connect(t, server.port, { database: 1, name: `mine${version}`, ...{ keyPrefix: 'of the client:' } })
        const log = redisLog(client, { prefix: 'news:' })('named', HISTORY)
        t.teardown(() => log.close())
        const tail = new RecordedTail()
        log.tail(tail.listener)
        await log.state()
        await log.append(numbered(1))
        await tail.waitFor('the entry', () => tail.entries.length === 1)
        t.match(String(await admin.client('LIST')), new RegExp(`name=mine${version}:tail `))
        const keys = await server.client(t, { db: 1 }).keys('*')
        t.ok(keys.length > 0 && keys.every(key => key.startsWith('of the client:news:')), String(keys))
      })
    })
  }
})
