import type { FastifyRequest } from 'fastify'
import t from 'tap'
import type { OpenStream } from '../../lib/server/sse-server.ts'
import { Sampler, rowOf } from '../../lib/inspector/sampler.ts'
import { Statistics, type ChannelStats } from '../../lib/metrics/statistics.ts'

const requestOf = (url: string, ip?: string): FastifyRequest => ({ url, ip, id: 'req-1' }) as FastifyRequest

interface Faked extends Omit<OpenStream, 'age' | 'events' | 'bytes'> { age: number, events: number, bytes: number }

const streamOf = (request: FastifyRequest, given: Partial<Faked> = {}): Faked => ({
  request, route: 'GET /news', key: undefined, age: 2_000, events: 0, bytes: 0, stalled: false, lastEventId: undefined, channels: [], disconnect: () => {}, ...given
})

/** A server that says what a test has it say. */
function make () {
  const statistics = new Statistics()
  const said = { streams: [] as Faked[], channels: {} as Record<string, ChannelStats> }
  const own = new Map<string, number>()
  const census = new Sampler({
    stats: () => statistics.snapshot([], said.channels),
    streams: () => said.streams
  }, name => own.get(name) ?? 0)
  return { census, statistics, said, own }
}

t.test('a stream keeps its number while it is open, also where others have the same request id', async t => {
  const { census, said } = make()
  const [one, other] = [requestOf('/one'), requestOf('/other')]
  said.streams = [streamOf(one), streamOf(other)]
  t.strictSame(census.sample().streams.map(({ id }) => id), [1, 2])
  said.streams = [streamOf(other), streamOf(one), streamOf(requestOf('/third'))]
  t.strictSame(census.sample().streams.map(({ id }) => id), [2, 1, 3])
  t.equal(census.find(1)?.request, one)
  said.streams = [streamOf(other)]
  t.equal(census.find(1), undefined, 'it is over')
  t.equal(census.find(NaN), undefined)
})

t.test('the rate of a stream is one over its age at first, and then over the time since the last look', async t => {
  const { census, said } = make()
  const stream = streamOf(requestOf('/'), { events: 20, bytes: 4_000 })
  said.streams = [stream]
  const [first] = census.sample().streams
  t.match(first, { eventRate: 10, byteRate: 2_000 })
  t.ok(Math.abs(Date.now() - 2_000 - first!.since) < 1_000)
  const [second] = census.sample().streams
  t.match(second, { eventRate: 0, byteRate: 0, since: first!.since })
  stream.events = 30
  t.ok(census.sample().streams[0]!.eventRate > 10)
})

t.test('totals come with their rates, which begin with the second look', async t => {
  const { census, statistics } = make()
  const tally = statistics.route('GET /news')
  tally.opened()
  tally.closed({ reason: 'client', events: 5, bytes: 500 })
  statistics.published = 5
  statistics.latency.record(0.3)
  statistics.latency.record(0.4)
  statistics.latency.record(9_999)
  const { totals } = census.sample()
  t.match(totals, { open: 0, opened: 1, events: 5, eventRate: 0, bytes: 500, byteRate: 0, published: 5, publishRate: 0, closed: { client: 1, error: 0 }, rejected: { maxStreams: 0, maxStreamsPerKey: 0, closing: 0 } })
  t.equal(totals.latency.bounds.length, totals.latency.counts.length - 1)
  t.strictSame(totals.latency.counts.map((count, n) => [totals.latency.bounds[n], count]).filter(([, count]) => count! > 0), [[0.5, 2], [undefined, 1]], 'each on its own')
  statistics.published = 10
  t.ok(census.sample().totals.publishRate > 0)
})

t.test('a channel is told with those of its subscribers who are not the inspector', async t => {
  const { census, said, own } = make()
  own.set('news', 2)
  said.channels = { news: { subscribers: 3, lagging: 2, newest: 700 }, quiet: { subscribers: 0, lagging: 0, newest: 0 } }
  t.strictSame(census.sample().channels, [
    { id: 'news', subscribers: 1, lagging: 1, newest: 700, rate: 0 },
    { id: 'quiet', subscribers: 0, lagging: 0, newest: 0, rate: 0 }
  ], 'what was there before is no rate')
  said.channels = { news: { subscribers: 3, lagging: 0, newest: 710 }, quiet: { subscribers: 0, lagging: 0, newest: -1 } }
  const [news, quiet] = census.sample().channels
  t.ok(news!.rate > 0)
  t.equal(quiet!.rate, 0, 'a log that began anew has none below zero')
})

t.test('a row has what is said of the stream, and no query', async t => {
  const { census, said } = make()
  said.streams = [
    streamOf(requestOf('/news?token=secret', '10.0.0.7'), { key: 'alice', stalled: true, channels: [{ channel: 'a', lag: 3 }, { channel: 'b', lag: 4 }] }),
    streamOf(requestOf('/x'.repeat(200)))
  ]
  const [one, other] = census.sample().streams.map(rowOf)
  t.match(one, { id: 1, route: 'GET /news', path: '/news', key: 'alice', ip: '10.0.0.7', lag: 7, stalled: true, channels: 'a, b' })
  t.match(other, { path: '/x'.repeat(100) + '…', key: null, ip: null, lag: 0, channels: '' }, 'an address is gone when the connection is')
})
