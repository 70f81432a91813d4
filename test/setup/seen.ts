import { setImmediate as turn } from 'node:timers/promises'
import { Arrivals } from '../../lib/cli/doctor/arrivals.ts'
import type { Examination } from '../../lib/cli/doctor/examination.ts'
import type { Exchange } from '../../lib/cli/doctor/exchange.ts'
import type { Probe } from '../../lib/cli/doctor/finding.ts'

/** Received texts with their time, in milliseconds. */
export type Came = ReadonlyArray<readonly [at: number, text: string]>

export interface Sight {
  status?: number
  version?: string
  headers?: Record<string, string>
  /** The time of the head, or false if it never arrives. */
  head?: number | false
  came?: Came
  end?: Exchange['end']['how']
  at?: number
  error?: Error
  redirects?: URL[]
  start?: number
}

export const STREAM = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no'
}

/** Returns a made-up exchange: the test sets the times. */
export async function seen (
  {
    status = 200, version = '1.1', headers = STREAM, head = 5, came = [], end = 'left', at = 20_000, error,
    redirects = [], start = 0
  }: Sight = {}
): Promise<Exchange> {
  const arrivals = new Arrivals()
  for (const [at, text] of came) {
    arrivals.feed(Buffer.from(text), at)
    await turn()
  }
  return {
    url: new URL('http://127.0.0.1/'),
    redirects,
    arrivals,
    start,
    connected: 1,
    ...head === false ? {} : { head: { status, version, headers, at: head } },
    end: { at, how: end, ...error === undefined ? {} : { error } }
  }
}

/** Returns an examination without a fault, except for the given exchanges. */
export async function examined (
  sights: { [K in 'base' | 'compressed' | 'origin' | 'head' | 'back']?: Sight | undefined } & Pick<Partial<Examination>,
    'alpn' | 'page' | 'seconds'> = {}
): Promise<Examination> {
  const { alpn = 'h2', page, seconds = 20, origin } = sights
  const base = { came: every(1_000, 20), ...sights.base }
  return {
    seconds,
    alpn,
    page,
    base: await seen(base),
    compressed: await seen({ ...base, ...sights.compressed }),
    origin: origin && await seen(origin),
    head: await seen({ end: 'complete', at: 6, ...sights.head }),
    back: 'back' in sights && sights.back === undefined
      ? undefined
      : await seen({ at: 100, came: [[6, ': live\n\n'], [90, event(21)]], ...sights.back })
  }
}

export const event = (id: number, data = `event ${id}`): string => `id: ${id}\ndata: ${data}\n\n`

/** That many events, one per interval. */
export const every = (interval: number, count: number, late = 0): Came =>
  Array.from({ length: count }, (_, index) => [(index + 1) * interval + late, event(index + 1)])

/** Mark and text of all findings. */
export const found = ({ findings }: Probe): string[] => findings.map(({ mark, text }) => `${mark}: ${text}`)
