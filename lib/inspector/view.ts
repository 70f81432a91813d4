import type { ChannelRow, Report, StreamRow } from './report.ts'
import { pathOf, streamRow, type Sample, type SampledStream } from './sampler.ts'

// The most rows that a person can use.
const MAX_STREAMS = 200
const MAX_CHANNELS = 100

/** The reports for one filter: a full report for a new viewer, then only what changed. */
export class View {
  readonly #filter: string
  readonly #streams = new Changes<StreamRow>()
  readonly #channels = new Changes<ChannelRow>()
  #full: Report

  constructor (filter: string, sample: Sample) {
    this.#filter = filter
    this.#full = this.#report(sample)
    this.update(sample)
  }

  /** The report for a new viewer. */
  get full (): Report { return this.#full }

  /** Returns the report for viewers that have the one before. */
  update (sample: Sample): Report {
    const full = this.#full = this.#report(sample)
    const { streams, channels } = full
    return {
      ...full,
      full: false,
      streams: { ...streams, ...this.#streams.since(streams.rows) },
      channels: { ...channels, ...this.#channels.since(channels.rows) }
    }
  }

  #report (sample: Sample): Report {
    return {
      full: true,
      at: sample.at,
      totals: sample.totals,
      streams: { ...topStreams(sample, this.#filter), removed: [] },
      channels: { ...topChannels(sample, this.#filter), removed: [] }
    }
  }
}

/** Compares a list of rows with the list before. */
export class Changes<R extends { readonly id: string | number }> {
  #last = new Map<R['id'], string>()

  /** Returns the rows that are new or changed since the last call, and the ids of removed rows. */
  since (rows: readonly R[]): { rows: R[], removed: Array<R['id']> } {
    const current = new Map(rows.map(row => [row.id, JSON.stringify(row)]))
    const changed = rows.filter(({ id }) => this.#last.get(id) !== current.get(id))
    const removed = [...this.#last.keys()].filter(id => !current.has(id))
    this.#last = current
    return { rows: changed, removed }
  }
}

/** The shown rows, the number of all rows, and the number of rows that match the filter. */
export interface TopRows<R> { rows: R[], total: number, matching: number }

/** Returns the matching streams: first the stalled, then by lag, then by age. */
export function topStreams ({ streams }: Sample, filter: string): TopRows<StreamRow> {
  const textsOf = (sampled: SampledStream): Array<string | undefined> => {
    const { stream: { request, route, key, channels } } = sampled
    return [route, pathOf(request), key, request.ip, ...channels.map(({ channel }) => channel)]
  }
  const matching = streams.filter(matches(filter, textsOf))
  const sorted = matching.toSorted((a, b) =>
    Number(b.stream.stalled) - Number(a.stream.stalled) || b.lag - a.lag || a.since - b.since
  )
  return { rows: sorted.slice(0, MAX_STREAMS).map(streamRow), total: streams.length, matching: matching.length }
}

/** Returns the matching channels: first by lagging subscribers, then by event rate, then by subscribers. */
export function topChannels ({ channels }: Sample, filter: string): TopRows<ChannelRow> {
  // A stream matches by its channels, too; a channel only by its name.
  const matching = channels.filter(matches(filter, ({ id }) => [id]))
  const sorted = matching.toSorted((a, b) => b.lagging - a.lagging || b.rate - a.rate || b.subscribers - a.subscribers)
  return { rows: sorted.slice(0, MAX_CHANNELS), total: channels.length, matching: matching.length }
}

/** Returns a predicate: one of the texts contains the filter, in upper or lower case. */
function matches<T> (filter: string, textsOf: (item: T) => Array<string | undefined>): (item: T) => boolean {
  const part = filter.toLowerCase()
  return item => part === '' || textsOf(item).some(text => text?.toLowerCase().includes(part))
}
