import type { FastifyRequest } from 'fastify'
import t from 'tap'
import type { OpenStream } from '../../lib/server/sse-server.ts'
import { Sampler, streamRow } from '../../lib/inspector/sampler.ts'
import { Statistics, type ChannelStats } from '../../lib/metrics/statistics.ts'

const requestOf = (url: string, ip?: string): FastifyRequest => ({ url, ip, id: 'req-1' }) as FastifyRequest

interface FakeStream extends Omit<OpenStream, 'age' | 'events' | 'bytes'> { age: number, events: number, bytes: number }

const streamOf = (request: FastifyRequest, values: Partial<FakeStream> = {}): FakeStream => ({
  request,
  route: 'GET /news',
  key: undefined,
  age: 2_000,
  events: 0,
  bytes: 0,
  stalled: false,
  lastEventId: undefined,
  channels: [],
  disconnect: () => {},
  ...values
})

/** A sampler of a fake server, whose streams and channels the test sets. */
function make () {
  const statistics = new Statistics()
  const server = { streams: [] as FakeStream[], channels: [] as ChannelStats[] }
  const own = new Map<string, number>()
  const sampler = new Sampler({
    stats: () => statistics.snapshot([], server.channels.length),
    streams: () => server.streams,
    channels: () => server.channels
  }, name => own.get(name) ?? 0)
  return { sampler, statistics, server, own }
}

t.test('a stream keeps its id while it is open, even if another has the same request id', async t => {
  const { sampler, server } = make()
  const [one, other] = [requestOf('/one'), requestOf('/other')]
  server.streams = [streamOf(one), streamOf(other)]
  t.strictSame(sampler.sample().streams.map(({ id }) => id), [1, 2])
  server.streams = [streamOf(other), streamOf(one), streamOf(requestOf('/third'))]
  t.strictSame(sampler.sample().streams.map(({ id }) => id), [2, 1, 3])
  t.equal(sampler.find(1)?.request, one)
  server.streams = [streamOf(other)]
  t.equal(sampler.find(1), undefined, 'it is closed')
  t.equal(sampler.find(NaN), undefined)
})

t.test('the rate of a stream is over its age at first, then over the time since the last sample', async t => {
  const { sampler, server } = make()
  const stream = streamOf(requestOf('/'), { events: 20, bytes: 4_000 })
  server.streams = [stream]
  const [first] = sampler.sample().streams
  t.match(first, { eventRate: 10, byteRate: 2_000 })
  t.ok(Math.abs(Date.now() - 2_000 - first!.since) < 1_000)
  const [second] = sampler.sample().streams
  t.match(second, { eventRate: 0, byteRate: 0, since: first!.since })
  stream.events = 30
  t.ok(sampler.sample().streams[0]!.eventRate > 10)
})

t.test('totals have rates from the second sample on', async t => {
  const { sampler, statistics } = make()
  const counters = statistics.route('GET /news')
  counters.opened()
  counters.closed({ reason: 'client', events: 5, bytes: 500 })
  statistics.published = 5
  statistics.latency.record(0.3)
  statistics.latency.record(0.4)
  statistics.latency.record(9_999)
  const { totals } = sampler.sample()
  t.match(totals, {
    open: 0,
    opened: 1,
    events: 5,
    eventRate: 0,
    bytes: 500,
    byteRate: 0,
    published: 5,
    publishRate: 0,
    closed: { client: 1, error: 0 },
    rejected: { maxStreams: 0, maxStreamsPerKey: 0, closing: 0 }
  })
  t.equal(totals.latency.bounds.length, totals.latency.counts.length - 1)
  t.strictSame(
    totals.latency.counts.map((count, n) => [totals.latency.bounds[n], count]).filter(([, count]) => count! > 0),
    [[0.5, 2], [undefined, 1]],
    'buckets are not cumulative'
  )
  statistics.published = 10
  t.ok(sampler.sample().totals.publishRate > 0)
})

t.test('subscribers of the inspector itself are not counted', async t => {
  const { sampler, server, own } = make()
  own.set('news', 2)
  server.channels = [
    { name: 'news', subscribers: 3, lagging: 2, newest: 700 },
    { name: 'quiet', subscribers: 0, lagging: 0, newest: 0 }
  ]
  t.strictSame(sampler.sample().channels, [
    { id: 'news', subscribers: 1, lagging: 1, newest: 700, rate: 0 },
    { id: 'quiet', subscribers: 0, lagging: 0, newest: 0, rate: 0 }
  ], 'entries from before the first sample are no rate')
  server.channels = [
    { name: 'news', subscribers: 3, lagging: 0, newest: 710 },
    { name: 'quiet', subscribers: 0, lagging: 0, newest: -1 }
  ]
  const [news, quiet] = sampler.sample().channels
  t.ok(news!.rate > 0)
  t.equal(quiet!.rate, 0, 'the rate of a restarted log is not negative')
})

t.test('a row has the properties of the stream, and no query', async t => {
  const { sampler, server } = make()
  server.streams = [
    streamOf(requestOf('/news?token=secret', '10.0.0.7'), {
      key: 'alice',
      stalled: true,
      channels: [{ channel: 'a', lag: 3 }, { channel: 'b', lag: 4 }]
    }),
    streamOf(requestOf('/x'.repeat(200)))
  ]
  const [one, other] = sampler.sample().streams.map(streamRow)
  t.match(one, {
    id: 1,
    route: 'GET /news',
    path: '/news',
    key: 'alice',
    ip: '10.0.0.7',
    lag: 7,
    stalled: true,
    channels: 'a, b'
  })
  t.match(other, { path: '/x'.repeat(100) + '…', key: null, ip: null, lag: 0, channels: '' },
    'without a connection there is no address')
})
