import t from 'tap'
import { Statistics } from '../../lib/metrics/statistics.ts'

const NONE = {
  client: 0,
  complete: 0,
  error: 0,
  shutdown: 0,
  stalled: 0,
  lagging: 0,
  expired: 0,
  'channel-ended': 0,
  revoked: 0
}

t.test('closed and open streams are added up, by route and in total', async t => {
  const statistics = new Statistics()
  const [news, jobs] = [statistics.route('GET /news'), statistics.route('POST /jobs')]
  t.equal(statistics.route('GET /news'), news, 'one tally per route')
  for (let n = 0; n < 3; n++) news.opened()
  jobs.opened()
  news.closed({ reason: 'client', events: 5, bytes: 50 })
  jobs.closed({ reason: 'error', events: 1, bytes: 10 })
  const stats = statistics.snapshot([
    { record: { route: 'GET /news' }, events: 2, bytes: 20, stalled: true },
    { record: { route: 'GET /news' }, events: 0, bytes: 0, stalled: false }
  ], 3)
  t.strictSame(stats.routes, {
    'GET /news': { open: 2, opened: 3, closed: { ...NONE, client: 1 }, events: 7, bytes: 70 },
    'POST /jobs': { open: 0, opened: 1, closed: { ...NONE, error: 1 }, events: 1, bytes: 10 }
  })
  t.strictSame(stats.streams, {
    open: 2,
    opened: 4,
    closed: { ...NONE, client: 1, error: 1 },
    events: 8,
    bytes: 80,
    stalled: 1
  })
  t.equal(stats.channels, 3)
})

t.test('other counters are counted, and a snapshot does not change', async t => {
  const statistics = new Statistics()
  const before = statistics.snapshot([], 0)
  statistics.published = 4
  statistics.dropped = 3
  statistics.merged = 7
  statistics.gaps = 2
  statistics.resets = 1
  statistics.omitted = 5
  statistics.rejected.maxStreamsPerKey++
  statistics.latency.record(2)
  const { streams, routes, channels, latency, ...rest } = statistics.snapshot([], 0)
  t.strictSame(rest, {
    rejected: { maxStreams: 0, maxStreamsPerKey: 1, closing: 0 },
    published: 4,
    dropped: 3,
    merged: 7,
    gaps: 2,
    resets: 1,
    omitted: 5
  })
  t.equal(latency.count, 1)
  t.strictSame([streams.open, routes, channels], [0, {}, 0])
  t.strictSame([before.rejected.maxStreamsPerKey, before.latency.count], [0, 0])
})
