import { pathOf, rowOf, type CountedStream, type Sample } from './sampler.ts'
import type { ChannelRow, StreamRow } from './report.ts'

/** Of ten thousand streams nobody reads more. */
const STREAMS = 200
const CHANNELS = 100

/** The rows that are shown, of all that pass the filter. */
export interface TopRows<R> { readonly rows: readonly R[], readonly all: number, readonly matching: number }

/** Those that pass the filter and matter most: streams that are stalled, then those furthest behind, then the oldest. */
export function streamsOf ({ streams }: Sample, filter: string): TopRows<StreamRow> {
  const words = (counted: CountedStream): Array<string | undefined> => {
    const { stream: { request, route, key, channels } } = counted
    return [route, pathOf(request), key, request.ip, ...channels.map(({ channel }) => channel)]
  }
  const matching = streams.filter(matches(filter, words))
  const first = matching.toSorted((a, b) => Number(b.stream.stalled) - Number(a.stream.stalled) || b.lag - a.lag || a.since - b.since)
  return { rows: first.slice(0, STREAMS).map(rowOf), all: streams.length, matching: matching.length }
}

/** Channels with subscribers that are behind, then those where most happens. */
export function channelsOf ({ channels }: Sample, filter: string): TopRows<ChannelRow> {
  // A stream's row says by its channels why it is there; of a channel there is its name.
  const matching = channels.filter(matches(filter, ({ id }) => [id]))
  const first = matching.toSorted((a, b) => b.lagging - a.lagging || b.rate - a.rate || b.subscribers - a.subscribers)
  return { rows: first.slice(0, CHANNELS), all: channels.length, matching: matching.length }
}

/** A part of one of its words, in capitals or not. */
function matches<T> (filter: string, wordsOf: (item: T) => Array<string | undefined>): (item: T) => boolean {
  const part = filter.toLowerCase()
  return item => part === '' || wordsOf(item).some(word => word?.toLowerCase().includes(part))
}
