import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type ChannelOptions, type EventLogFactory } from '../../lib/index.ts'
import { postgresLog } from '../../lib/postgres.ts'
import { redisLog } from '../../lib/redis.ts'
import { listen } from '../setup/listen.ts'
import { PostgresServer } from '../setup/postgres.ts'
import { absent, POSTGRES, REDIS } from '../setup/programs.ts'
import { open, type RawClient } from '../setup/raw.ts'
import { RedisServer } from '../setup/redis.ts'
import { until } from '../setup/until.ts'
import { faultsOf, visits } from '../setup/visits.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)
t.jobs = 2

const LEASE = 1_000
const VISITS = 50
const options = { leaseDuration: LEASE, history: { maxEvents: 10_000 } } satisfies ChannelOptions

interface Node { app: FastifyInstance, port: number }

/** A log for this process, and the program of another process that opens it. */
interface Store { open: (t: Test) => EventLogFactory, program: string }

const lib = (name: string): string => JSON.stringify(pathToFileURL(`lib/${name}.ts`).href)

async function serve (t: Test, eventLog: EventLogFactory): Promise<Node> {
  const app = Fastify()
  await app.register(sse, { eventLog })
  const room = app.sse.channel('room', options)
  app.get<{ Querystring: { as: string } }>('/room', (request, reply) =>
    reply.sse(room.subscribe({ as: request.query.as })))
  app.get('/who', (_request, reply) => reply.sse(room.presence))
  return { app, port: await listen(t, app) }
}

const roomOf = ({ app }: Node) => app.sse.channel('room', options)

async function connect (t: Test, node: Node, path: string): Promise<RawClient> {
  const client = await open(node.port, { path })
  t.teardown(() => client.socket.destroy())
  await within('the start', client.until('live\n'))
  return client
}

const present = (node: Node, ...members: string[]): Promise<void> =>
  until(`the members ${members.join()}`, async () => (await roomOf(node).members()).join() === members.join())

/** A process with those members in loops. Resolves when they are present. */
async function other (t: Test, { program }: Store, members: string[]): Promise<ChildProcess> {
  const text = `
    import Fastify from 'fastify'
    import sse from ${lib('index')}
    ${program}
    const app = Fastify()
    await app.register(sse, { eventLog })
    const room = app.sse.channel('room', ${JSON.stringify(options)})
    const members = ${JSON.stringify(members)}
    for (const as of members) (async () => { for await (const event of room.subscribe({ as })); })()
    while (!members.every((list => as => list.includes(as))(await room.members()))) {
      await new Promise(resolve => setTimeout(resolve, 10))
    }
    process.send('present')
    process.once('disconnect', () => process.exit())
  `
  const child = spawn(process.execPath,
    ['--import', './test/setup/typescript.js', '--input-type=module', '--eval', text],
    { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  t.teardown(() => child.kill('SIGKILL'))
  await within('the members', once(child, 'message'))
  return child
}

async function check (t: Test, store: Store): Promise<void> {
  const one = await serve(t, store.open(t))
  const page = await connect(t, one, '/who')
  const child = await other(t, store, ['a', 'b', 'both'])
  const [two, three] = [await serve(t, store.open(t)), await serve(t, store.open(t))]
  const clients = await Promise.all(['both', 'c'].map(member => connect(t, two, `/room?as=${member}`)))
  await present(one, 'a', 'b', 'both', 'c')
  await pause(LEASE * 1.5)
  await present(one, 'a', 'b', 'both', 'c')

  const killed = performance.now()
  child.kill('SIGKILL')
  await within('the leave', page.until('event: leave'))
  const waited = performance.now() - killed
  // The last renewal may be a third of the lease before the kill. The machine of a test may be slow.
  t.ok(waited > LEASE / 2, `${waited} ms, not before the lease ends`)
  t.ok(waited < LEASE * 4 / 3 + 3_000, `${waited} ms`)
  await present(one, 'both', 'c')

  for (const client of clients) client.socket.destroy()
  await present(one)
  const again = await connect(t, two, '/room?as=d')
  await present(one, 'd')
  await two.app.close()
  t.strictSame(await roomOf(one).members(), [])
  await again.closed

  await visits([one.port, three.port], VISITS, 3)
  await present(one)
  await present(three)
  await connect(t, three, '/room?as=last')
  const changes: string[] = []
  for await (const { event, data } of roomOf(one).presence.subscribe({ start: 'earliest' })) {
    changes.push(`${String(event)} ${(data as { member: string }).member}`)
    if (changes.at(-1) === 'join last') break
  }
  t.strictSame(faultsOf(changes.slice(0, -1)), [])
  const killedMembers = changes.filter(change => /^\w+ (a|b|both)$/.test(change))
  t.strictSame(killedMembers.toSorted(), ['a', 'b', 'both'].flatMap(member => [`join ${member}`, `leave ${member}`])
    .toSorted(), 'one leave for each')
  await page.until('"last"')
  const frames = page.frames().map(frame => /event: (\w+)\n.*"member":"(\w+)"/s.exec(frame)?.slice(1).join(' '))
  t.strictSame(frames.filter(Boolean), changes, 'in one order')
}

t.test('presence on four nodes with one Redis: a node that is killed leaves', { skip: absent(REDIS) }, async t => {
  const redis = await RedisServer.start(t)
  await check(t, {
    open: t => redisLog(redis.client(t)),
    program: `
      import { Redis } from 'ioredis'
      import { redisLog } from ${lib('redis')}
      const eventLog = redisLog(new Redis(${redis.port}, '127.0.0.1'))
    `
  })
})

t.test('presence on four nodes with one PostgreSQL: a node that is killed leaves', { skip: absent(POSTGRES) }, async t => {
  const postgres = await PostgresServer.start(t)
  await check(t, {
    open: t => postgresLog(postgres.pool(t)),
    program: `
      import pg from 'pg'
      import { postgresLog } from ${lib('postgres')}
      const eventLog = postgresLog(new pg.Pool({ host: '127.0.0.1', port: ${postgres.port}, user: 'postgres' }))
    `
  })
})
