import type { FastifyRequest } from 'fastify'
import t from 'tap'
import type { CountedStream, Sample } from '../../lib/inspector/sampler.ts'
import type { ChannelRow } from '../../lib/inspector/report.ts'
import { channelsOf, streamsOf } from '../../lib/inspector/top-rows.ts'

interface Given { route?: string, url?: string, key?: string, ip?: string, channel?: string, stalled?: boolean, lag?: number, since?: number }

function counted ({ route = 'GET /', url = '/', key, ip = '10.0.0.1', channel, stalled = false, lag = 0, since = 0 }: Given, id: number): CountedStream {
  const channels = channel === undefined ? [] : [{ channel, lag }]
  return {
    stream: { request: { url, ip } as FastifyRequest, route, key, age: 0, events: 0, bytes: 0, stalled, lastEventId: undefined, channels, disconnect: () => {} },
    id,
    since,
    eventRate: 0,
    byteRate: 0,
    lag
  }
}

const reading = (streams: Given[], channels: ChannelRow[] = []): Sample => ({ streams: streams.map(counted), channels }) as unknown as Sample
const idsOf = ({ rows }: { rows: ReadonlyArray<{ id: unknown }> }): unknown[] => rows.map(({ id }) => id)

t.test('first the stalled, then the furthest behind, then the oldest', async t => {
  t.strictSame(idsOf(streamsOf(reading([{ since: 5 }, { since: 4 }, { lag: 2 }, { lag: 9 }, { stalled: true, since: 6 }]), '')), [4, 3, 2, 1, 0])
})

t.test('of many streams 200 are shown, and all are counted', async t => {
  const { rows, all, matching } = streamsOf(reading(Array.from({ length: 1_000 }, (_, n) => ({ key: `user-${n}` }))), '')
  t.equal(rows.length, 200)
  t.strictSame({ all, matching }, { all: 1_000, matching: 1_000 })
  t.match(streamsOf(reading(Array.from({ length: 1_000 }, (_, n) => ({ key: `user-${n}` }))), 'user-999'), { rows: [{ key: 'user-999' }], all: 1_000, matching: 1 })
})

t.test('a filter is a part of the route, the path, the key, the address or a channel, in capitals or not', async t => {
  const streams = reading([{ route: 'GET /prices/:symbol' }, { url: '/prices/ABC?token=secret' }, { key: 'Alice' }, { ip: '192.0.2.1' }, { channel: 'chat lobby' }])
  for (const [filter, id] of [[':SYMBOL', 0], ['abc', 1], ['alice', 2], ['192.', 3], ['lobby', 4]] as const) t.strictSame(idsOf(streamsOf(streams, filter)), [id], filter)
  t.strictSame(idsOf(streamsOf(streams, 'secret')), [], 'never of a query')
})

t.test('of channels first those with subscribers that lag, then the busiest, then those with most subscribers', async t => {
  const row = (id: string, lagging: number, rate: number, subscribers: number): ChannelRow => ({ id, lagging, rate, subscribers, newest: 0 })
  const channels = [row('d', 0, 0, 1), row('c', 0, 0, 2), row('b', 0, 5, 0), row('a', 1, 0, 0)]
  t.strictSame(channelsOf(reading([], channels), '').rows.map(({ id }) => id), ['a', 'b', 'c', 'd'])
  t.match(channelsOf(reading([], channels), 'B'), { rows: [{ id: 'b' }], all: 4, matching: 1 })
  t.equal(channelsOf(reading([], Array.from({ length: 500 }, (_, n) => row(String(n), 0, 0, 0))), '').rows.length, 100)
})
