import type { RejectReason } from './diagnostics.ts'
import { Histogram, type HistogramSnapshot } from './histogram.ts'
import type { CloseReason } from '../lifecycle.ts'

/** Counts of the streams of one route, or of all routes, since the plugin was registered. */
export interface StreamCounts {
  /** Streams that are open now. */
  open: number
  /** Streams that were opened. */
  opened: number
  /** Closed streams, by reason. */
  closed: Record<CloseReason, number>
  /** Events that were written; comments and heartbeats do not count. */
  events: number
  /** Body bytes that were written to the connections. */
  bytes: number
}

/** Figures of a channel in the memory of this process. */
export interface ChannelStats {
  readonly name: string
  /** Its subscribers in this process. */
  readonly subscribers: number
  /** Subscribers that are behind the end of the channel. */
  readonly lagging: number
  /** The offset of the newest event that this process knows. */
  readonly newest: number
}

/** The result of `app.sse.stats()`. Counts are since the plugin was registered. */
export interface Stats {
  /** Counts of all streams. `stalled`: open streams whose client reads no bytes while bytes wait. */
  streams: StreamCounts & { stalled: number }
  /** The same counts by method and path, as declared: `GET /orders/:id`. */
  routes: Record<string, StreamCounts>
  /** Rejected requests for a stream, by reason. */
  rejected: Record<RejectReason, number>
  /** The number of channels in memory. `app.sse.channels()` has their figures. */
  channels: number
  /** Events that this process published. */
  published: number
  /** Events that slow consumers lost. */
  dropped: number
  /** Events that subscribers did not receive, because later events of their keys replaced them: nothing is lost. */
  merged: number
  /** `sse.gap` events to slow consumers. */
  gaps: number
  /** `sse.reset` events: positions that could not be resumed. */
  resets: number
  /** Entries of event logs that were omitted, because other code wrote them and they do not match the event map. */
  omitted: number
  /**
   * Milliseconds from the moment when this process receives a published event until it is written to all subscribers at
   * the end of the channel.
   */
  latency: HistogramSnapshot
}

/** The counters of one registration of the plugin. */
export class Statistics {
  readonly rejected: Record<RejectReason, number> = { maxStreams: 0, maxStreamsPerKey: 0, closing: 0 }
  published = 0
  dropped = 0
  merged = 0
  gaps = 0
  resets = 0
  omitted = 0
  readonly latency = new Histogram()
  readonly #routes = new Map<string, RouteCounters>()

  /** Returns the counters of a route, by its method and path. */
  route (name: string): RouteCounters {
    let counters = this.#routes.get(name)
    if (counters === undefined) this.#routes.set(name, counters = new RouteCounters())
    return counters
  }

  snapshot (open: readonly OpenCounts[], channels: number): Stats {
    const streams = { ...zeroCounts(), stalled: 0 }
    const routes: Record<string, StreamCounts> = Object.fromEntries(
      [...this.#routes].map(([name, counters]) => [name, counters.counts()])
    )
    for (const { record: { route }, events, bytes, stalled } of open) {
      const counts = routes[route]!
      counts.events += events
      counts.bytes += bytes
      if (stalled) streams.stalled++
    }
    for (const route of Object.values(routes)) {
      for (const name of ['open', 'opened', 'events', 'bytes'] as const) streams[name] += route[name]
      for (const [reason, count] of Object.entries(route.closed)) streams.closed[reason as CloseReason] += count
    }
    const { rejected, published, dropped, merged, gaps, resets, omitted, latency } = this
    return {
      streams,
      routes,
      rejected: { ...rejected },
      channels,
      published,
      dropped,
      merged,
      gaps,
      resets,
      omitted,
      latency: latency.snapshot()
    }
  }
}

/** The counts of an open stream. */
export interface OpenCounts {
  readonly record: { readonly route: string }
  readonly events: number
  readonly bytes: number
  readonly stalled: boolean
}

/** The counts of a route. The events of a stream are added when it closes, so that an event costs no update here. */
export class RouteCounters {
  readonly #counts = zeroCounts()

  opened (): void {
    this.#counts.opened++
    this.#counts.open++
  }

  closed (
    { reason, events, bytes }: { readonly reason: CloseReason, readonly events: number, readonly bytes: number }
  ): void {
    this.#counts.open--
    this.#counts.closed[reason]++
    this.#counts.events += events
    this.#counts.bytes += bytes
  }

  counts (): StreamCounts {
    return { ...this.#counts, closed: { ...this.#counts.closed } }
  }
}

const zeroCounts = (): StreamCounts => ({
  open: 0,
  opened: 0,
  closed: {
    client: 0,
    complete: 0,
    error: 0,
    shutdown: 0,
    stalled: 0,
    lagging: 0,
    expired: 0,
    'channel-ended': 0,
    revoked: 0
  },
  events: 0,
  bytes: 0
})
