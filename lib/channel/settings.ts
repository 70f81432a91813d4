import type { FastifyBaseLogger } from 'fastify'
import type { DecodedEvent } from './frame-batch.ts'
import { FST_SSE_OPTION, describe } from '../errors.ts'
import { isSamePace, paceRule, resolvePace, type Pace } from './pace.ts'
import type { Contract } from '../contract/contract.ts'
import type { EventMap, PublishEventOf, ReceivedEventOf } from '../contract/event-types.ts'
import type { HistoryLimits, EventLogFactory } from '../log/log.ts'
import {
  aBoolean, validateOptions, functionOrNull, isOptions, milliseconds, nameOfLength, type Rule
} from '../validate-options.ts'
import type { Statistics } from '../metrics/statistics.ts'
import { RESERVED } from '../wire/protocol.ts'

/**
 * Options of `app.sse.channel(name, options)`: created once, outside of the handler, and the same in every call for the
 * channel.
 */
export interface ChannelOptions<M extends EventMap = EventMap> {
  /** Name → schema of `data`, of any kind. Validates and serializes each event, once. Default: any event. */
  events?: M | undefined
  /**
   * The limits of the history for clients that reconnect; the first limit that is reached applies: events (`maxEvents`,
   * default 1000), bytes of names and data (`maxBytes`, default 1048576), and milliseconds since they were published
   * (`maxAge`, default 300000; at most 100 years; Infinity: no limit). `maxAge` is also how long an idle channel stays
   * in memory: within it, a client can resume.
   */
  history?: Partial<HistoryLimits> | undefined
  /**
   * The start of a subscriber without a position: 'earliest' begins with the oldest stored event, 'latest' with the
   * next event. Default 'latest'.
   */
  start?: 'latest' | 'earliest' | undefined
  /**
   * The policy for a slow consumer. The first three are for a subscriber whose position left the history. 'disconnect'
   * (default): its stream ends, and the client resumes or gets `sse.reset`. 'skip': it continues with the next event
   * after `sse.gap`. 'snapshot': it gets `sse.gap`, a new snapshot of its subscription, and the events after it;
   * without a snapshot, as 'skip'. `{ compactBy }`: a subscriber without room receives the latest event of each key as
   * soon as it has room again. An event for which the function returns undefined or null has no key: it stays.
   */
  slowConsumer?: 'disconnect' | 'skip' | 'snapshot' | { compactBy: (event: ReceivedEventOf<M>) => unknown } | undefined
  /**
   * The pace of all subscribers that set no other: a later event replaces a waiting one of its key, and the waiting
   * events are sent at the end of an interval. Default: every event.
   */
  pace?: Pace<ReceivedEventOf<M>> | undefined
  /** Opens the log of the channel. Default: the `eventLog` of the registration. */
  eventLog?: EventLogFactory | undefined
  /**
   * Returns the last event when the source of the channel fails; `null`, or a function that returns null: none.
   * Default: `error` with RFC 9457 problem JSON.
   */
  errorEvent?:
    | ((error: Error, context: ChannelErrorContext) => PublishEventOf<M> | { event: 'error', data: unknown } | null)
    | null | undefined
  /**
   * The time after which the members of a dead node leave, in milliseconds, at least 100. A node with members renews
   * its lease three times within. Default 15000.
   */
  leaseDuration?: number | undefined
  /**
   * Whether the streams of the channel are compressed, unless an option `compress` of the stream or the registration
   * decides. All channels of the stream must agree. Default false.
   */
  compress?: boolean | undefined
}

/** The second argument of `errorEvent` of a channel. */
export interface ChannelErrorContext {
  /** The name of the channel. */
  readonly channel: string
}

/** The options of a channel with the defaults filled in. */
export interface ChannelSettings {
  name: string
  events: EventMap | undefined
  history: HistoryLimits
  start: 'latest' | 'earliest'
  slowConsumer: 'disconnect' | 'skip' | 'snapshot' | { compactBy: (event: DecodedEvent) => unknown }
  pace: Pace | undefined
  errorEvent: ((error: Error, context: ChannelErrorContext) => unknown) | null | undefined
  leaseDuration: number
  compress: boolean
  /** Undefined: that of the registration. */
  eventLog: EventLogFactory | undefined
}

/** The part of a logger that channels need. */
export type ChannelLogger = Pick<FastifyBaseLogger, 'error' | 'warn'>

/** The dependencies of an active channel. */
export interface ChannelSetup {
  settings: ChannelSettings
  contract: Contract
  eventLog: EventLogFactory
  log: ChannelLogger
  statistics: Statistics
}

const HISTORY: HistoryLimits = { maxEvents: 1_000, maxBytes: 1_048_576, maxAge: 300_000 }
const DEFAULTS: Omit<ChannelSettings, 'name'> = {
  events: undefined,
  history: HISTORY,
  start: 'latest',
  slowConsumer: 'disconnect',
  pace: undefined,
  errorEvent: undefined,
  leaseDuration: 15_000,
  compress: false,
  eventLog: undefined
}

// The maximal length of an array. Stores count bytes as doubles, and cannot keep a time that ends in millions of years.
const MAX_EVENTS = 2 ** 32 - 1
const MAX_AGE = 100 * 365 * 86_400_000
const countRule = (max: number, of: string): Rule => ({
  expected: `a whole number of ${of} from 0 to ${max}`,
  fits: value => Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= max
})
const BOUNDS: Record<keyof HistoryLimits, Rule> = {
  maxEvents: countRule(MAX_EVENTS, 'events'),
  maxBytes: countRule(Number.MAX_SAFE_INTEGER, 'bytes'),
  maxAge: {
    expected:
      `a number of milliseconds above 0 and up to ${MAX_AGE} (100 years: no store keeps a longer time), or Infinity`,
    fits: value => value === Infinity || (typeof value === 'number' && value > 0 && value <= MAX_AGE)
  }
}
/** Rule of the start of a subscriber without a position. */
export const startRule: Rule = {
  expected: "'latest' or 'earliest'",
  fits: value => value === 'latest' || value === 'earliest'
}
/** Rule of a factory of event logs. */
export const logRule: Rule = {
  expected: 'a function that opens logs, such as memoryLog()',
  fits: value => typeof value === 'function'
}
const POLICIES: readonly unknown[] = ['disconnect', 'skip', 'snapshot'] satisfies Array<ChannelSettings['slowConsumer']>
const RULES: Record<keyof ChannelOptions, Rule> = {
  // The contract checks the schemas themselves.
  events: { expected: 'a map of names to schemas', fits: isOptions },
  history: { expected: 'an object', fits: isOptions },
  start: startRule,
  slowConsumer: {
    expected: "'disconnect', 'skip', 'snapshot' or { compactBy: a function that returns an event's key }",
    fits: value => POLICIES.includes(value) || (isOptions(value) && typeof value.compactBy === 'function')
  },
  pace: paceRule,
  errorEvent: functionOrNull,
  leaseDuration: milliseconds(100),
  compress: aBoolean,
  eventLog: logRule
}

const NAME = nameOfLength(512)

/**
 * Whether the value is a valid channel name. The reserved prefix is for the package: the log of messages between nodes
 * has such a name.
 */
export function isChannelName (name: unknown): name is string {
  return NAME.fits(name) && !(name as string).startsWith(RESERVED)
}

/** Returns the name. Throws FST_SSE_OPTION for an invalid or reserved name. */
export function validateName (name: unknown): string {
  if (isChannelName(name)) return name
  const isReserved = typeof name === 'string' && name.startsWith(RESERVED)
  const expected = isReserved
    ? `a name that does not begin with '${RESERVED}', which is reserved`
    : NAME.expected
  throw new FST_SSE_OPTION('name', expected, describe(name))
}

/** Returns the settings. Throws FST_SSE_OPTION, which names the option, the expected value and the actual value. */
export function resolveChannel (
  input: unknown,
  options: unknown,
  defaults: Partial<Pick<ChannelSettings, 'start' | 'history'>> = {}
): ChannelSettings {
  const name = validateName(input)
  const settings = validateOptions(options, { ...DEFAULTS, ...defaults }, RULES)
  const history = validateOptions(settings.history, defaults.history ?? HISTORY, BOUNDS, 'history')
  const pace = settings.pace === undefined ? undefined : resolvePace(settings.pace)
  // The name first: V8 makes a hidden class for each object with a new property after a spread.
  return { name, ...settings, history, pace }
}

/**
 * Returns the first option in which two channels of one name differ. Schemas and functions are compared by identity.
 */
export function difference (one: ChannelSettings, other: ChannelSettings): string | undefined {
  for (const bound of ['maxEvents', 'maxBytes', 'maxAge'] as const) {
    if (one.history[bound] !== other.history[bound]) return `history.${bound}`
  }
  if (slowConsumerKey(one) !== slowConsumerKey(other)) return 'slowConsumer'
  if (!isSamePace(one.pace, other.pace)) return 'pace'
  return (['events', 'start', 'errorEvent', 'leaseDuration', 'compress', 'eventLog'] as const).find(option =>
    one[option] !== other[option]
  )
}

const slowConsumerKey = ({ slowConsumer }: ChannelSettings): unknown =>
  typeof slowConsumer === 'object' ? slowConsumer.compactBy : slowConsumer

/**
 * The share of the history that may be dropped since the client's last position. Beyond it, the client may reconnect
 * too late to resume.
 */
export const REPORT_SHARE = 0.5
// The position is sent after this number of dropped events at the latest, for a history of any size.
const MAX_UNREPORTED = 128
// Milliseconds: eight of the longest ticks of the streams' shared timer. The timer is too slow for shorter ages.
const SHORT_AGE = 8_000

/**
 * Returns the share of a history that these events and their characters use: 1 is all of it. The result is never too
 * low: a character counts as three bytes, and 256 events as the whole history.
 */
export function historyShare (history: HistoryLimits, events: number, characters: number): number {
  if (history.maxAge < SHORT_AGE) return 1
  return Math.max(events / Math.min(history.maxEvents, 2 * MAX_UNREPORTED),
    characters * 3 / Math.max(1, history.maxBytes))
}
