import Fastify from 'fastify'
import t from 'tap'
import sse, { EventQueue } from '../../lib/index.ts'
import { Sampler } from '../../lib/inspector/sampler.ts'
import { View } from '../../lib/inspector/view.ts'
import { injectStream } from '../../lib/testing.ts'

t.test('everything for those who come, and what changed for those who are there', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  const queues: Array<EventQueue> = []
  app.get('/queue', (_request, reply) => {
    const queue = new EventQueue({ capacity: 9 })
    queues.push(queue)
    return reply.sse(queue)
  })
  const census = new Sampler(app.sse, () => 0)
  const [one, other] = [await injectStream(app, '/queue'), await injectStream(app, '/queue')]
  const view = new View('', census.sample())
  t.match(view.whole, { whole: true, streams: { rows: [{ id: 1, events: 0 }, { id: 2, events: 0 }], gone: [], all: 2, matching: 2 }, channels: { rows: [], gone: [], all: 0 } })
  // Whose rate was one over its first milliseconds.
  view.change(census.sample())
  t.match(view.change(census.sample()), { whole: false, streams: { rows: [], gone: [], all: 2 } }, 'nothing happened')

  await queues[0]!.push({ data: 'x' })
  await one.take(1)
  await other.disconnect()
  app.sse.channel('news')
  const change = view.change(census.sample())
  t.match(change, { whole: false, streams: { rows: [{ id: 1, events: 1 }], gone: [2], all: 1 }, channels: { rows: [{ id: 'news' }], gone: [], all: 1 } })
  t.equal(change.streams.rows.length, 1)
  t.match(view.whole, { whole: true, streams: { rows: [{ id: 1, events: 1 }], gone: [] } })
  t.equal(new View('none of this', census.sample()).whole.streams.rows.length, 0)
  await one.disconnect()
})
