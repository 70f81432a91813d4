import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import sse, { type Channel, type RegisterOptions } from '../../lib/index.ts'
import { redisLog, type RedisClient, type RedisLogOptions } from '../../lib/redis.ts'
import { listen } from '../setup/listen.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { open, type RawClient, type RawRequest } from '../setup/raw.ts'
import { RedisCluster } from '../setup/redis-cluster.ts'
import { RedisServer } from '../setup/redis.ts'
import { Track } from '../setup/track.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

// R8, over real sockets to real servers.

interface Node {
  app: FastifyInstance
  news: Channel
  port: number
  openClient: (request?: RawRequest) => Promise<RawClient>
}

const HISTORY = { maxEvents: 10_000, maxBytes: 10_000_000, maxAge: Infinity }

/** One of several nodes: a channel over Redis, streamed at `/`. */
async function nodeOf (
  t: Test,
  client: RedisClient,
  { log, ...options }: Omit<RegisterOptions, 'log'> & { log?: RedisLogOptions } = {}
): Promise<Node> {
  const app = Fastify()
  await app.register(sse, { eventLog: redisLog(client, log), ...options })
  const news = app.sse.channel('news', { history: HISTORY })
  app.get('/', (_request, reply) => reply.sse(news))
  app.get('/tens', (_request, reply) => reply.sse(news.subscribe({ filter: ({ data }) => Number(data) % 10 === 0 })))
  const port = await listen(t, app)
  const openClient = async (request: RawRequest = {}): Promise<RawClient> => {
    const connected = await open(port, request)
    t.teardown(() => connected.socket.destroy())
    return connected
  }
  return { app, news, port, openClient }
}

const again = { retryStrategy: () => 20 }
const framed = (n: number): string => `data: ${n}\n\n`

/**
 * Publishes a number until it is stored. A rejected publish may be stored all the same, so the log is searched first.
 */
async function insist (news: Channel, n: number): Promise<string> {
  for (;;) {
    try {
      return await news.publish({ data: n })
    } catch {
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
}

/** Offsets and numbers of the events of a stream. */
const eventsOf = ({ received }: RawClient): Array<{ epoch: string, offset: number, n: number }> =>
  [...received.matchAll(/^id: (\w+)-(\d+)\ndata: (\d+)$/gm)].map(([, epoch, offset, n]) => ({
    epoch: epoch!,
    offset: Number(offset),
    n: Number(n)
  })
  )
const offsets = (client: RawClient): number[] => eventsOf(client).map(({ offset }) => offset)
const upTo = (last: number, first = 1): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index)

t.test('with Redis', { skip: absent(REDIS), jobs: 4 }, async t => {
  t.test('R8: an event of one node is sent by every node, with one id and in one order', async t => {
    const server = await RedisServer.start(t)
    const nodes = await Promise.all(upTo(3).map(() => nodeOf(t, server.client(t))))
    const clients = await Promise.all(nodes.map(async node => node.openClient()))
    for (const client of clients) await client.until('-0\ndata: \n\n')
    const ids = await Promise.all(upTo(60).map(n => nodes[n % 3]!.news.publish({ data: n })))
    for (const client of clients) await within('all events', client.until('-60\ndata: '))
    const [one, two, three] = clients.map(eventsOf)
    t.strictSame(one!.map(({ offset }) => offset), upTo(60))
    t.strictSame([two, three], [one, one])
    for (const [index, id] of ids.entries()) {
      t.strictSame(one!.filter(({ n }) => n === index + 1).map(({ epoch, offset }) => `${epoch}-${offset}`), [id])
    }
    const late = await nodes[2]!.openClient({ headers: { 'Last-Event-ID': `${one![0]!.epoch}-30` } })
    await within('the rest', late.until('-60\ndata: '))
    t.strictSame(eventsOf(late), one!.slice(30))
    await nodes[0]!.news.end()
    for (const client of [...clients, late]) await within('the end', client.until('0\r\n\r\n'))
    const over = await nodes[1]!.openClient({
      headers: { 'Last-Event-ID': ids.toSorted((a, b) => Number(a.split('-')[1]) - Number(b.split('-')[1])).at(-1)! }
    })
    await within('the answer', over.until('\r\n\r\n'))
    t.match(over.received, /^HTTP\/1.1 204 /, 'R7: a client at the end stops, on every node')
  })

  t.test('R9: over Redis, too, the end of the replay is marked, and no offset is skipped silently', async t => {
    const server = await RedisServer.start(t)
    const nodes = await Promise.all(upTo(2).map(() => nodeOf(t, server.client(t))))
    const { epoch } = await nodes[0]!.news.position()
    const newcomer = await nodes[0]!.openClient({ path: '/tens' })
    await within('its opening', newcomer.until('-0\ndata: \n\n'))
    await Promise.all(upTo(300).map(n => nodes[n % 2]!.news.publish({ data: n })))
    await within('the end of it', newcomer.until('data: 300\n\n'))
    const back = { headers: { 'Last-Event-ID': `${epoch}-0` } }
    const late = await Promise.all(
      nodes.flatMap(({ openClient }) => [openClient(back), openClient({ path: '/tens', ...back })])
    )
    for (const client of late) await within('the end of its history', client.until(': live\n\n'))
    await nodes[1]!.news.publish({ data: 310 })
    await nodes[1]!.news.end()
    const tracks: Track[] = []
    for (const client of [newcomer, ...late]) {
      await within('the end', client.until('0\r\n\r\n'))
      tracks.push(new Track(client.responses()[0]!.body))
    }
    t.strictSame(tracks.map(({ marks }) => marks), [['live'], ...Array(4).fill(['replay', 'live'])])
    t.strictSame(tracks.map(({ events }) => events.length), [31, 301, 31, 301, 31])
    t.strictSame(tracks.map(({ id }) => id), Array(5).fill(`${epoch}-301`))
  })

  t.test('Redis is down at the start: the app starts, streams open and are live, publish rejects in time, and everything recovers', async t => {
    const server = await RedisServer.start(t)
    await server.kill()
    const node = await nodeOf(t, server.client(t, again), { heartbeatInterval: 30, log: { timeout: 100 } })
    const client = await node.openClient()
    await within('a heartbeat', client.until('\n:\n\n'))
    await t.rejects(node.news.publish({ data: 0 }), { code: 'FST_SSE_LOG_UNAVAILABLE', statusCode: 503 })
    t.strictSame(eventsOf(client), [])
    await server.start()
    await within('the position', client.until('id: '))
    await insist(node.news, 1)
    await within('the published event', client.until(framed(1)))
    t.notOk(client.received.includes('sse.reset'))
  })

  t.test('Redis restarts with its data: no event is lost or duplicated, there is no reset, and streams stay open', async t => {
    const server = await RedisServer.start(t, '--appendonly', 'yes', '--appendfsync', 'always')
    const nodes = await Promise.all([1, 2].map(() => nodeOf(t, server.client(t, again))))
    const clients = await Promise.all(nodes.map(async node => node.openClient()))
    for (const client of clients) await client.until('-0\ndata: \n\n')
    let n = 0
    for (let round = 0; round < 3; round++) {
      const publishing = upTo(40).map(() => nodes[++n % 2]!.news.publish({ data: n }))
      await Promise.all(publishing.slice(0, 5))
      await server.kill()
      await server.start()
      await within('all of it', Promise.all(publishing))
    }
    for (const client of clients) {
      await within('all events', client.until(`-${n}\ndata: `))
      t.strictSame(offsets(client), upTo(n))
      t.strictSame(eventsOf(client).map(event => event.n).sort((a, b) => a - b), upTo(n), 'each once')
      t.notOk(client.received.includes('sse.reset'))
    }
  })

  t.test('Redis restarts empty: the epoch is new, and every subscriber gets sse.reset', async t => {
    const server = await RedisServer.start(t)
    const nodes = await Promise.all([1, 2].map(() => nodeOf(t, server.client(t, again))))
    const clients = await Promise.all(nodes.map(async node => node.openClient()))
    for (const client of clients) await client.until('-0\ndata: \n\n')
    await nodes[0]!.news.publish({ data: 1 })
    for (const client of clients) await client.until(framed(1))
    await server.kill()
    await server.start()
    for (const client of clients) await within('the reset', client.until('event: sse.reset'))
    const id = await insist(nodes[1]!.news, 2)
    for (const client of clients) {
      await within('the next event', client.until(framed(2)))
      const [before, after] = eventsOf(client)
      t.not(after!.epoch, before!.epoch)
      t.equal(`${after!.epoch}-${after!.offset}`, id)
      t.match(client.received, /event: sse\.reset\nid: \w+-0\ndata: \{"reason":"unknown","oldest":1,"newest":0\}\n\n/)
    }
  })

  t.test('Redis is blocked for a while: publish rejects in time, and nothing is lost when it continues', async t => {
    const server = await RedisServer.start(t)
    const node = await nodeOf(t, server.client(t), { heartbeatInterval: 20, log: { timeout: 2_000 } })
    const client = await node.openClient()
    await client.until('-0\ndata: \n\n')
    await node.news.publish({ data: 1 })
    server.signal('SIGSTOP')
    const late = node.news.publish({ data: 2 })
    await t.rejects(within('the refusal', late), { code: 'FST_SSE_LOG_UNAVAILABLE' })
    const beats = client.received.split('\n:\n').length
    await within('a heartbeat meanwhile', client.until('\n:\n', client.received.length))
    t.ok(client.received.split('\n:\n').length > beats)
    server.signal('SIGCONT')
    await node.news.publish({ data: 3 })
    await within('all events', client.until(framed(3)))
    t.strictSame(eventsOf(client).map(({ n }) => n), [1, 2, 3],
      'the rejected event had been sent already, and was stored')
  })

  t.test('a sentinel promotes the replica: streams continue, with the events of the old master', async t => {
    const { master } = await replicated(t)
    const sentinel = await startSentinel(t, master.port)
    const client = new Redis({
      sentinels: [{ host: '127.0.0.1', port: sentinel.port }],
      name: 'main',
      sentinelRetryStrategy: () => 50,
      ...again
    })
    client.on('error', () => {})
    t.teardown(() => client.disconnect())
    const [one, two] = [await nodeOf(t, client), await nodeOf(t, client)]
    const stream = await two.openClient()
    await within('the opening', stream.until('-0\ndata: \n\n'))
    for (const n of upTo(20)) await one.news.publish({ data: n })
    // The replica has it, too: otherwise an acknowledged event may be lost with the master.
    const held = master.client(t)
    await held.set('mark', 1)
    t.equal(await held.wait(1, 5_000), 1)
    await master.kill()
    for (const n of upTo(40, 21)) await insist(one.news, n)
    await within('all events', stream.until(framed(40)), 30_000)
    t.strictSame([...new Set(eventsOf(stream).map(({ n }) => n))], upTo(40))
    t.strictSame(offsets(stream), upTo(offsets(stream).at(-1)!))
    t.notOk(stream.received.includes('sse.reset'))
  })

  t.test('a lagging replica is promoted: lost events cause a reset, never silence', async t => {
    const { master, replica, admin } = await replicated(t)
    const client = master.client(t, again)
    const node = await nodeOf(t, client)
    const stream = await node.openClient()
    await stream.until('-0\ndata: \n\n')
    await node.news.publish({ data: 1 })
    await until('the replica has it', async () => await admin.hget('sse:{news}', 'newest') === '1')
    // From here on the replica receives nothing.
    await admin.call('REPLICAOF', 'NO', 'ONE')
    await node.news.publish({ data: 2 })
    await stream.until(framed(2))
    await master.kill()
    client.options.port = replica.port
    await within('the reset', stream.until('event: sse.reset'))
    await insist(node.news, 3)
    await within('the next event', stream.until(framed(3)))
    t.strictSame(eventsOf(stream).map(({ n }) => n), [1, 2, 3])
    t.strictSame(offsets(stream), [1, 2, 1])
  })

  t.test('a cluster loses a master: its replica takes over, and streams continue', async t => {
    const cluster = await RedisCluster.start(t, 3, 1)
    const client = cluster.client(t)
    const [one, two] = [await nodeOf(t, client), await nodeOf(t, cluster.client(t))]
    const stream = await two.openClient()
    await within('the opening', stream.until('-0\ndata: \n\n'))
    for (const n of upTo(20)) await one.news.publish({ data: n })
    await within('all events', stream.until(framed(20)))
    const slot = await client.cluster('KEYSLOT', 'sse:{news}')
    const port = Number(client.slots[slot]![0]!.split(':')[1])
    const master = cluster.masters.find(server => server.port === port)!
    const replica = cluster.replicas[cluster.masters.indexOf(master)]!.client(t)
    await until('the replica has it', async () => await readNewest(replica) === '20')
    await master.kill()
    for (const n of upTo(40, 21)) await insist(one.news, n)
    await within('all events', stream.until(framed(40)), 30_000)
    t.strictSame([...new Set(eventsOf(stream).map(({ n }) => n))], upTo(40))
    t.strictSame(offsets(stream), upTo(offsets(stream).at(-1)!))
    t.notOk(stream.received.includes('sse.reset'))
  })
})

// Alone: it keeps the process busy.
t.test('R8: a node has two Redis connections, with 1,000 streams on 10,000 channels', { skip: absent(REDIS) },
  async t => {
    const server = await RedisServer.start(t)
    const client = server.client(t, { connectionName: 'node' })
    const app = Fastify()
    // A busy machine needs time for ten thousand at once.
    await app.register(sse, { eventLog: redisLog(client, { timeout: 60_000 }) })
    app.get<{ Params: { name: string } }>('/:name', (request, reply) => reply.sse(app.sse.channel(request.params.name)))
    const port = await listen(t, app)
    await Promise.all(upTo(10_000).map(async n => app.sse.channel(`c${n}`).publish({ data: n })))
    const streams = await Promise.all(upTo(1_000).map(async n => {
      const stream = await open(port, { path: `/c${n}` })
      t.teardown(() => stream.socket.destroy())
      await stream.until('-1\ndata: \n\n')
      return stream
    }))
    await Promise.all(upTo(10_000).map(async n => app.sse.channel(`c${n}`).publish({ data: n })))
    for (const [index, stream] of streams.entries()) await within('the event', stream.until(framed(index + 1)))
    const admin = server.client(t)
    const list = String(await admin.client('LIST')).split('\n').filter(line => / name=node/.test(line))
    t.strictSame(list.map(line => / name=(\S*)/.exec(line)![1]).sort(), ['node', 'node:tail'])
    t.equal(Number(/ sub=(\d+)/.exec(list.find(line => line.includes('node:tail'))!)![1]), 1_000,
      'channels without a subscriber here are not subscribed to in Redis')
    for (const stream of streams) stream.socket.destroy()
    const subscribed = async (): Promise<number> =>
      Number(
        / sub=(\d+)/.exec(String(await admin.client('LIST')).split('\n').find(line =>
          line.includes('name=node:tail')
        )!)![1]
      )
    await until('all are unsubscribed', async () => await subscribed() === 0)
  })

/** A master and its replica. */
async function replicated (t: Test): Promise<{ master: RedisServer, replica: RedisServer, admin: Redis }> {
  const master = await RedisServer.start(t, '--repl-diskless-sync-delay', '0')
  const replica = await RedisServer.start(t, '--replicaof', '127.0.0.1', String(master.port),
    '--repl-diskless-sync-delay', '0')
  const admin = replica.client(t)
  await until('the replica is in sync',
    async () => String(await admin.info('replication')).includes('master_link_status:up'))
  return { master, replica, admin }
}

/** A replica of a cluster answers clients that send READONLY. */
async function readNewest (replica: Redis): Promise<string | null> {
  await replica.readonly()
  return replica.hget('sse:{news}', 'newest')
}

async function startSentinel (t: Test, port: number): Promise<RedisServer> {
  const sentinel = await RedisServer.sentinel(t, 'main', port)
  const admin = sentinel.client(t)
  await until('the sentinel knows the replica',
    async () => (await admin.call('SENTINEL', 'REPLICAS', 'main') as unknown[]).length === 1)
  return sentinel
}
