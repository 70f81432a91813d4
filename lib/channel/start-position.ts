import { decodeCursor, type Cursor } from '../wire/cursor.ts'
import { FST_SSE_SNAPSHOT, shown } from '../errors.ts'
import { asEvent, type ResetReason, type SystemEvent } from '../contract/contract.ts'
import type { LogHead } from '../log/log.ts'
import type { Selection } from './projection.ts'
import { isThenable } from '../source/source.ts'

/** What is said of it, as an event. */
export type Notice = Pick<SystemEvent, 'event' | 'data'>

/** What comes before the log: why the client does not get what it asked for, and the state instead. */
export interface Opening {
  epoch: string
  /** Where the reading begins: the offset of the last event that is not to come. */
  position: number
  notice: Notice | undefined
  snapshot: unknown[]
  /** There is nothing to come: the channel is over, and the client has all of it. */
  over: boolean
}

/** What it takes to know of a channel, to begin with it. */
interface Place {
  readonly settings: { readonly name: string }
  /** The last offset that is known of now. */
  readonly newest: number
  /** Asks the log. */
  readonly head: () => LogHead | Promise<LogHead>
}

/** Where a subscriber begins: behind its cursor, or as a newcomer. */
export function openAt (place: Place, head: LogHead | Promise<LogHead>, selection: Selection, cursor: Cursor | 'malformed' | undefined): Opening | Promise<Opening> {
  if (head instanceof Promise) return head.then(head => openAt(place, head, selection, cursor))
  const { start, snapshot } = selection
  const { epoch, oldest, newest, ended } = head
  const reason = cursor === undefined ? undefined : judge(head, cursor)
  if (cursor !== undefined && reason === undefined) {
    const position = (cursor as Cursor).get(epoch)!
    return { epoch, position, notice: undefined, snapshot: [], over: ended && position === newest }
  }
  const position = start === 'oldest' ? oldest - 1 : newest
  let notice: Notice | undefined
  if (reason !== undefined) notice = { event: 'sse.reset', data: { reason, oldest, newest } }
  // Who asks for the beginning, and has no state in place of it, learns how much of it is gone.
  else if (position > 0 && start === 'oldest' && snapshot === undefined) notice = { event: 'sse.gap', data: { dropped: position } }
  const over = ended && position === newest && notice === undefined && snapshot === undefined
  const opening: Opening = { epoch, position, notice, snapshot: [], over }
  return snapshot === undefined ? opening : withState(place, opening, snapshot)
}

/** Why a cursor cannot be honoured (R3); undefined when it can. */
function judge ({ epoch, oldest, newest }: LogHead, cursor: Cursor | 'malformed'): ResetReason | undefined {
  if (cursor === 'malformed') return 'malformed'
  const offset = cursor.get(epoch)
  if (offset === undefined) return 'unknown'
  if (offset > newest) return 'ahead'
  return offset < oldest - 1 ? 'evicted' : undefined
}

/** The state of a synchronous snapshot is that of this moment. An asynchronous one is followed by all that came since it was asked for. */
function withState (place: Place, opening: Opening, snapshot: () => unknown): Opening | Promise<Opening> {
  opening.position = place.newest
  const state = snapshot()
  if (isThenable(state)) return Promise.resolve(state).then(state => placed(place, opening, state))
  opening.position = place.newest
  return placed(place, opening, state)
}

function placed (place: Place, opening: Opening, state: unknown): Opening | Promise<Opening> {
  if (state === undefined || state === null) return opening
  opening.snapshot = Array.isArray(state) ? state : [state]
  const last = opening.snapshot.at(-1)
  const id = (last as { id?: unknown } | null | undefined)?.id
  if (id === undefined) return opening
  asEvent(last)
  // The state says which events are in it.
  const cursor = decodeCursor(String(id))
  const stand = ({ epoch, newest }: Pick<LogHead, 'epoch' | 'newest'>): boolean => {
    const offset = cursor?.get(epoch)
    if (offset === undefined || offset > newest) return false
    Object.assign(opening, { epoch, position: offset })
    return true
  }
  if (stand({ epoch: opening.epoch, newest: place.newest })) return opening
  // Whoever published may know of more than what has come to us.
  return Promise.resolve(place.head()).then(head => {
    if (!stand(head)) throw new FST_SSE_SNAPSHOT(place.settings.name, shown(id))
    return opening
  })
}
