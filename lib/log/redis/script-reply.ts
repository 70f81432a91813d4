import { createHash } from 'node:crypto'
import { logEntry } from '../log-entry.ts'
import type { LogBatch, LogEntry, LogRecord } from '../log.ts'

/** A batch as the scripts write it, with fields for the scripts and the log itself. */
interface ScriptBatch extends LogBatch {
  readonly oldest: number
  /** The time of the newest append, by the clock of Redis: distinguishes two events with one offset. */
  readonly appendedAt: string
}

export interface ScriptReply extends ScriptBatch {
  /** The secret of the seals of this epoch. */
  readonly secret: string
}

export interface ScriptMessage extends ScriptBatch {
  /** `appendedAt` before the append of the entries. */
  readonly before: string
}

/**
 * The version of the keys and messages of the scripts. A node rejects keys of a higher version, and treats its messages
 * as lost.
 */
export const VERSION = 2

const LF = 10
const SPACE = 32
const ZERO = 48
const J = 106
const T = 116
// The longest first line: an epoch of 32 characters, three numbers, a flag, and a secret of 64 or a number.
const MAX_HEAD = 200
const MAX_FINGERPRINT = 64
const HEAD_PATTERN = /^([0-9A-Za-z]{1,32}) (\d{1,16}) (\d{1,16}) (\d{1,20}) ([01]) ([0-9A-Za-z]{1,64})$/
const TIME_PATTERN = /^\d{1,20}$/
const SEAL_PATTERN = new RegExp(`^${VERSION} ([0-9a-f]{40}) $`)
const SEAL_SIZE = `${VERSION} `.length + 41

// Any other text would break the format, and is no fingerprint.
const FINGERPRINT = /^[\w-]{1,64}$/

/** Returns the kind of a record, as the scripts receive it. */
export function kindOf ({ json, fingerprint = '' }: Pick<LogRecord, 'json' | 'fingerprint'>): string {
  const kind = json ? 'json' : 'text'
  return FINGERPRINT.test(fingerprint) ? `${kind} ${fingerprint}` : kind
}

/** The answer of an append for one channel. */
export interface AppendReply extends Pick<ScriptReply, 'epoch' | 'newest' | 'appendedAt' | 'secret'> {
  /** The offset of each record, if some have keys. Negative: appended before. 0: the log had ended. */
  readonly offsets: readonly number[] | undefined
}

const APPENDED = /^(\d{1,16})-(\d{1,20})$/
const APPENDED_ELSEWHERE = /^=([0-9A-Za-z]{1,32}) (\d{1,16}) (\d{1,20}) ([0-9A-Za-z]{1,64})((?: -?\d{1,16})*)$/

/** Parses the line of one channel in the answer of an append; returns undefined for any other text. */
export function decodeAppend (line: string, epoch: string, secret: string): AppendReply | undefined {
  const [, newest, appendedAt] = APPENDED.exec(line) ?? []
  if (newest !== undefined) {
    return { epoch, newest: Number(newest), appendedAt: appendedAt!, secret, offsets: undefined }
  }
  const found = APPENDED_ELSEWHERE.exec(line)
  if (found === null) return undefined
  const offsets = found[5] === '' ? undefined : found[5]!.trim().split(' ').map(Number)
  return { epoch: found[1]!, newest: Number(found[2]), appendedAt: found[3]!, secret: found[4]!, offsets }
}

/** Parses an answer of a script; returns undefined for any other text. */
export function decodeReply (bytes: Buffer): ScriptReply | undefined {
  return decode(bytes, 'secret')
}

/**
 * Parses a message of a script; returns undefined for any other text. Any client of Redis may publish: the seal, made
 * with a secret from the keys of the channel, proves that a script published it. A message of another epoch has another
 * secret.
 */
export function decodeMessage (bytes: Buffer, secret: string): ScriptMessage | undefined {
  const [, seal] = SEAL_PATTERN.exec(bytes.toString('latin1', 0, SEAL_SIZE)) ?? []
  if (seal === undefined) return undefined
  const text = bytes.subarray(SEAL_SIZE)
  if (createHash('sha1').update(secret).update(text).update(secret).digest('hex') !== seal) return undefined
  const message = decode(text, 'before')
  return message !== undefined && TIME_PATTERN.test(message.before) ? message : undefined
}

/**
 * Format: `epoch oldest newest appendedAt ended`, in an answer the secret, in a message the time before the append, and
 * for each entry `offset bytes bytes kind fingerprint`, its name and its data.
 */
function decode<K extends 'secret' | 'before'> (bytes: Buffer, key: K): ScriptBatch & Record<K, string> | undefined {
  const headEnds = bytes.indexOf(LF)
  const [, epoch, oldest, newest, appendedAt, ended, last] = headEnds <= MAX_HEAD
    ? HEAD_PATTERN.exec(bytes.toString('latin1', 0, Math.max(0, headEnds))) ?? []
    : []
  const entries = epoch === undefined ? undefined : decodeEntries(bytes, headEnds + 1)
  if (entries === undefined) return undefined
  const batch = {
    epoch: epoch!,
    oldest: Number(oldest),
    newest: Number(newest),
    appendedAt: appendedAt!,
    ended: ended === '1',
    entries
  }
  const { newest: end } = batch
  return Number.isSafeInteger(end) && batch.oldest <= end + 1 && (entries.at(-1)?.offset ?? 0) <= end
    ? Object.assign(batch, { [key]: last! } as Record<K, string>)
    : undefined
}

function decodeEntries (bytes: Buffer, from: number): LogEntry[] | undefined {
  const entries: LogEntry[] = []
  let at = from
  /** Returns NaN if there is no number. */
  const number = (): number => {
    let value = 0
    for (const most = at + 16; at < most; at++) {
      const digit = bytes[at]! - ZERO
      // Also beyond the end: a comparison with NaN is false.
      if (!(digit >= 0 && digit <= 9)) break
      value = value * 10 + digit
    }
    return bytes[at++] === SPACE ? value : NaN
  }
  let before = 0
  while (at < bytes.length) {
    const [offset, nameSize, dataSize] = [number(), number(), number()]
    const kindEnds = bytes.indexOf(LF, at)
    const nameEnds = kindEnds + 1 + nameSize
    const dataEnds = nameEnds + dataSize
    // Any part that is no number makes the sum NaN.
    if (!(offset > before && dataEnds <= bytes.length) || kindEnds < at + 4 || kindEnds > at + 5 + MAX_FINGERPRINT ||
      (bytes[at] !== J && bytes[at] !== T)) return undefined
    const [event, data, json] = [bytes.toString('utf8', kindEnds + 1, nameEnds),
      bytes.toString('utf8', nameEnds, dataEnds), bytes[at] === J]
    const fingerprint = kindEnds === at + 4 ? undefined : bytes.toString('latin1', at + 5, kindEnds)
    entries.push(logEntry(offset, event, data, json, fingerprint))
    before = offset
    at = dataEnds
  }
  return entries
}
