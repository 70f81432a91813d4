import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { pathToFileURL } from 'node:url'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import sse, { EventQueue, type PublishEventOf, type RunsOptions } from '../../lib/index.ts'
import { redisLog } from '../../lib/redis.ts'
import { listen } from '../setup/listen.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { open } from '../setup/raw.ts'
import { RedisCluster } from '../setup/redis-cluster.ts'
import { RedisServer } from '../setup/redis.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

const events = { token: Type.String() }
type Event = PublishEventOf<typeof events>
const LEASE = 2_000
const options = { events, leaseDuration: LEASE } satisfies RunsOptions<typeof events>
const token = (data: string): Event => ({ event: 'token', data })
const BROKEN = /event: error\nid: \w+-\d+\ndata: \{"type":"about:blank","title":"Service Unavailable","status":503\}\n\n/
const END = '0\r\n\r\n'

interface Node { app: FastifyInstance, port: number }

async function serve (t: Test, client: Redis | Cluster, timeout = 5_000): Promise<Node> {
  const app = Fastify()
  await app.register(sse, { eventLog: redisLog(client, { timeout }) })
  const runs = app.sse.runs('job', options)
  app.get<{ Params: { id: string } }>('/jobs/:id', { schema: { sse: events } },
    async (request, reply) => reply.sse(await runs.follow(request.params.id)))
  return { app, port: await listen(t, app) }
}

const runsOf = ({ app }: Node) => app.sse.runs('job', options)

/** A process that owns the run `1`, whose source never ends by itself. Resolves when its first event is stored. */
async function owner (t: Test, redis: RedisServer): Promise<ChildProcess> {
  const lib = (name: string): string => JSON.stringify(pathToFileURL(`lib/${name}.ts`).href)
  const program = `
    import { setTimeout as sleep } from 'node:timers/promises'
    import { Type } from '@sinclair/typebox'
    import Fastify from 'fastify'
    import { Redis } from 'ioredis'
    import sse from ${lib('index')}
    import { redisLog } from ${lib('redis')}
    const app = Fastify()
    await app.register(sse, { eventLog: redisLog(new Redis(${redis.port}, '127.0.0.1')) })
    const runs = app.sse.runs('job', { events: { token: Type.String() }, leaseDuration: ${LEASE} })
    await runs.start('1', async function * ({ signal }) {
      for (let n = 0; ; n++) {
        yield { event: 'token', data: String(n) }
        await sleep(20, undefined, { signal })
        if (n === 1) process.send('running')
      }
    })
    process.once('disconnect', () => process.exit())
  `
  const child = spawn(process.execPath, ['--import', './test/setup/typescript.js', '--input-type=module', '--eval', program], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc']
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [news] = await within('the run', once(child, 'message'))
  t.equal(news, 'running')
  return child
}

t.test('R11: runs on three nodes with one Redis', { skip: absent(REDIS) }, async t => {
  const redis = await RedisServer.start(t)
  const admin = redis.client(t)
  const nodesOf = (t: Test): Promise<Node[]> =>
    Promise.all(Array.from({ length: 3 }, async () => serve(t, redis.client(t))))
  const read = async (t: Test, node: Node, id: string, lastEventId?: string) => {
    const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
    const client = await open(node.port, { path: `/jobs/${id}`, headers })
    t.teardown(() => client.socket.destroy())
    return client
  }
  const bodyOf = (client: Awaited<ReturnType<typeof read>>): string => client.responses()[0]?.body ?? ''

  t.test('an id without a run leaves no trace, on any node', async t => {
    const nodes = await nodesOf(t)
    for (const node of nodes) {
      t.equal(await runsOf(node).get('none'), undefined)
      t.equal(await runsOf(node).stop('none', token('x')), false)
      t.equal((await node.app.inject('/jobs/none')).statusCode, 204)
      t.equal(node.app.sse.find('job:none'), undefined, 'not in its memory either')
    }
    t.strictSame(await admin.keys('*none*'), [])
  })

  t.test('of 100 concurrent starts one wins; each node streams, resumes and finds the name; a third one stops it', async t => {
    const nodes = await nodesOf(t)
    const calls: number[] = []
    const queue = new EventQueue<typeof events, Event>()
    let reason: unknown
    const answers = await Promise.all(Array.from({ length: 100 }, async (_, n) =>
      runsOf(nodes[n % 3]!).start('many', async function * ({ signal }) {
        calls.push(n)
        signal.addEventListener('abort', () => { reason = signal.reason })
        yield * queue
      })))
    const winner = answers.findIndex(({ started }) => started)
    t.equal(answers.filter(({ started }) => started).length, 1)
    t.strictSame([...new Set(answers.map(({ run }) => run.state))], ['running'])
    const clients = await Promise.all(nodes.map(async node => read(t, node, 'many')))
    await queue.push(token('a'))
    await queue.push(token('b'))
    for (const client of clients) await within('both', client.until('data: b\n\n'))
    t.strictSame(calls, [winner])
    const [, id, epoch] = /^id: ((\w+)-1)$/m.exec(bodyOf(clients[0]!))!
    for (const { app } of nodes) t.strictSame(await app.sse.locate(`other-3.${id}`), ['job:many'])
    const stopper = nodes[(winner + 1) % 3]!
    const resumed = await read(t, nodes[(winner + 2) % 3]!, 'many', id)
    await within('the rest', resumed.until('data: b\n\n'))
    t.equal(await runsOf(stopper).stop('many', token('the end')), true)
    for (const client of [...clients, resumed]) {
      await within('the end', client.until(END))
      t.match(bodyOf(client), /data: the end\n\n$/)
    }
    await until('the signal', () => reason !== undefined)
    t.match(reason, { reason: 'channel-ended' })
    for (const node of nodes) {
      t.match(await runsOf(node).get('many'), { state: 'stopped' })
      t.match(await runsOf(node).start('many', []), { started: false, run: { state: 'stopped' } })
      t.equal(await runsOf(node).stop('many'), false)
      t.equal((await node.app.inject({ url: '/jobs/many', headers: { 'last-event-id': `${epoch}-3` } })).statusCode, 204)
    }
  })

  t.test('when the node of a run is killed, subscribers of the others get the error and the end, within the bound', async t => {
    const child = await owner(t, redis)
    const nodes = await nodesOf(t)
    const clients = await Promise.all(nodes.map(async node => read(t, node, '1')))
    for (const client of clients) await within('live events', client.until('data: 5\n\n'))
    t.match(await runsOf(nodes[0]!).get('1'), { state: 'running' })
    const killedAt = performance.now()
    child.kill('SIGKILL')
    await once(child, 'exit')
    t.match(await runsOf(nodes[1]!).start('1', []), { started: false, run: { state: 'running' } }, 'its lease is held')
    await Promise.all(clients.map(async client => within('the end', client.until(END), 10_000)))
    // A lease and a third, and the time of a busy machine.
    t.ok(performance.now() - killedAt < LEASE * 4 / 3 + 5_000, `${performance.now() - killedAt} ms`)
    for (const client of clients) {
      const body = bodyOf(client)
      t.match(body, BROKEN)
      t.equal(body.match(/^event: error$/gm)?.length, 1)
      t.ok(body.lastIndexOf('event: error') > body.lastIndexOf('event: token'), 'it is the last event')
      t.equal(/(^id: .*\n)data: .*\n\n$/m.exec(body)?.[1], /(^id: .*\n)data: .*\n\n$/m.exec(bodyOf(clients[0]!))?.[1])
    }
    for (const node of nodes) t.match(await runsOf(node).get('1'), { state: 'broken' })
  })

  t.test('a frozen node that wakes up after its run was declared broken appends nothing', async t => {
    await admin.flushall()
    const child = await owner(t, redis)
    const [node] = await nodesOf(t) as [Node]
    child.kill('SIGSTOP')
    await until('the end', async () => (await runsOf(node).get('1'))?.state === 'broken')
    const { newest } = await (await runsOf(node).get('1'))!.channel.position()
    child.kill('SIGCONT')
    await new Promise(resolve => { setTimeout(resolve, LEASE) })
    t.match(await (await runsOf(node).get('1'))!.channel.position(), { newest, ended: true })
  })

  t.test('L7: a node that closes breaks its runs at once', async t => {
    const nodes = await nodesOf(t)
    await runsOf(nodes[0]!).start('closing', async function * ({ signal }) {
      yield token('a')
      await new Promise(resolve => signal.addEventListener('abort', resolve))
    })
    const client = await read(t, nodes[1]!, 'closing')
    await within('the event', client.until('data: a\n\n'))
    const since = performance.now()
    await nodes[0]!.app.close()
    await within('the end', client.until(END))
    t.ok(performance.now() - since < LEASE * 10)
    t.match(bodyOf(client), BROKEN)
    t.match(await runsOf(nodes[1]!).get('closing'), { state: 'broken' })
  })

  t.test('L12: without Redis each call rejects, and afterwards the run continues or is broken', async t => {
    const own = await RedisServer.start(t)
    const [one, two] = [await serve(t, own.client(t), 1_000), await serve(t, own.client(t), 1_000)]
    let stopped = false
    await runsOf(one!).start('1', async function * ({ signal }) {
      yield token('a')
      await new Promise(resolve => signal.addEventListener('abort', resolve))
      stopped = true
    })
    await until('the event', async () => (await (await runsOf(two!).get('1'))!.channel.position()).newest === 1)
    own.signal('SIGSTOP')
    t.teardown(() => own.signal('SIGCONT'))
    const runs = runsOf(two!)
    const calls: Array<Promise<unknown>> = [runs.get('1'), runs.start('2', []), runs.stop('1')]
    for (const call of calls) await t.rejects(call, { code: 'FST_SSE_LOG_UNAVAILABLE', statusCode: 503 })
    await until('the source stops', () => stopped)
    own.signal('SIGCONT')
    await until('the end', async () => (await runsOf(two!).get('1'))?.state === 'broken')
  })

  t.test('without the rights to peek and to lease, the calls reject', async t => {
    await admin.acl('SETUSER', 'reader', 'on', '>secret', '~nothing:*', '&*', '+@all')
    const node = await serve(t, redis.client(t, { username: 'reader', password: 'secret' }))
    const runs = runsOf(node)
    const calls: Array<Promise<unknown>> = [runs.get('1'), runs.start('1', []), runs.stop('1'), node.app.sse.locate('a-1')]
    for (const call of calls) await t.rejects(call, { code: 'FST_SSE_LOG_UNAVAILABLE' })
  })
})

t.test('R11: runs and names in a cluster', { skip: absent(REDIS) }, async t => {
  const cluster = await RedisCluster.start(t, 3)
  const [one, two] = [await serve(t, cluster.client(t)), await serve(t, cluster.client(t))] as const
  const ids = Array.from({ length: 20 }, (_, n) => `{${n}}`)
  await Promise.all(ids.map(async id => {
    const answers = await Promise.all([one, two].map(async node => runsOf(node).start(id, [token('a')])))
    t.equal(answers.filter(({ started }) => started).length, 1)
    await until('the end', async () => (await runsOf(two).get(id))?.state === 'complete')
    const { id: position } = await answers[0]!.run.channel.position()
    t.strictSame(await two.app.sse.locate(position), [`job:${id}`])
  }))
})
