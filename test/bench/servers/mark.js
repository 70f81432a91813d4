/** Closes each payload: it is what readers count. */
export const MARK = '~'
