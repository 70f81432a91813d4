import type { FastifyBaseLogger } from 'fastify'
import type { DecodedEvent } from './frame-batch.ts'
import { FST_SSE_OPTION, describe } from '../errors.ts'
import type { Contract } from '../contract/contract.ts'
import type { EventMap, PublishEventOf, ReceivedEventOf } from '../contract/event-types.ts'
import type { HistoryLimits, EventLogFactory } from '../log/log.ts'
import { validateOptions, functionOrNull, isObject, type Rule } from '../validate-options.ts'
import type { Statistics } from '../metrics/statistics.ts'

/** Options of `app.sse.channel(name, options)`: made once, outside of the handler, and the same wherever the channel is asked for. */
export interface ChannelOptions<M extends EventMap = EventMap> {
  /** Name → TypeBox schema of `data`. Each event is checked and written by it, once. Default: any event. */
  events?: M | undefined
  /**
   * How much is kept for those who come back, whichever bound is reached first: events (default 1000), bytes of names
   * and data (default 1048576), and milliseconds since they were published (default 300000; at most 100 years;
   * Infinity: no limit). `age` is also how long an idle channel stays: who comes back within it resumes.
   */
  history?: Partial<HistoryLimits> | undefined
  /** Where those begin who bring no position: with the oldest event that is kept, or with what comes next. Default 'latest'. */
  start?: 'latest' | 'earliest' | undefined
  /**
   * What happens to a reader that is behind all that is kept: its stream ends, to be resumed or reset ('disconnect', the default);
   * it goes on with the next event after `sse.gap` ('skip'); or it is given the latest event of each key, and the rest is `sse.gap`.
   */
  slowConsumer?: 'disconnect' | 'skip' | { compactBy: (event: ReceivedEventOf<M>) => unknown } | undefined
  /** The last event when its source fails; `null` or a function that returns null: none. Default: `error` with RFC 9457 problem JSON. */
  errorEvent?: ((error: Error) => PublishEventOf<M> | { event: 'error', data: unknown } | null) | null | undefined
}

/** What a channel is made of: options with the defaults filled in. */
export interface ChannelSettings {
  name: string
  events: EventMap | undefined
  history: HistoryLimits
  start: 'latest' | 'earliest'
  slowConsumer: 'disconnect' | 'skip' | { compactBy: (event: DecodedEvent) => unknown }
  errorEvent: ((error: Error) => unknown) | null | undefined
}

/** What it needs of its surroundings. */
export interface ChannelSetup {
  settings: ChannelSettings
  contract: Contract
  eventLog: EventLogFactory
  log: FastifyBaseLogger
  statistics: Statistics
}

const HISTORY: HistoryLimits = { maxEvents: 1_000, maxBytes: 1_048_576, maxAge: 300_000 }
const DEFAULTS: Omit<ChannelSettings, 'name'> = { events: undefined, history: HISTORY, start: 'latest', slowConsumer: 'disconnect', errorEvent: undefined }

// The maximal length of an array. Stores count bytes as doubles, and cannot keep a time that ends in millions of years.
const MAX_EVENTS = 2 ** 32 - 1
const MAX_AGE = 100 * 365 * 86_400_000
const count = (max: number, of: string): Rule => ({
  expected: `a whole number of ${of} from 0 to ${max}`,
  fits: value => Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= max
})
const BOUNDS: Record<keyof HistoryLimits, Rule> = {
  maxEvents: count(MAX_EVENTS, 'events'),
  maxBytes: count(Number.MAX_SAFE_INTEGER, 'bytes'),
  maxAge: {
    expected: `a number of milliseconds above 0 and up to ${MAX_AGE} (100 years: no store keeps a longer time), or Infinity`,
    fits: value => value === Infinity || (typeof value === 'number' && value > 0 && value <= MAX_AGE)
  }
}
/** Where a subscriber begins that brings no position. */
export const whereToBegin: Rule = { expected: "'latest' or 'earliest'", fits: value => value === 'latest' || value === 'earliest' }
const RULES: Record<keyof ChannelOptions, Rule> = {
  // What is in it is the contract's to judge.
  events: { expected: 'a map of names to TypeBox schemas', fits: isObject },
  history: { expected: 'an object', fits: isObject },
  start: whereToBegin,
  slowConsumer: {
    expected: "'disconnect', 'skip' or { compactBy: a function that returns an event's key }",
    fits: value => value === 'disconnect' || value === 'skip' || (isObject(value) && typeof value.compactBy === 'function')
  },
  errorEvent: functionOrNull
}

// A name may become a key, or a line in a log. Half a surrogate pair has no UTF-8 of its own: two names would be one key.
const NAME = /^[^\p{Cc}\p{Cs}]{1,512}$/u

// Reserved for the package: the log of messages between nodes has such a name.
const RESERVED = 'sse.'

/** Whether it can be the name of a channel. */
export function isChannelName (name: unknown): name is string {
  return typeof name === 'string' && NAME.test(name) && !name.startsWith(RESERVED)
}

/** Returns the name. FST_SSE_OPTION for a name that no channel may have. */
export function checkedName (name: unknown): string {
  if (isChannelName(name)) return name
  const isReserved = typeof name === 'string' && name.startsWith(RESERVED)
  const expected = isReserved ? `a name that does not begin with '${RESERVED}', which is reserved` : 'a string of 1 to 512 characters without control characters'
  throw new FST_SSE_OPTION('name', expected, describe(name))
}

/** Throws FST_SSE_OPTION, which names the option, what was expected and what was got. */
export function resolveChannel (given: unknown, options: unknown): ChannelSettings {
  const name = checkedName(given)
  const settings = validateOptions(options, DEFAULTS, RULES)
  return { ...settings, name, history: validateOptions(settings.history, HISTORY, BOUNDS, 'history') }
}

/** The first option in which two channels of one name differ; schemas and functions differ when they are not the same ones. */
export function difference (one: ChannelSettings, other: ChannelSettings): string | undefined {
  for (const bound of ['maxEvents', 'maxBytes', 'maxAge'] as const) if (one.history[bound] !== other.history[bound]) return `history.${bound}`
  if (keyOf(one) !== keyOf(other)) return 'slowConsumer'
  return (['events', 'start', 'errorEvent'] as const).find(option => one[option] !== other[option])
}

const keyOf = ({ slowConsumer }: ChannelSettings): unknown => typeof slowConsumer === 'object' ? slowConsumer.compactBy : slowConsumer

/** A client that is behind by more than this share of the history may come back too late for it. */
export const AT_RISK = 0.5
// The position is sent after this number of dropped events at the latest, for a history of any size.
const UNTOLD = 128
// Milliseconds: eight of the longest beats of the streams' shared timer. It is too slow for shorter ages.
const SHORT_AGE = 8_000

/**
 * The share of a history that these events and their characters take: 1 is all of it. The result is never too low: a
 * character counts as three bytes, and 256 events as the whole history.
 */
export function shareOf (history: HistoryLimits, events: number, characters: number): number {
  if (history.maxAge < SHORT_AGE) return 1
  return Math.max(events / Math.min(history.maxEvents, 2 * UNTOLD), characters * 3 / Math.max(1, history.maxBytes))
}
