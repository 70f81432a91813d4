import { randomBytes } from 'node:crypto'

/**
 * Returns a name for a sequence of offsets: 48 random bits, so that an id of another log, or an invented one, is not
 * taken for an id of this log.
 */
export const newEpoch = (): string => parseInt(randomBytes(6).toString('hex'), 16).toString(36)
