import type { FastifyInstance } from 'fastify'
import type { ChannelStats, HistogramSnapshot, Stats } from 'fastify-typed-sse'
import { Counter, Gauge, Registry, type Histogram } from 'prom-client'

type Value = [value: number, labels?: Record<string, string>]
interface Metric {
  name: string
  help: string
  labelNames?: string[]
  values: (stats: Stats, channels: ChannelStats[]) => Value[]
}

const byRoute = (count: 'open' | 'opened' | 'events' | 'bytes') => ({ routes }: Stats): Value[] =>
  Object.entries(routes).map(([route, counts]) => [counts[count], { route }])
// Channels are often named after users or rooms. A label for the name would make one time series for each.
const overChannels =
  (count: 'subscribers' | 'lagging') => (_stats: Stats, channels: ChannelStats[]): Value[] => [[
    channels.reduce((sum, channel) => sum + channel[count], 0)
  ]]

const GAUGES: Metric[] = [
  { name: 'sse_streams_open', help: 'Streams that are open.', labelNames: ['route'], values: byRoute('open') },
  {
    name: 'sse_streams_stalled',
    help: 'Open streams whose client reads no bytes while data waits.',
    values: ({ streams }) => [[streams.stalled]]
  },
  {
    name: 'sse_channels',
    help: 'Channels in the memory of this process.',
    values: ({ channels }) => [[channels]]
  },
  { name: 'sse_subscribers', help: 'Subscribers of channels.', values: overChannels('subscribers') },
  {
    name: 'sse_subscribers_lagging',
    help: 'Subscribers that are not at the end of their channel.',
    values: overChannels('lagging')
  }
]

const COUNTERS: Metric[] = [
  {
    name: 'sse_streams_opened_total',
    help: 'Streams that were opened.',
    labelNames: ['route'],
    values: byRoute('opened')
  },
  {
    name: 'sse_streams_closed_total',
    help: 'Closed streams by reason.',
    labelNames: ['route', 'reason'],
    values: ({ routes }) =>
      Object.entries(routes).flatMap(([route, { closed }]) =>
        Object.entries(closed).map(([reason, count]): Value => [count, { route, reason }])
      )
  },
  { name: 'sse_events_total', help: 'Events written to streams.', labelNames: ['route'], values: byRoute('events') },
  {
    name: 'sse_bytes_total',
    help: 'Body bytes written to connections.',
    labelNames: ['route'],
    values: byRoute('bytes')
  },
  {
    name: 'sse_rejected_total',
    help: 'Rejected requests for a stream, by reason.',
    labelNames: ['reason'],
    values: ({ rejected }) => Object.entries(rejected).map(([reason, count]) => [count, { reason }])
  },
  {
    name: 'sse_published_total',
    help: 'Events that this process published to channels.',
    values: ({ published }) => [[published]]
  },
  { name: 'sse_dropped_total', help: 'Events that slow consumers skipped.', values: ({ dropped }) => [[dropped]] },
  {
    name: 'sse_merged_total',
    help: 'Events that later events of their keys replaced.',
    values: ({ merged }) => [[merged]]
  },
  {
    name: 'sse_gaps_total',
    help: 'Gap events: how often a slow consumer skipped events.',
    values: ({ gaps }) => [[gaps]]
  },
  {
    name: 'sse_resets_total',
    help: 'Reset events: positions that could not be resumed.',
    values: ({ resets }) => [[resets]]
  }
]

/** Exports `app.sse.stats()` as metrics of a registry. The plugin counts; a scrape sets the metrics to the totals. */
export function sseMetrics (app: FastifyInstance, registry = new Registry()): Registry {
  const registers = [registry]
  const stats = cached(() => app.sse.stats())
  const channels = cached(() => app.sse.channels())
  for (const { values, ...metric } of GAUGES) {
    const gauge: Gauge = new Gauge({
      ...metric,
      registers,
      collect: () => {
        gauge.reset()
        for (const [value, labels = {}] of values(stats(), channels())) gauge.set(labels, value)
      }
    })
  }
  for (const { values, ...metric } of COUNTERS) {
    // A counter cannot be set, so it is reset and incremented. No scrape can run between the two.
    const counter: Counter = new Counter({
      ...metric,
      registers,
      collect: () => {
        counter.reset()
        for (const [value, labels = {}] of values(stats(), channels())) counter.inc(labels, value)
      }
    })
  }
  registry.registerMetric(
    histogramOf('sse_delivery_latency_seconds',
      'Time from the arrival of an event in this process until it is written to all live subscribers.', () =>
        stats().latency)
  )
  return registry
}

/** Caches the result until the end of the current task, so all metrics of a scrape share one snapshot. */
function cached<T> (read: () => T): () => T {
  let cache: { value: T } | undefined
  return () => {
    if (cache === undefined) {
      cache = { value: read() }
      queueMicrotask(() => { cache = undefined })
    }
    return cache.value
  }
}

/** A histogram of existing counts. prom-client's own accepts only observations. A registry uses only these members. */
function histogramOf (name: string, help: string, snapshot: () => HistogramSnapshot): Histogram {
  const get = async (): Promise<object> => {
    const { buckets, count, sum } = snapshot()
    const values = [
      ...buckets.map(({ le, count }) => ({
        metricName: `${name}_bucket`,
        labels: { le: le === Infinity ? '+Inf' : le / 1_000 },
        value: count
      })
      ),
      { metricName: `${name}_sum`, labels: {}, value: sum / 1_000 },
      { metricName: `${name}_count`, labels: {}, value: count }
    ]
    return { name, help, type: 'histogram', aggregator: 'sum', values }
  }
  return { name, help, get, reset: () => {} } as unknown as Histogram
}
