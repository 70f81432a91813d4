import { decodeCursor, type Cursor } from '../wire/cursor.ts'
import { GAP_EVENT, RESET_EVENT } from '../wire/protocol.ts'
import { FST_SSE_SNAPSHOT, describe } from '../errors.ts'
import { checkEvent } from '../contract/contract.ts'
import type { ResetReason, SystemEvent } from '../contract/event-types.ts'
import type { LogState } from '../log/log.ts'
import type { Projection } from './projection.ts'
import { isThenable } from '../source/source.ts'

/** An `sse.reset` or `sse.gap` event. */
export type Notice = Pick<SystemEvent, 'event' | 'data'>

/**
 * The start of a subscriber, and the events before the log: a notice that its cursor could not be resumed, and a
 * snapshot.
 */
export interface StartPosition {
  epoch: string
  /** The offset after which reading starts. */
  position: number
  notice: Notice | undefined
  snapshot: unknown[]
  /** Whether there is nothing to send: the channel has ended, and the client has all of its events. */
  complete: boolean
}

/** The part of a feed that determines a start position. */
interface StartFeed {
  readonly settings: { readonly name: string }
  /** The last offset known now. */
  readonly newest: number
  /** Reads the state of the log. */
  readonly state: () => LogState | Promise<LogState>
}

/** Returns the start of a subscriber: after its cursor, or as for a new client. */
export function resolveStart (
  feed: StartFeed,
  logState: LogState | Promise<LogState>,
  projection: Projection,
  cursor: Cursor | 'malformed' | undefined
): StartPosition | Promise<StartPosition> {
  if (logState instanceof Promise) return logState.then(logState => resolveStart(feed, logState, projection, cursor))
  const { start: startAt, snapshot } = projection
  const { epoch, oldest, newest, ended } = logState
  const reason = cursor === undefined ? undefined : checkCursor(logState, cursor)
  if (cursor !== undefined && reason === undefined) {
    const position = (cursor as Cursor).get(epoch)!
    return { epoch, position, notice: undefined, snapshot: [], complete: ended && position === newest }
  }
  const position = startAt === 'earliest' ? oldest - 1 : newest
  let notice: Notice | undefined
  if (reason !== undefined) notice = { event: RESET_EVENT, data: { reason, oldest, newest } }
  // A subscriber that starts at the earliest event, without a snapshot, gets the number of evicted events.
  else if (position > 0 && startAt === 'earliest' && snapshot === undefined) {
    notice = { event: GAP_EVENT, data: { dropped: position } }
  }
  const complete = ended && position === newest && notice === undefined && snapshot === undefined
  const start: StartPosition = { epoch, position, notice, snapshot: [], complete }
  return snapshot === undefined ? start : withSnapshot(feed, start, snapshot)
}

/** A reader that continues at another position. */
interface Restarted { readonly epoch: string, readonly position: number, readonly feed: StartFeed }

/** Returns the start in a new epoch; undefined: the state of the log does not have it yet, or no longer has it. */
export async function changedStart (
  { epoch, position, feed }: Restarted,
  projection: Projection
): Promise<StartPosition | undefined> {
  const start = await resolveStart(feed, feed.state(), projection, new Map([[epoch, position]]))
  return start.epoch === epoch ? undefined : start
}

/** Returns the start after lost events, with a gap and a new snapshot; undefined: the log has another epoch. */
export async function renewedStart (
  { epoch, position, feed }: Restarted,
  projection: Projection
): Promise<StartPosition | undefined> {
  const start = await resolveStart(feed, feed.state(), projection, undefined)
  start.notice = { event: GAP_EVENT, data: { dropped: Math.max(0, start.position - position) } }
  return start.epoch === epoch ? start : undefined
}

/** Returns why a cursor cannot be resumed (R3); undefined if it can. */
function checkCursor ({ epoch, oldest, newest }: LogState, cursor: Cursor | 'malformed'): ResetReason | undefined {
  if (cursor === 'malformed') return 'malformed'
  const offset = cursor.get(epoch)
  if (offset === undefined) return 'unknown'
  if (offset > newest) return 'ahead'
  return offset < oldest - 1 ? 'evicted' : undefined
}

/**
 * Adds the snapshot to a start. A synchronous snapshot has the state of this moment. An asynchronous one is followed by
 * all events since the call.
 */
function withSnapshot (
  feed: StartFeed,
  start: StartPosition,
  snapshot: () => unknown
): StartPosition | Promise<StartPosition> {
  start.position = feed.newest
  const snapshotValue = snapshot()
  if (isThenable(snapshotValue)) {
    return Promise.resolve(snapshotValue).then(snapshotValue => applySnapshot(feed, start, snapshotValue))
  }
  start.position = feed.newest
  return applySnapshot(feed, start, snapshotValue)
}

function applySnapshot (
  feed: StartFeed,
  start: StartPosition,
  snapshotValue: unknown
): StartPosition | Promise<StartPosition> {
  if (snapshotValue === undefined || snapshotValue === null) return start
  start.snapshot = Array.isArray(snapshotValue) ? snapshotValue : [snapshotValue]
  const last = start.snapshot.at(-1)
  const id = (last as { id?: unknown } | null | undefined)?.id
  if (id === undefined) return start
  checkEvent(last)
  // The id of the snapshot is the position of the last event in it.
  const cursor = decodeCursor(String(id))
  const moveTo = ({ epoch, newest }: Pick<LogState, 'epoch' | 'newest'>): boolean => {
    const offset = cursor?.get(epoch)
    if (offset === undefined || offset > newest) return false
    Object.assign(start, { epoch, position: offset })
    return true
  }
  if (moveTo({ epoch: start.epoch, newest: feed.newest })) return start
  // The publisher may know a newer position than this process.
  return Promise.resolve(feed.state()).then(logState => {
    if (!moveTo(logState)) throw new FST_SSE_SNAPSHOT(feed.settings.name, describe(id))
    return start
  })
}
