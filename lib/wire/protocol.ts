// Comments: no client dispatches anything for them, and one that looks knows history from what happens now (R9).

/** The line that opens a stream whose history is to come. Where it ends, LIVE follows. */
export const REPLAY = ': replay\n'
/** From here on, what comes is what is published. */
export const LIVE = ': live\n'
