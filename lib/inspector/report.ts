import { Type, type Static } from '@sinclair/typebox'

// The longest text in a report, in characters. Clients choose these texts.
const MAX_TEXT = 200

/** Returns a text of at most 200 characters, with an ellipsis if it was longer. */
export function truncate (text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text
}

const number = Type.Number()
const text = Type.Union([Type.String(), Type.Null()])
const counts = Type.Record(Type.String(), number)

/** A stream. Times are milliseconds since 1970, rates are per second. */
const stream = Type.Object({
  id: number,
  route: Type.String(),
  path: Type.String(),
  key: text,
  ip: text,
  since: number,
  events: number,
  eventRate: number,
  bytes: number,
  byteRate: number,
  lag: number,
  stalled: Type.Boolean(),
  channels: Type.String()
})

/** A channel. Its id is its name. */
const channel = Type.Object({ id: Type.String(), subscribers: number, lagging: number, newest: number, rate: number })

const totals = Type.Object({
  open: number,
  stalled: number,
  opened: number,
  events: number,
  eventRate: number,
  bytes: number,
  byteRate: number,
  published: number,
  publishRate: number,
  dropped: number,
  gaps: number,
  resets: number,
  closed: counts,
  rejected: counts,
  /**
   * Upper bounds in milliseconds, and the count of each bucket, not cumulative. The last count is of times above all
   * bounds.
   */
  latency: Type.Object({ bounds: Type.Array(number), counts: Type.Array(number) })
})

// New and changed rows, ids of removed rows, the number of all rows, and the number of rows that match the filter.
const streams = Type.Object({ rows: Type.Array(stream), removed: Type.Array(number), total: number, matching: number })
const channels = Type.Object({
  rows: Type.Array(channel),
  removed: Type.Array(Type.String()),
  total: number,
  matching: number
})

/** The events for the page: first a full report (`full`), then each second the changes. */
export const reports = {
  report: Type.Object({ full: Type.Boolean(), at: number, totals, streams, channels })
}

export type StreamRow = Static<typeof stream>
export type ChannelRow = Static<typeof channel>
export type Totals = Static<typeof totals>
export type Report = Static<typeof reports.report>
