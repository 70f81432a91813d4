import { decodeCursor, type Cursor } from '../wire/cursor.ts'
import { GAP_EVENT, RESET_EVENT } from '../wire/protocol.ts'
import { FST_SSE_SNAPSHOT, describe } from '../errors.ts'
import { checkEvent } from '../contract/contract.ts'
import type { ResetReason, SystemEvent } from '../contract/event-types.ts'
import type { LogState } from '../log/log.ts'
import type { Projection } from './projection.ts'
import { isThenable } from '../source/source.ts'

/** What is said of it, as an event. */
export type Notice = Pick<SystemEvent, 'event' | 'data'>

/** What comes before the log: why the client does not get what it asked for, and the state instead. */
export interface StartPosition {
  epoch: string
  /** Where the reading begins: the offset of the last event that is not to come. */
  position: number
  notice: Notice | undefined
  snapshot: unknown[]
  /** There is nothing to come: the channel is over, and the client has all of it. */
  over: boolean
}

/** What it takes to know of a channel, to begin with it. */
interface StartFeed {
  readonly settings: { readonly name: string }
  /** The last offset that is known of now. */
  readonly newest: number
  /** Asks the log. */
  readonly state: () => LogState | Promise<LogState>
}

/** Where a subscriber begins: behind its cursor, or as a newcomer. */
export function resolveStart (place: StartFeed, head: LogState | Promise<LogState>, selection: Projection, cursor: Cursor | 'malformed' | undefined): StartPosition | Promise<StartPosition> {
  if (head instanceof Promise) return head.then(head => resolveStart(place, head, selection, cursor))
  const { start, snapshot } = selection
  const { epoch, oldest, newest, ended } = head
  const reason = cursor === undefined ? undefined : checkCursor(head, cursor)
  if (cursor !== undefined && reason === undefined) {
    const position = (cursor as Cursor).get(epoch)!
    return { epoch, position, notice: undefined, snapshot: [], over: ended && position === newest }
  }
  const position = start === 'earliest' ? oldest - 1 : newest
  let notice: Notice | undefined
  if (reason !== undefined) notice = { event: RESET_EVENT, data: { reason, oldest, newest } }
  // Who asks for the beginning, and has no state in place of it, learns how much of it is gone.
  else if (position > 0 && start === 'earliest' && snapshot === undefined) notice = { event: GAP_EVENT, data: { dropped: position } }
  const over = ended && position === newest && notice === undefined && snapshot === undefined
  const opening: StartPosition = { epoch, position, notice, snapshot: [], over }
  return snapshot === undefined ? opening : withSnapshot(place, opening, snapshot)
}

/** Why a cursor cannot be honoured (R3); undefined when it can. */
function checkCursor ({ epoch, oldest, newest }: LogState, cursor: Cursor | 'malformed'): ResetReason | undefined {
  if (cursor === 'malformed') return 'malformed'
  const offset = cursor.get(epoch)
  if (offset === undefined) return 'unknown'
  if (offset > newest) return 'ahead'
  return offset < oldest - 1 ? 'evicted' : undefined
}

/** The state of a synchronous snapshot is that of this moment. An asynchronous one is followed by all that came since it was asked for. */
function withSnapshot (place: StartFeed, opening: StartPosition, snapshot: () => unknown): StartPosition | Promise<StartPosition> {
  opening.position = place.newest
  const state = snapshot()
  if (isThenable(state)) return Promise.resolve(state).then(state => placed(place, opening, state))
  opening.position = place.newest
  return placed(place, opening, state)
}

function placed (place: StartFeed, opening: StartPosition, state: unknown): StartPosition | Promise<StartPosition> {
  if (state === undefined || state === null) return opening
  opening.snapshot = Array.isArray(state) ? state : [state]
  const last = opening.snapshot.at(-1)
  const id = (last as { id?: unknown } | null | undefined)?.id
  if (id === undefined) return opening
  checkEvent(last)
  // The state says which events are in it.
  const cursor = decodeCursor(String(id))
  const stand = ({ epoch, newest }: Pick<LogState, 'epoch' | 'newest'>): boolean => {
    const offset = cursor?.get(epoch)
    if (offset === undefined || offset > newest) return false
    Object.assign(opening, { epoch, position: offset })
    return true
  }
  if (stand({ epoch: opening.epoch, newest: place.newest })) return opening
  // Whoever published may know of more than what has come to us.
  return Promise.resolve(place.state()).then(head => {
    if (!stand(head)) throw new FST_SSE_SNAPSHOT(place.settings.name, describe(id))
    return opening
  })
}
