import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import sse, { EventQueue } from '../../lib/index.ts'
import type { ChannelRow } from '../../lib/inspector/report.ts'
import { Sampler, type Sample, type SampledStream } from '../../lib/inspector/sampler.ts'
import { Changes, topChannels, topStreams, View } from '../../lib/inspector/view.ts'
import { injectStream } from '../../lib/testing.ts'

interface Values {
  route?: string
  url?: string
  key?: string
  ip?: string
  channel?: string
  stalled?: boolean
  lag?: number
  since?: number
}

function sampled (
  { route = 'GET /', url = '/', key, ip = '10.0.0.1', channel, stalled = false, lag = 0, since = 0 }: Values,
  id: number
): SampledStream {
  const channels = channel === undefined ? [] : [{ channel, lag }]
  return {
    stream: {
      request: { url, ip } as FastifyRequest,
      route,
      key,
      age: 0,
      events: 0,
      bytes: 0,
      stalled,
      lastEventId: undefined,
      channels,
      disconnect: () => {}
    },
    id,
    since,
    eventRate: 0,
    byteRate: 0,
    lag
  }
}

const sampleOf = (streams: Values[], channels: ChannelRow[] = []): Sample =>
  ({ streams: streams.map(sampled), channels }) as unknown as Sample
const idsOf = ({ rows }: { rows: ReadonlyArray<{ id: unknown }> }): unknown[] => rows.map(({ id }) => id)

t.test('a new viewer gets a full report, the others get the changes', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  const queues: Array<EventQueue> = []
  app.get('/queue', (_request, reply) => {
    const queue = new EventQueue({ capacity: 9 })
    queues.push(queue)
    return reply.sse(queue)
  })
  const sampler = new Sampler(app.sse, () => 0)
  const [one, other] = [await injectStream(app, '/queue'), await injectStream(app, '/queue')]
  const view = new View('', sampler.sample())
  t.match(view.full, {
    full: true,
    streams: { rows: [{ id: 1, events: 0 }, { id: 2, events: 0 }], removed: [], total: 2, matching: 2 },
    channels: { rows: [], removed: [], total: 0 }
  })
  // The rates of the first sample are over a few milliseconds.
  view.update(sampler.sample())
  t.match(view.update(sampler.sample()), { full: false, streams: { rows: [], removed: [], total: 2 } },
    'nothing changed')

  await queues[0]!.push({ data: 'x' })
  await one.take(1)
  await other.disconnect()
  app.sse.channel('news')
  const update = view.update(sampler.sample())
  t.match(update, {
    full: false,
    streams: { rows: [{ id: 1, events: 1 }], removed: [2], total: 1 },
    channels: { rows: [{ id: 'news' }], removed: [], total: 1 }
  })
  t.equal(update.streams.rows.length, 1)
  t.match(view.full, { full: true, streams: { rows: [{ id: 1, events: 1 }], removed: [] } })
  t.equal(new View('none of this', sampler.sample()).full.streams.rows.length, 0)
  await one.disconnect()
})

t.test('a row is reported when it is new, when it changes, and when it is removed', async t => {
  const changes = new Changes<{ id: number, events: number }>()
  t.strictSame(changes.since([{ id: 1, events: 0 }, { id: 2, events: 0 }]), {
    rows: [{ id: 1, events: 0 }, { id: 2, events: 0 }],
    removed: []
  })
  t.strictSame(changes.since([{ id: 2, events: 0 }, { id: 1, events: 1 }]), {
    rows: [{ id: 1, events: 1 }],
    removed: []
  })
  t.strictSame(changes.since([{ id: 1, events: 1 }, { id: 3, events: 0 }]), {
    rows: [{ id: 3, events: 0 }],
    removed: [2]
  })
  t.strictSame(changes.since([]), { rows: [], removed: [1, 3] })
})

t.test('streams are sorted by stalled, lag and age', async t => {
  t.strictSame(
    idsOf(topStreams(sampleOf([{ since: 5 }, { since: 4 }, { lag: 2 }, { lag: 9 }, { stalled: true, since: 6 }]), '')),
    [4, 3, 2, 1, 0]
  )
})

t.test('at most 200 streams are shown, and all are counted', async t => {
  const { rows, total, matching } = topStreams(
    sampleOf(Array.from({ length: 1_000 }, (_, n) => ({ key: `user-${n}` }))),
    ''
  )
  t.equal(rows.length, 200)
  t.strictSame({ total, matching }, { total: 1_000, matching: 1_000 })
  t.match(topStreams(sampleOf(Array.from({ length: 1_000 }, (_, n) => ({ key: `user-${n}` }))), 'user-999'), {
    rows: [{ key: 'user-999' }],
    total: 1_000,
    matching: 1
  })
})

t.test('a filter matches part of the route, path, key, address or a channel, in upper or lower case', async t => {
  const streams = sampleOf([{ route: 'GET /prices/:symbol' }, { url: '/prices/ABC?token=secret' }, { key: 'Alice' }, {
    ip: '192.0.2.1'
  }, { channel: 'chat lobby' }])
  for (const [filter, id] of [[':SYMBOL', 0], ['abc', 1], ['alice', 2], ['192.', 3], ['lobby', 4]] as const) {
    t.strictSame(idsOf(topStreams(streams, filter)), [id], filter)
  }
  t.strictSame(idsOf(topStreams(streams, 'secret')), [], 'the query is not searched')
})

t.test('channels are sorted by lagging subscribers, event rate and subscribers', async t => {
  const row = (id: string, lagging: number, rate: number, subscribers: number): ChannelRow => ({
    id,
    lagging,
    rate,
    subscribers,
    newest: 0
  })
  const channels = [row('d', 0, 0, 1), row('c', 0, 0, 2), row('b', 0, 5, 0), row('a', 1, 0, 0)]
  t.strictSame(topChannels(sampleOf([], channels), '').rows.map(({ id }) => id), ['a', 'b', 'c', 'd'])
  t.match(topChannels(sampleOf([], channels), 'B'), { rows: [{ id: 'b' }], total: 4, matching: 1 })
  t.equal(topChannels(sampleOf([], Array.from({ length: 500 }, (_, n) => row(String(n), 0, 0, 0))), '').rows.length,
    100)
})
