import type { FastifyInstance } from 'fastify'
import type { HistogramSnapshot, Stats } from 'fastify-typed-sse'
import { Counter, Gauge, Registry, type Histogram } from 'prom-client'

type Value = [value: number, labels?: Record<string, string>]
interface Metric { name: string, help: string, labelNames?: string[], values: (stats: Stats) => Value[] }

const byRoute = (count: 'open' | 'opened' | 'events' | 'bytes') => ({ routes }: Stats): Value[] => Object.entries(routes).map(([route, counts]) => [counts[count], { route }])
// A channel's name is often somebody's: a label for each would be a series for each.
const overChannels = (count: 'subscribers' | 'lagging') => ({ channels }: Stats): Value[] => [[Object.values(channels).reduce((sum, channel) => sum + channel[count], 0)]]

const GAUGES: Metric[] = [
  { name: 'sse_streams_open', help: 'Streams that are open.', labelNames: ['route'], values: byRoute('open') },
  { name: 'sse_streams_stalled', help: 'Open streams whose client takes nothing while something waits for it.', values: ({ streams }) => [[streams.stalled]] },
  { name: 'sse_channels', help: 'Channels in the memory of this process.', values: ({ channels }) => [[Object.keys(channels).length]] },
  { name: 'sse_subscribers', help: 'Subscribers of channels.', values: overChannels('subscribers') },
  { name: 'sse_subscribers_lagging', help: 'Subscribers that do not stand at the end of their channel.', values: overChannels('lagging') }
]

const COUNTERS: Metric[] = [
  { name: 'sse_streams_opened_total', help: 'Streams that were opened.', labelNames: ['route'], values: byRoute('opened') },
  {
    name: 'sse_streams_closed_total',
    help: 'Streams that are over, by why.',
    labelNames: ['route', 'reason'],
    values: ({ routes }) => Object.entries(routes).flatMap(([route, { closed }]) => Object.entries(closed).map(([reason, count]): Value => [count, { route, reason }]))
  },
  { name: 'sse_events_total', help: 'Events written to streams.', labelNames: ['route'], values: byRoute('events') },
  { name: 'sse_bytes_total', help: 'Bytes of body handed to connections.', labelNames: ['route'], values: byRoute('bytes') },
  {
    name: 'sse_rejected_total',
    help: 'Requests for a stream that were turned away, by why.',
    labelNames: ['reason'],
    values: ({ rejected }) => Object.entries(rejected).map(([reason, count]) => [count, { reason }])
  },
  { name: 'sse_published_total', help: 'Events that this process published in channels.', values: ({ published }) => [[published]] },
  { name: 'sse_dropped_total', help: 'Events that slow readers of channels lost.', values: ({ dropped }) => [[dropped]] },
  { name: 'sse_gaps_total', help: 'How often a slow reader was told that it lost events.', values: ({ gaps }) => [[gaps]] },
  { name: 'sse_resets_total', help: 'Positions that could not be honoured.', values: ({ resets }) => [[resets]] }
]

/** What `app.sse.stats()` says, as metrics of a registry. The counting is done there: each scrape shows the totals, and adds nothing to them. */
export function sseMetrics (app: FastifyInstance, registry = new Registry()): Registry {
  const registers = [registry]
  const stats = once(() => app.sse.stats())
  for (const { values, ...metric } of GAUGES) {
    const gauge: Gauge = new Gauge({
      ...metric,
      registers,
      collect: () => {
        gauge.reset()
        for (const [value, labels = {}] of values(stats())) gauge.set(labels, value)
      }
    })
  }
  for (const { values, ...metric } of COUNTERS) {
    // A counter cannot be set. Nobody sees it between the two.
    const counter: Counter = new Counter({
      ...metric,
      registers,
      collect: () => {
        counter.reset()
        for (const [value, labels = {}] of values(stats())) counter.inc(labels, value)
      }
    })
  }
  registry.registerMetric(counted('sse_delivery_latency_seconds', 'From when this process has a published event until it is written to all who wait for it.', () => stats().latency))
  return registry
}

/** One look for all that is asked for in one go. */
function once<T> (look: () => T): () => T {
  let seen: { value: T } | undefined
  return () => {
    if (seen === undefined) {
      seen = { value: look() }
      queueMicrotask(() => { seen = undefined })
    }
    return seen.value
  }
}

/** prom-client's histogram counts by itself, and takes no counts. A registry asks a metric for no more than this. */
function counted (name: string, help: string, snapshot: () => HistogramSnapshot): Histogram {
  const get = async (): Promise<object> => {
    const { buckets, count, sum } = snapshot()
    const values = [
      ...buckets.map(({ le, count }) => ({ metricName: `${name}_bucket`, labels: { le: le === Infinity ? '+Inf' : le / 1_000 }, value: count })),
      { metricName: `${name}_sum`, labels: {}, value: sum / 1_000 },
      { metricName: `${name}_count`, labels: {}, value: count }
    ]
    return { name, help, type: 'histogram', aggregator: 'sum', values }
  }
  return { name, help, get, reset: () => {} } as unknown as Histogram
}
