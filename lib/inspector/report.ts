import { Type, type Static } from '@sinclair/typebox'

// Of texts that clients choose, the page is told so much.
const SHOWN = 200

/** A text of bounded length. */
export function cut (text: string): string {
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text
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

/** A channel, by its name. */
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
  /** Upper bounds in milliseconds, and how many took at most so long, each on its own; the last count is of all that took longer. */
  latency: Type.Object({ bounds: Type.Array(number), counts: Type.Array(number) })
})

// Rows that came or changed, ids of those that went, how many there are, and how many of them pass the filter.
const streams = Type.Object({ rows: Type.Array(stream), gone: Type.Array(number), all: number, matching: number })
const channels = Type.Object({ rows: Type.Array(channel), gone: Type.Array(Type.String()), all: number, matching: number })

/** What the page is told: everything first (`whole`), and each second what changed. */
export const reports = {
  report: Type.Object({ whole: Type.Boolean(), at: number, totals, streams, channels })
}

export type StreamRow = Static<typeof stream>
export type ChannelRow = Static<typeof channel>
export type Totals = Static<typeof totals>
export type Report = Static<typeof reports.report>
