import { logEntry } from '../log-entry.ts'
import type { HistoryLimits, LogBatch, LogEntry, LogRecord } from '../log.ts'

/** The arguments of the functions of the schema that describe a channel. */
export interface ChannelArguments {
  readonly name: string
  /** The newest known position, and the time of its append: a channel that is behind it has lost its history. */
  readonly known: KnownPosition
  readonly limits: StoredLimits
}

export interface KnownPosition { readonly epoch: string, readonly offset: number, readonly at: number }
/** The limits of a history as the schema stores them: `age` in microseconds. */
export interface StoredLimits { readonly events: number, readonly bytes: number, readonly age: number | null }

/** The answer of a read, for one channel. */
export interface ChannelReply extends LogBatch {
  readonly oldest: number
  readonly at: number
  /** Names the channel in a notification. */
  readonly nameHash: string
}

type Row = ReadonlyArray<string | null>

export const isSame = (one: KnownPosition, other: KnownPosition): boolean =>
  one.epoch === other.epoch && one.offset === other.offset && one.at === other.at

export const NOTHING_KNOWN: KnownPosition = { epoch: '', offset: 0, at: 0 }

export function storedLimits ({ maxEvents, maxBytes, maxAge }: HistoryLimits): StoredLimits {
  return { events: maxEvents, bytes: maxBytes, age: maxAge === Infinity ? null : Math.ceil(maxAge * 1_000) }
}

/** Returns the first seven arguments of the functions: names, known positions and limits. */
export function channelArguments (channels: readonly ChannelArguments[]): unknown[] {
  return [
    channels.map(({ name }) => name),
    channels.map(({ known }) => known.epoch),
    channels.map(({ known }) => known.offset),
    channels.map(({ known }) => known.at),
    channels.map(({ limits }) => limits.events),
    channels.map(({ limits }) => limits.bytes),
    channels.map(({ limits }) => limits.age)
  ]
}

/** Parses the rows of a read: one answer for each channel, in the order of the arguments. */
export function decodeReplies (rows: readonly Row[]): ChannelReply[] {
  const replies: ChannelReply[] = []
  let entries: LogEntry[] = []
  for (const row of rows) {
    const [, offset, epoch, oldest, newest, at, ended, nameHash, event, json, fingerprint, data, bytes] = row
    if (offset === null) {
      entries = []
      replies.push({
        epoch: epoch!,
        oldest: Number(oldest),
        newest: Number(newest),
        at: Number(at),
        ended: ended === 't',
        nameHash: nameHash!,
        entries
      })
    } else {
      const text = data ?? Buffer.from(bytes!, 'base64').toString()
      entries.push(logEntry(Number(offset), event!, text, json === 't', fingerprint))
    }
  }
  return replies
}

// Any other text is no fingerprint.
const FINGERPRINT = /^[\w-]{1,64}$/

export const fingerprintOf = ({ fingerprint }: Pick<LogRecord, 'fingerprint'>): string | null =>
  fingerprint !== undefined && FINGERPRINT.test(fingerprint) ? fingerprint : null
