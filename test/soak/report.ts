import type { HistogramSnapshot } from 'fastify-typed-sse'
import type { Outcome } from './soak.ts'

/** The figures of a run, as the rows of a table. */
export function report (
  {
    plan, openFiles, processes, before, after, closed, closeTime, shutdownTimeout, warm, stats, figures, lines,
    cleanEnds, wrongs
  }: Outcome
): Array<[what: string, figure: string]> {
  const { streams, rejected, published, dropped, gaps, resets } = stats
  const during = since(stats.latency, warm.latency)
  const closedBy = Object.entries(streams.closed).flatMap(([reason, count]) => {
    const times = count - warm.streams.closed[reason as keyof typeof streams.closed]
    return times === 0 ? [] : [`${reason} ${shown(times)}`]
  })
  return [
    ['seed', String(plan.seed)],
    ['time', `${plan.seconds} s`],
    ['connections at once',
      `${shown(plan.connections)}, from ${processes} processes; each process may have ${shown(openFiles)} files open`],
    ['streams opened', shown(streams.opened - warm.streams.opened)],
    ['streams closed, by reason', closedBy.join(', ')],
    ['requests rejected, by reason',
      `maxStreams ${shown(rejected.maxStreams)}, maxStreamsPerKey ${shown(rejected.maxStreamsPerKey)}`],
    ['events published', shown(published - warm.published)],
    ['events written', shown(streams.events - warm.streams.events)],
    ['bytes written', `${((streams.bytes - warm.streams.bytes) / 1e6).toFixed(1)} MB`],
    ['events received, including warm-up', shown(figures.events)],
    ['heartbeats received', shown(figures.heartbeats)],
    ['gaps, resets', `${shown(gaps)} with ${shown(dropped)} events, ${shown(resets)}`],
    ['publish to write, p50', `${quantile(during, 0.5).toFixed(2)} ms`],
    ['publish to write, p99', `${quantile(during, 0.99).toFixed(2)} ms`],
    ['heap, empty, before and after',
      `${megabytes(before.heap)} → ${megabytes(after.heap)}; closed ${megabytes(closed.heap)}`],
    ['buffers, the same',
      `${megabytes(before.buffers)} → ${megabytes(after.buffers)}; closed ${megabytes(closed.buffers)}`],
    ['handles, the same', `${handles(before.handles)} → ${handles(after.handles)}; closed ${handles(closed.handles)}`],
    ['close()',
      `${(closeTime / 1_000).toFixed(1)} s of ${shutdownTimeout / 1_000} s; ${
        shown(cleanEnds)
      } clients got a clean end and a retry delay`],
    ['lines in the log', Object.entries(lines).map(([what, count]) => `${what} ${shown(count)}`).join(', ')],
    ['wrong', String(wrongs.length)]
  ]
}

/** The increase since an earlier sample. */
function since ({ buckets, count, sum }: HistogramSnapshot, before: HistogramSnapshot): HistogramSnapshot {
  return {
    buckets: buckets.map(({ le, count }, index) => ({ le, count: count - before.buckets[index]!.count })),
    count: count - before.count,
    sum: sum - before.sum
  }
}

/** Estimated as by Prometheus: evenly within a bucket. */
export function quantile ({ buckets, count }: HistogramSnapshot, share: number): number {
  const rank = share * count
  const index = buckets.findIndex(bucket => bucket.count >= rank)
  const { le, count: upTo } = buckets[index]!
  const { le: from, count: before } = buckets[index - 1] ?? { le: 0, count: 0 }
  return le === Infinity ? from : from + (le - from) * (rank - before) / (upTo - before)
}

const shown = (count: number): string => count.toLocaleString('en')
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`
const handles = (kinds: Record<string, number>): string =>
  Object.entries(kinds).map(([kind, count]) => `${count} ${kind}`).join(' + ')
