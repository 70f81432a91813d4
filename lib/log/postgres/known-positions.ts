import { isSame, NOTHING_KNOWN, type ChannelReply, type KnownPosition } from './channel-state.ts'
import { isBeyond, positionAfter, type SealedBatch } from './entry-seal.ts'

// Until they are checked, further gaps are read.
const MAX_UNCHECKED = 64

type Answer = Pick<ChannelReply, 'epoch' | 'newest' | 'at'>

/**
 * The newest position of a channel that a node knows, for the next call: a database with another entry there, or none,
 * has lost its history. It comes from the answer to a call that had the one before, or from a notification after the
 * one before. It is never behind the entries that the tail has delivered: the database could replace these unnoticed.
 */
export class KnownPositions {
  current: KnownPosition = NOTHING_KNOWN
  /** Whether a read must check a position. */
  isDue = false
  /** The positions before ones that do not follow them, oldest first. The check of another one says nothing of them. */
  readonly #unchecked: KnownPosition[] = []

  /** Returns the position for a read of the tail: the oldest unchecked one. */
  take (): KnownPosition {
    const position = this.#unchecked.shift() ?? this.current
    this.isDue = this.#unchecked.length > 0
    return position
  }

  /** Called if that read has failed. */
  restore (position: KnownPosition): void {
    if (position === this.current) return
    this.#unchecked.unshift(position)
    this.isDue = true
  }

  /** Takes the answer to a call that had the position `asked`. `delivers`: the tail delivers what it has. */
  answer ({ epoch, newest: offset, at }: Answer, asked: KnownPosition, delivers = false): void {
    const position = { epoch, offset, at }
    if (isSame(asked, position)) return
    if (asked === this.current) this.current = position
    // Notifications have moved the position meanwhile, but not as far.
    else if (delivers && epoch === this.current.epoch && offset > this.current.offset) this.#leap(position)
    else if (!isSame(this.current, position)) this.isDue = true
  }

  /** Moves over the entries of an append. Returns false if they contradict the position, or must be read. */
  follow (batch: SealedBatch): boolean {
    const position = positionAfter(batch, this.current)
    const beyond = isBeyond(batch, this.current)
    if (position === undefined || (beyond && this.#unchecked.length >= MAX_UNCHECKED)) return false
    if (beyond) this.#leap(position)
    else this.current = position
    return true
  }

  #leap (position: KnownPosition): void {
    this.#unchecked.push(this.current)
    this.current = position
    this.isDue = true
  }
}
