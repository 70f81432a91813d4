// The names and comments of this package on the wire. The server, the client and the command line share them, so this
// file imports nothing.

/** The prefix of the names of events that belong to this package. No event map may declare one. */
export const RESERVED = 'sse.'

/** The name of the event that carries a position and nothing else. */
export const POSITION_EVENT = 'sse.position'
/** The name of the event for a position that cannot be resumed. */
export const RESET_EVENT = 'sse.reset'
/** The name of the event for lost events that a slow consumer skipped. */
export const GAP_EVENT = 'sse.gap'

/** The id that marks the end of a finite stream. A client that sends it back has received all events. */
export const END_ID = 'sse.end'

// Comments: no client dispatches anything for them, and a client that reads them can distinguish replay from live
// delivery (R9).

/** The comment before the replayed events of a channel; LIVE follows the last of them. */
export const REPLAY = 'replay'
/** The comment before live events. */
export const LIVE = 'live'
