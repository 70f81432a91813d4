import type { DataOf } from '../contract/data-type.ts'

// The longest text in a report, in characters. Clients choose these texts.
const MAX_TEXT = 200

/** Returns a text of at most 200 characters, with an ellipsis if it was longer. */
export function truncate (text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text
}

const number = { type: 'number' } as const
const boolean = { type: 'boolean' } as const
const string = { type: 'string' } as const
const text = { type: ['string', 'null'] } as const
const counts = { type: 'object', additionalProperties: number } as const

/** Returns the schema of a list. */
const list = <S>(items: S): { type: 'array', items: S } => ({ type: 'array', items })

/** Returns the schema of an object that has all properties. */
const object = <P extends object>(properties: P): { type: 'object', properties: P, required: Array<keyof P> } => ({
  type: 'object',
  properties,
  required: Object.keys(properties) as Array<keyof P>
})

/** A stream. Times are milliseconds since 1970, rates are per second. */
const stream = object({
  id: number,
  route: string,
  path: string,
  key: text,
  ip: text,
  since: number,
  events: number,
  eventRate: number,
  bytes: number,
  byteRate: number,
  lag: number,
  stalled: boolean,
  channels: string
})

/** A channel. Its id is its name. */
const channel = object({ id: string, subscribers: number, lagging: number, newest: number, rate: number })

const totals = object({
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
  latency: object({ bounds: list(number), counts: list(number) })
})

// New and changed rows, ids of removed rows, the number of all rows, and the number of rows that match the filter.
const streams = object({ rows: list(stream), removed: list(number), total: number, matching: number })
const channels = object({
  rows: list(channel),
  removed: list(string),
  total: number,
  matching: number
})

/** The events for the page: first a full report (`full`), then each second the changes. */
export const reports = {
  report: object({ full: boolean, at: number, totals, streams, channels })
}

export type StreamRow = DataOf<typeof stream>
export type ChannelRow = DataOf<typeof channel>
export type Totals = DataOf<typeof totals>
export type Report = DataOf<typeof reports.report>
