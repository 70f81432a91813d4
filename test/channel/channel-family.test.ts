import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { memoryLog } from '../../lib/index.ts'

const events = { step: Type.Integer() }

async function make (t: Test): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  return app
}

t.test('the channels of a family share its options, and have a name each', async t => {
  const app = await make(t)
  const options = { events, start: 'earliest' as const }
  const jobs = app.sse.channelFamily('job', options)
  t.equal(jobs.name, 'job')
  t.equal(jobs.nameOf('1:a'), 'job:1:a')
  const one = jobs.of('1')
  t.equal(one.name, 'job:1')
  t.equal(jobs.of('1'), one)
  t.equal(app.sse.channel('job:1', options), one)
  t.not(jobs.of('2'), one)
  await one.publish({ event: 'step', data: 1 })
  await t.rejects(one.publish({ event: 'step', data: 'x' as never }), { code: 'FST_SSE_DATA' })
  app.get('/1', { schema: { sse: events } }, (_request, reply) => reply.sse(jobs.of('1')))
  await one.end({ event: 'step', data: 2 })
  t.match((await app.inject('/1')).body, /data: 1\n\n.*data: 2\n\n$/s)
  t.match(await app.sse.channelFamily('free').of('x').publish({ event: 'any', data: {} }), /-1$/)
})

t.test('get() returns a channel that has had an event, or has ended, and creates none', async t => {
  const app = await make(t)
  const jobs = app.sse.channelFamily('job', { events })
  t.equal(await jobs.get('1'), undefined)
  t.strictSame(app.sse.channels(), [])
  const one = jobs.of('1')
  t.equal(await jobs.get('1'), undefined, 'a channel without events')
  await one.publish({ event: 'step', data: 1 })
  t.equal(await jobs.get('1'), one)
  await jobs.of('2').end()
  t.equal(await jobs.get('2'), jobs.of('2'))
  await t.rejects(jobs.get(''), { code: 'FST_SSE_OPTION' })
  await app.close()
  await t.rejects(jobs.get('1'), { code: 'FST_SSE_CLOSING' })
})

t.test('get() needs a log with peek()', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const open = memoryLog()
  await app.register(sse, { eventLog: (name, history) => Object.assign(open(name, history), { peek: undefined }) })
  await t.rejects(app.sse.channelFamily('job').get('1'), { code: 'FST_SSE_LOG_METHOD', message: /peek\(\)/ })
})

t.test('E1: a name with a colon, a reserved one, an id that makes no name, and bad options have codes', async t => {
  const app = await make(t)
  const jobs = app.sse.channelFamily('job')
  for (const id of ['', 'a\nb', 'x'.repeat(509), '\udc00', 7 as never, null as never, Symbol('x') as never, Object.create(null)]) {
    for (const call of [() => jobs.of(id), () => jobs.nameOf(id)]) {
      t.throws(call, {
        code: 'FST_SSE_OPTION',
        message: /^Option 'id' must be a string of 1 to 508 characters without control characters, got /
      })
    }
  }
  t.equal(jobs.nameOf('x'.repeat(508)).length, 512)
  for (const name of ['a:b', ':', '', 'sse.x', 'x'.repeat(513), 7 as never]) {
    t.throws(() => app.sse.channelFamily(name), { code: 'FST_SSE_OPTION', message: /^Option 'name' must be / })
  }
  t.throws(() => app.sse.channelFamily('a', { start: 'now' as never }), { code: 'FST_SSE_OPTION' })
  t.throws(() => app.sse.channelFamily('a', null as never), { code: 'FST_SSE_OPTION' })
  t.throws(() => app.sse.channelFamily('a', { events: {} }), {
    code: 'FST_SSE_MAP',
    message: "channel family 'a': the events must map names to schemas: got no event"
  })
})
