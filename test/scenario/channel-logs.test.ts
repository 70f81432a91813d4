import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { memoryLog, type ChannelOptions, type EventLogFactory, type RunsOptions } from '../../lib/index.ts'
import { redisLog } from '../../lib/redis.ts'
import { listen } from '../setup/listen.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { open } from '../setup/raw.ts'
import { RedisServer } from '../setup/redis.ts'
import { within } from '../setup/within.ts'

const events = { tick: Type.Integer() }
const tick = (data: number) => ({ event: 'tick' as const, data })

/** Starts a node that has the log of the registration and those of some channels. */
async function start (t: Test, eventLog?: EventLogFactory): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(sse, { eventLog })
  t.teardown(() => app.close())
  return app
}

t.test('R8: channels of one node beside channels of all nodes', { skip: absent(REDIS) }, async t => {
  const redis = await RedisServer.start(t)
  const nodes = await Promise.all([1, 2].map(async () => {
    const app = await start(t)
    const local = { events } satisfies ChannelOptions<typeof events>
    const shared = { events, eventLog: redisLog(redis.client(t)) } satisfies ChannelOptions<typeof events>
    const runs = { events, eventLog: shared.eventLog } satisfies RunsOptions<typeof events>
    const node = {
      app,
      local: app.sse.channel('local', local),
      shared: app.sse.channel('shared', shared),
      family: app.sse.channelFamily('job', shared),
      runs: app.sse.runs('run', runs)
    }
    app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse([node.local, node.shared]))
    return { ...node, port: await listen(t, app) }
  }))
  const [one, two] = nodes as [typeof nodes[0], typeof nodes[0]]

  const client = await open(two.port, { path: '/' })
  t.teardown(() => client.socket.destroy())
  await within('the position', client.until('sse.position'))
  const [own, common] = [await one.local.publish(tick(1)), await one.shared.publish(tick(2))]
  const received = await within('the shared event', client.until('data: 2\n'))
  await two.local.publish(tick(3))
  await within('the event of the node', client.until('data: 3\n'))
  t.notMatch(received, /data: 1\n/)

  t.strictSame(await two.app.sse.locate(common), ['shared'])
  t.strictSame(await one.app.sse.locate(`${own}.${common}`), ['local', 'shared'])
  t.strictSame(await two.app.sse.locate(own), [])

  await one.family.of('7').publish(tick(4))
  t.equal((await two.family.get('7'))?.name, 'job:7')
  const { started } = await one.runs.start('8', () => [tick(5)])
  t.equal(started, true)
  t.equal((await two.runs.get('8'))?.id, '8')
  t.equal((await two.runs.start('8', () => [tick(5)])).started, false)
})

t.test('R1: the log of a channel is part of its options', async t => {
  const app = await start(t)
  const eventLog = memoryLog()
  const channel = app.sse.channel('news', { eventLog })
  const { id } = await channel.position()
  t.equal(eventLog.locate?.(id.split('-')[0]!), 'news')
  t.equal(app.sse.channel('news', { eventLog }), channel)
  for (const options of [{}, { eventLog: memoryLog() }]) {
    t.throws(() => app.sse.channel('news', options), { code: 'FST_SSE_CHANNEL_OPTIONS', message: /'eventLog'/ })
  }
  for (const make of ['channel', 'channelFamily', 'runs'] as const) {
    t.throws(() => app.sse[make]('bad', { eventLog: 'redis' as unknown as EventLogFactory }), {
      code: 'FST_SSE_OPTION',
      message: "Option 'eventLog' must be a function that opens logs, such as memoryLog(), got \"redis\" (string)"
    })
  }
})

t.test('the log of the registration may also be given to the channel', async t => {
  const eventLog = memoryLog()
  const app = await start(t, eventLog)
  app.sse.channel('news', { eventLog })
  t.equal(app.sse.channel('news').name, 'news')
  t.equal(app.sse.channel('news', { eventLog }).name, 'news')
})

t.test('a feature that the log of a channel lacks rejects, whatever the log of the registration has', async t => {
  const app = await start(t)
  const full = memoryLog()
  const eventLog: EventLogFactory = (name, history) =>
    Object.assign(full(name, history), { peek: undefined, appendOnce: undefined })
  t.throws(() => app.sse.runs('run', { eventLog }), { code: 'FST_SSE_LOG_METHOD' })
  await t.rejects(app.sse.channelFamily('job', { eventLog }).get('1'), { code: 'FST_SSE_LOG_METHOD' })
  await t.rejects(app.sse.locate('abc-1'), { code: 'FST_SSE_LOG_METHOD' })
})

t.test('R6: app.sse.locate() finds the channel of a log while another log cannot answer', async t => {
  const app = await start(t)
  const eventLog = Object.assign(memoryLog(), { locate: () => { throw new Error('away') } })
  app.sse.channel('elsewhere', { eventLog })
  const { id } = await app.sse.channel('news').position()
  t.strictSame(await app.sse.locate(id), ['news'])
  await t.rejects(app.sse.locate('abc-1'), { message: 'away' })
})
