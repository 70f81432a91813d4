import type { RejectReason } from './diagnostics.ts'
import { Histogram, type HistogramSnapshot } from './histogram.ts'
import type { CloseReason } from '../lifecycle.ts'

/** Streams of one route, or of all. Counts are since the plugin was registered. */
export interface StreamCounts {
  /** Open now. */
  open: number
  opened: number
  /** Those that are over, by why. */
  closed: Record<CloseReason, number>
  /** Events written; comments and heartbeats do not count. */
  events: number
  /** Bytes of body handed to the connections. */
  bytes: number
}

/** A channel that is in the memory of this process. */
export interface ChannelStats {
  /** Who follows it here. */
  subscribers: number
  /** Those of them who do not stand at its end. */
  lagging: number
  /** The offset of the newest event that is known here. */
  newest: number
}

/** What `app.sse.stats()` answers. */
export interface Stats {
  /** All streams; and those of the open ones whose client takes nothing while something waits for it. */
  streams: StreamCounts & { stalled: number }
  /** The same by method and path, as these were declared. */
  routes: Record<string, StreamCounts>
  /** Requests for a stream that were turned away, by why. */
  rejected: Record<RejectReason, number>
  /** Channels by name. */
  channels: Record<string, ChannelStats>
  /** Events that this process published. */
  published: number
  /** Events that slow readers of channels lost, and how often they were told so (`sse.gap`). */
  dropped: number
  gaps: number
  /** Positions that could not be honoured (`sse.reset`). */
  resets: number
  /** Events of other code in the logs of channels that do not fit the map of this process, and are left out. */
  omitted: number
  /** Milliseconds from when this process has a published event until it is written to all who wait for it. */
  latency: HistogramSnapshot
}

/** What happened on a registration, counted where it happens. */
export class Statistics {
  readonly rejected: Record<RejectReason, number> = { maxStreams: 0, maxStreamsPerKey: 0, closing: 0 }
  published = 0
  dropped = 0
  gaps = 0
  resets = 0
  omitted = 0
  readonly latency = new Histogram()
  readonly #routes = new Map<string, RouteCounters>()

  /** That of a route, by its name. */
  route (name: string): RouteCounters {
    let tally = this.#routes.get(name)
    if (tally === undefined) this.#routes.set(name, tally = new RouteCounters())
    return tally
  }

  snapshot (open: Iterable<OpenCounts>, channels: Record<string, ChannelStats>): Stats {
    const streams = { ...zeroCounts(), stalled: 0 }
    const routes: Record<string, StreamCounts> = Object.fromEntries([...this.#routes].map(([name, tally]) => [name, tally.counts()]))
    for (const { route, events, bytes, stalled } of open) {
      routes[route]!.events += events
      routes[route]!.bytes += bytes
      if (stalled) streams.stalled++
    }
    for (const route of Object.values(routes)) {
      for (const name of ['open', 'opened', 'events', 'bytes'] as const) streams[name] += route[name]
      for (const [reason, count] of Object.entries(route.closed)) streams.closed[reason as CloseReason] += count
    }
    const { rejected, published, dropped, gaps, resets, omitted, latency } = this
    return { streams, routes, rejected: { ...rejected }, channels, published, dropped, gaps, resets, omitted, latency: latency.snapshot() }
  }
}

/** What is counted of a stream while it is open. */
export interface OpenCounts { readonly route: string, readonly events: number, readonly bytes: number, readonly stalled: boolean }

/** What is counted of a route: an open stream's events are added when it is over, so that none costs a count. */
export class RouteCounters {
  readonly #counts = zeroCounts()

  opened (): void {
    this.#counts.opened++
    this.#counts.open++
  }

  closed ({ reason, events, bytes }: { readonly reason: CloseReason, readonly events: number, readonly bytes: number }): void {
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
  closed: { client: 0, complete: 0, error: 0, shutdown: 0, stalled: 0, lagging: 0, expired: 0, 'channel-ended': 0, revoked: 0 },
  events: 0,
  bytes: 0
})
