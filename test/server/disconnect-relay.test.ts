import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { DisconnectRelay } from '../../lib/server/disconnect-relay.ts'
import sse, { type CloseReport, type RegisterOptions } from '../../lib/index.ts'
import type { EventLog } from '../../lib/log/log.ts'
import { redisLog } from '../../lib/redis.ts'
import { listen } from '../setup/listen.ts'
import { open, type RawClient } from '../setup/raw.ts'
import { RedisServer } from '../setup/redis.ts'
import { RemoteLog } from '../setup/remote-log.ts'
import { within } from '../setup/within.ts'

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

t.test('streams are ended by their key, or by a predicate of their request', async t => {
  const { app, port, reports } = await node(t, { limits: { keyGenerator: key } })
  const [ann, too, bob, cid] = await Promise.all(['ann', 'ann', 'bob', 'cid'].map(user => visit(port, user)))
  t.equal(await app.sse.disconnect('ann', 'logged out'), 2)
  for (const client of [ann!, too!]) {
    await within('the reason', client.until('"detail":"The stream was ended: logged out"'))
  }
  t.equal(await app.sse.disconnect(request => key(request) === 'bob'), 1)
  await within('the reason', bob!.until('"detail":"The stream was ended: it is no longer permitted"'))
  t.equal(await app.sse.disconnect('ann'), 0)
  t.same(app.sse.streams().map(stream => stream.key), ['cid'])
  while (reports.length < 3) await turn()
  t.same(reports.map(({ reason }) => reason), ['revoked', 'revoked', 'revoked'])
  await t.rejects(app.sse.disconnect(() => { throw new Error('which?') }), { message: 'which?' })
  cid!.socket.destroy()
})

t.test('a key rejects with FST_SSE_NO_KEY if streams have none', async t => {
  const { app } = await node(t, {})
  await t.rejects(app.sse.disconnect('ann'), { code: 'FST_SSE_NO_KEY' })
  t.equal(await app.sse.disconnect(() => true), 0)
})

t.test('R8: with a shared event log, a key is ended on all nodes', async t => {
  const redis = await RedisServer.start(t)
  const nodes: Node[] = []
  for (let n = 0; n < 2; n++) {
    nodes.push(await node(t, { limits: { keyGenerator: key }, eventLog: redisLog(redis.client(t)) }))
  }
  const [here, there] = nodes as [Node, Node]
  const clients = await Promise.all(nodes.flatMap(({ port }) => ['ann', 'bob'].map(user => visit(port, user))))
  t.equal(await here.app.sse.disconnect('ann', 'logged out'), 1, 'how many were ended here')
  for (const client of [clients[0]!, clients[2]!]) await within('the reason', client.until('logged out'))
  for (const { app } of nodes) t.same(app.sse.streams().map(stream => stream.key), ['bob'])
  while (there.reports.length === 0) await turn()
  t.same(there.reports.map(({ reason }) => reason), ['revoked'])
  for (const { socket } of clients) socket.destroy()
})

/** A node's part in it, with streams of the test's making. */
function partOf (t: Test, keys: Array<string | undefined>, log?: EventLog) {
  const revoked: Array<[key: string | undefined, reason: string | undefined]> = []
  const lines: unknown[] = []
  const streams = keys.map(key => ({
    record: { key, request: {} as FastifyRequest },
    revoke: (reason?: string) => {
      revoked.push([key, reason])
    }
  }))
  const disconnectRelay = new DisconnectRelay({
    streams,
    keyed: true,
    eventLog: log === undefined ? undefined : () => log,
    log: { error: (...line: unknown[]) => { lines.push(line) } } as unknown as FastifyBaseLogger
  })
  t.teardown(() => disconnectRelay.close())
  return { disconnectRelay, revoked, lines }
}

t.test('a value that is no key is rejected and matches no stream, also no stream without a key', async t => {
  const log = new RemoteLog()
  const { disconnectRelay, revoked } = partOf(t, [undefined, undefined, 'ann', '', '5', 'null', 'undefined'], log)
  for (const target of [undefined, null, 5, true, {}, ['ann'], Symbol('ann'), Object('ann')]) {
    await t.rejects(disconnectRelay.disconnect(target as string), {
      code: 'FST_SSE_OPTION',
      message: /^Option 'target' must be a key, which is a string, or a function of the request, got /
    })
  }
  for (const reason of [null, 5, new Error('reason')]) {
    for (const target of ['ann', () => true]) {
      await t.rejects(disconnectRelay.disconnect(target, reason as unknown as string), {
        code: 'FST_SSE_OPTION',
        message: /^Option 'reason' must be a string, got /
      })
    }
  }
  t.strictSame(revoked, [])
  t.equal(log.now.newest, 0, 'no message is sent')
  t.equal(await disconnectRelay.disconnect('', 'none'), 1)
  t.strictSame(revoked, [['', 'none']], 'an empty key is a key')
})

t.test('a predicate that returns no boolean ends no stream', async t => {
  const { disconnectRelay, revoked } = partOf(t, ['ann', 'bob'])
  let calls = 0
  for (const answer of [Promise.resolve(false), Promise.reject(new Error('mine')), undefined, null, 0, 'yes', {}]) {
    // Also where the first answer is one.
    const target = (): boolean => calls++ % 2 === 0 || answer as unknown as boolean
    await t.rejects(disconnectRelay.disconnect(target), {
      code: 'FST_SSE_OPTION',
      message: /^Option 'target' must be a function that returns true or false, got one that returns /
    })
  }
  t.strictSame(revoked, [])
  t.equal(await disconnectRelay.disconnect(() => true), 2)
})

t.test('R10: a message of the event log is checked like a call: a malformed one ends no stream and delays no other', async t => {
  const log = new RemoteLog()
  const { disconnectRelay, revoked, lines } = partOf(t, [undefined, 'ann', 'bob'], log)
  disconnectRelay.start()
  await turn()
  const bad = ['{', '', 'null', '7', '"ann"', '[]', '{}', '{"key":null}', '{"key":7}', '{"reason":"gone"}',
    '{"key":"ann","reason":7}', '{"key":"ann","reason":null}']
  for (const data of bad) log.append({ event: 'disconnect', data, json: true })
  log.append({ event: 'of a later version', data: '{', json: true })
  log.append({ event: 'disconnect', data: '{"key":"bob","more":1}', json: true })
  log.append({ event: 'disconnect', data: '{"key":"ann","reason":"bye"}', json: true })
  while (revoked.length < 2) await turn()
  t.strictSame(revoked, [['bob', undefined], ['ann', 'bye']])
  t.equal(lines.length, bad.length)
  t.strictSame(lines.map(line => (line as [unknown, string])[1]),
    bad.map(() => 'sse message of another node is malformed'))
})

t.test('L7: after close no message is sent, and an event log that cannot be closed is logged', async t => {
  const log = new RemoteLog()
  const error = new Error('not now')
  const { disconnectRelay, revoked, lines } = partOf(t, ['ann'], Object.assign(log, { close: () => { throw error } }))
  disconnectRelay.start()
  disconnectRelay.close()
  t.strictSame(lines, [[{ err: error }, 'sse log failed']])
  await t.rejects(disconnectRelay.disconnect('ann'), { code: 'FST_SSE_CLOSING' })
  t.strictSame(revoked, [['ann', undefined]], 'the streams of this node are ended')
  t.equal(log.now.newest, 0)
  t.equal(await partOf(t, ['ann']).disconnectRelay.disconnect('ann'), 1, 'a node without others needs no log')
})

t.test('R10: the messages of nodes are in no channel, no statistics and no diagnostics channel', async t => {
  const redis = await RedisServer.start(t)
  const nodes: Node[] = []
  for (let n = 0; n < 2; n++) {
    nodes.push(await node(t, { limits: { keyGenerator: key }, eventLog: redisLog(redis.client(t)) }))
  }
  const [here, there] = nodes as [Node, Node]
  const told: unknown[] = []
  const listener = (message: unknown): void => { told.push(message) }
  subscribe('fastify-typed-sse:publish', listener)
  t.teardown(() => unsubscribe('fastify-typed-sse:publish', listener))
  const client = await visit(there.port, 'ann')
  await here.app.sse.disconnect('ann', 'logged out')
  await within('the reason', client.until('logged out'))
  for (const { app } of nodes) {
    for (const ask of [() => app.sse.channel('sse.control'), () => app.sse.find('sse.control')]) {
      t.throws(ask, { code: 'FST_SSE_OPTION', message: /reserved/ })
    }
    t.notOk(app.sse.channels().some(({ name }) => name === 'sse.control'))
    t.equal(app.sse.stats().published, 0)
  }
  t.strictSame(told, [])
  client.socket.destroy()
})

t.test('R8: a node continues after a malformed message in Redis, and receives messages that were sent while Redis was away', async t => {
  const redis = await RedisServer.start(t, '--appendonly', 'yes', '--appendfsync', 'always')
  const again = { retryStrategy: () => 20 }
  const clients = [redis.client(t, again), redis.client(t, again)]
  const [here, there] = [await node(t, { limits: { keyGenerator: key }, eventLog: redisLog(clients[0]!) }),
    await node(t, { limits: { keyGenerator: key }, eventLog: redisLog(clients[1]!) })]
  const [ann, bob, cid] = await Promise.all(['ann', 'bob', 'cid'].map(user => visit(there.port, user)))
  const foreign = redisLog(redis.client(t, again))('sse.control', {
    maxEvents: 1_000,
    maxBytes: 1_048_576,
    maxAge: 300_000
  })
  for (const data of ['{', '{"key":null}', 'null']) await foreign.append({ event: 'disconnect', data, json: true })
  t.equal(await here.app.sse.disconnect('ann', 'logged out'), 0)
  await within('the reason', ann!.until('logged out'))
  await redis.kill()
  await redis.start()
  t.equal(await here.app.sse.disconnect('bob', 'logged out'), 0)
  await within('the reason', bob!.until('logged out'))
  t.same(there.app.sse.streams().map(stream => stream.key), ['cid'])
  foreign.close()
  for (const { socket } of [ann!, bob!, cid!]) socket.destroy()
})
