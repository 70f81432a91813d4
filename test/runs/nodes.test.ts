import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { EventQueue, type PublishEventOf } from '../../lib/index.ts'
import { redisLog } from '../../lib/redis.ts'
import { injectStream } from '../../lib/testing.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'

const events = { token: Type.String() }
type Event = PublishEventOf<typeof events>
const options = { events, leaseDuration: 600 }

t.test('runs on three nodes with Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const admin = server.client(t)
  const node = async (t: Test): Promise<FastifyInstance> => {
    const app = Fastify()
    await app.register(sse, { eventLog: redisLog(server.client(t)) })
    const runs = app.sse.runs('job', options)
    app.get<{ Params: { id: string } }>('/jobs/:id', { schema: { sse: events } },
      async (request, reply) => reply.sse(await runs.follow(request.params.id)))
    t.teardown(() => app.close())
    return app
  }
  t.test('basic', async t => {
    const [one, two, three] = [await node(t), await node(t), await node(t)]
    t.equal((await two.inject('/jobs/1')).statusCode, 204)
    t.equal(await three.sse.runs('job', options).stop('1'), false)
    t.strictSame(await admin.keys('*job*'), [])
    const queue = new EventQueue<typeof events, Event>()
    let starts = 0
    const source = () => { starts++; return queue }
    const all = await Promise.all(Array.from({ length: 100 }, (_, n) => [one, two, three][n % 3]!.sse.runs('job', options).start('1', source)))
    t.equal(all.filter(({ started }) => started).length, 1)
    const streams = await Promise.all([one, two, three].map(app => injectStream(app, '/jobs/1')))
    await queue.push({ event: 'token', data: 'a' })
    let id = ''
    for (const stream of streams) {
      const [first] = await stream.take(1)
      t.equal(first?.data, 'a')
      id = String(first?.id)
    }
    for (const app of [one, two, three]) t.strictSame(await app.sse.locate(id), ['job:1'])
    t.equal(await three.sse.runs('job', options).stop('1', { event: 'token', data: 'end' }), true)
    for (const stream of streams) t.match(await stream.take(1), [{ data: 'end' }])
    for (const app of [one, two, three]) t.equal((await app.sse.runs('job', options).get('1'))?.state, 'stopped')
    t.equal(starts, 1)
  })
})
