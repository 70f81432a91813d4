import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import type { Channel } from '../lib/channel/channel.ts'
import { Disconnections } from '../lib/disconnections.ts'
import sse, { type CloseReport, type RegisterOptions } from '../lib/index.ts'
import { redisLog } from '../lib/redis.ts'
import { listen } from './setup/listen.ts'
import { open, type RawClient } from './setup/raw.ts'
import { RedisServer } from './setup/redis.ts'
import { within } from './setup/within.ts'

interface Node { app: FastifyInstance, port: number, reports: CloseReport[] }

async function node (t: Test, options: RegisterOptions): Promise<Node> {
  const reports: CloseReport[] = []
  const app = Fastify()
  await app.register(sse, { ...options, onClose: report => reports.push(report) })
  app.get('/', (_request, reply) => reply.sse(app.sse.channel('news')))
  return { app, port: await listen(t, app), reports }
}

async function visit (port: number, user: string): Promise<RawClient> {
  const client = await open(port, { headers: { 'x-user': user } })
  await within('the opening', client.until(': live'))
  return client
}

const key = ({ headers }: FastifyRequest): string => headers['x-user'] as string

t.test('streams are ended by their key, or by what a function says of their request', async t => {
  const { app, port, reports } = await node(t, { limits: { key } })
  const [ann, too, bob, cid] = await Promise.all(['ann', 'ann', 'bob', 'cid'].map(user => visit(port, user)))
  t.equal(await app.sse.disconnect('ann', 'logged out'), 2)
  for (const client of [ann!, too!]) await within('why', client.until('"detail":"The stream was ended: logged out"'))
  t.equal(await app.sse.disconnect(request => key(request) === 'bob'), 1)
  await within('why', bob!.until('"detail":"The stream was ended: it is no longer permitted"'))
  t.equal(await app.sse.disconnect('ann'), 0)
  t.same(app.sse.streams().map(stream => stream.key), ['cid'])
  while (reports.length < 3) await turn()
  t.same(reports.map(({ reason }) => reason), ['revoked', 'revoked', 'revoked'])
  await t.rejects(app.sse.disconnect(() => { throw new Error('which?') }), { message: 'which?' })
  cid!.socket.destroy()
})

t.test('a key where streams have none is a mistake that is told', async t => {
  const { app } = await node(t, {})
  await t.rejects(app.sse.disconnect('ann'), { code: 'FST_SSE_KEYS' })
  t.equal(await app.sse.disconnect(() => true), 0)
})

t.test('R8: with a log that nodes share, a key is ended on all of them', async t => {
  const redis = await RedisServer.start(t)
  const nodes: Node[] = []
  for (let n = 0; n < 2; n++) nodes.push(await node(t, { limits: { key }, log: redisLog(redis.client(t)) }))
  const [here, there] = nodes as [Node, Node]
  const clients = await Promise.all(nodes.flatMap(({ port }) => ['ann', 'bob'].map(user => visit(port, user))))
  t.equal(await here.app.sse.disconnect('ann', 'logged out'), 1, 'how many were ended here')
  for (const client of [clients[0]!, clients[2]!]) await within('why', client.until('logged out'))
  for (const { app } of nodes) t.same(app.sse.streams().map(stream => stream.key), ['bob'])
  while (there.reports.length === 0) await turn()
  t.same(there.reports.map(({ reason }) => reason), ['revoked'])
  for (const { socket } of clients) socket.destroy()
})

t.test('other nodes are listened to again after the log gave up, or somebody ended the channel', async t => {
  const closing = new AbortController()
  const revoked: unknown[] = []
  const stream = { account: { key: 'ann', request: {} as FastifyRequest }, revoke: (why?: string) => { revoked.push(why) } }
  const logged: unknown[] = []
  let asked = 0
  const channel = {
    subscribe: async function * () {
      if (++asked === 1) throw new Error('away')
      if (asked === 2) return
      yield { event: 'sse.reset', data: {} }
      yield { event: 'disconnect', data: { key: 'bob' } }
      yield { event: 'disconnect', data: { key: 'ann', why: 'bye' } }
      closing.abort()
    }
  } as unknown as Channel
  const disconnections = new Disconnections({
    streams: { signal: closing.signal, [Symbol.iterator]: () => [stream].values() },
    keyed: true,
    openChannel: () => channel,
    log: { error: (line: unknown) => { logged.push(line) } } as unknown as FastifyBaseLogger
  })
  // Its pause does not keep a process: this does.
  const alive = setInterval(() => {}, 1_000)
  await within('the end', disconnections.follow(), 10_000)
  clearInterval(alive)
  t.same(revoked, ['bye'])
  t.match(logged, [{ err: { message: 'away' } }, { err: { code: 'FST_SSE_CHANNEL_ENDED' } }])
})
