import type { ScriptMessage, ScriptReply } from './script-reply.ts'

/**
 * The newest position of a log that its node knows: a log with another entry there, or none, has lost its history. It
 * comes from a sealed message after the one before, or from the answer to a call that had the one before, and so has
 * checked it. It is never behind the entries that the tail has delivered: Redis could replace these unnoticed. Empty
 * texts before the first answer.
 */
export interface KnownPosition {
  readonly epoch: string
  readonly offset: number
  readonly appendedAt: string
  readonly secret: string
}

const firstOffset = ({ entries, newest }: ScriptMessage): number => entries[0]?.offset ?? newest + 1

/** Whether entries between the known position and a message are missing: the message says nothing about it. */
export const isBeyond = (message: ScriptMessage, known: KnownPosition): boolean =>
  firstOffset(message) > known.offset + 1

/**
 * Returns the position that is known after a message; the same one for an earlier message. Undefined: they contradict
 * each other, so Redis has lost the known entry.
 */
export function positionAfter (message: ScriptMessage, known: KnownPosition): KnownPosition | undefined {
  const { epoch, newest, appendedAt, before } = message
  if (epoch !== known.epoch) return undefined
  if (newest < known.offset) return known
  const expected = firstOffset(message) > known.offset ? before : appendedAt
  if (!isBeyond(message, known) && known.appendedAt !== expected) return undefined
  return newest > known.offset ? { epoch, offset: newest, appendedAt, secret: known.secret } : known
}

/** Returns the position that is known after a read whose entries are delivered; the same one if that is as far. */
export function reachedBy ({ epoch, newest, appendedAt, secret }: ScriptReply, known: KnownPosition): KnownPosition {
  return epoch === known.epoch && newest > known.offset ? { epoch, offset: newest, appendedAt, secret } : known
}
