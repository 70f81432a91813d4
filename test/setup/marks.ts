/** The opening of a stream that has nothing to catch up with. */
export const live = (opening: string): string => `: live\n${opening}`
/** The opening of a stream whose history comes next. */
export const replay = (opening: string): string => `: replay\n${opening}`
/** The frame behind that history. */
export const CAUGHT_UP = ': live\n\n'
/** A body, or frames of it, for those who look at its events alone. */
export const unmarked = (body: string): string => body.replaceAll(CAUGHT_UP, '').replace(/^: (live|replay)\n/gm, '')
