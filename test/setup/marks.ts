/** The opening of a stream that is live at once. */
export const live = (opening: string): string => `: live\n${opening}`
/** The opening of a stream that replays first. */
export const replay = (opening: string): string => `: replay\n${opening}`
/** The frame after the replay. */
export const CAUGHT_UP = ': live\n\n'
/** Removes the marks from a body or frames, for tests that compare only its events. */
export const unmarked = (body: string): string => body.replaceAll(CAUGHT_UP, '').replace(/^: (live|replay)\n/gm, '')
