import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { EventQueue, type PublishEventOf, type RegisterOptions } from '../../lib/index.ts'
import { injectStream } from '../../lib/testing.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

const events = { token: Type.String(), done: Type.Object({ reason: Type.String() }) }
type Event = PublishEventOf<typeof events>
const options = { events, leaseDuration: 300 }

async function make (t: Test, register: RegisterOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(sse, register)
  const runs = app.sse.runs('job', options)
  app.get<{ Params: { id: string } }>('/jobs/:id', { schema: { sse: events } },
    async (request, reply) => reply.sse(await runs.follow(request.params.id)))
  t.teardown(() => app.close())
  return app
}

async function * tokens (...all: string[]): AsyncGenerator<Event> {
  for (const data of all) yield { event: 'token', data }
}

t.test('R11: a run starts once, and streams to each client from its first event', async t => {
  const app = await make(t)
  const runs = app.sse.runs('job', options)
  t.equal((await app.inject('/jobs/1')).statusCode, 204)
  const { run, started } = await runs.start('1', tokens('a', 'b'))
  t.equal(started, true)
  t.match(run, { id: '1', state: 'running', channel: { name: 'job:1' } })
  const body = (await app.inject('/jobs/1')).body
  t.match(body, /data: a\n\n.*data: b\n\n/s)
  await until('the end', async () => (await runs.get('1'))?.state === 'complete')
  const again = await runs.start('1', tokens('c'))
  t.equal(again.started, false)
  t.equal(again.run.state, 'complete')
  const id = /.*^id: (\S+)$/ms.exec(body)![1]!
  t.equal((await app.inject({ url: '/jobs/1', headers: { 'last-event-id': id } })).statusCode, 204)
  t.strictSame(await app.sse.locate(id), ['job:1'])
})

t.test('R11: stop', async t => {
  const app = await make(t)
  const runs = app.sse.runs('job', options)
  t.equal(await runs.stop('1'), false)
  const queue = new EventQueue<typeof events, Event>()
  let reason: unknown
  await runs.start('1', async function * ({ signal }) {
    try {
      yield * queue
    } finally {
      reason = signal.reason
    }
  })
  const stream = await injectStream(app, '/jobs/1')
  await queue.push({ event: 'token', data: 'a' })
  t.match(await stream.take(1), [{ data: 'a' }])
  await t.rejects(runs.stop('1', { event: 'done', data: {} } as Event), { code: 'FST_SSE_DATA' })
  t.equal(await runs.stop('1', { event: 'done', data: { reason: 'enough' } }), true)
  t.match(await stream.take(1), [{ data: '{"reason":"enough"}' }])
  queue.end()
  await within('stop', until('the reason', () => reason !== undefined))
  t.match(reason, { reason: 'channel-ended' })
  t.equal((await runs.get('1'))?.state, 'stopped')
  t.equal(await runs.stop('1'), false)
})
