/** Ends each payload. Readers count it. */
export const MARK = '~'
