import { randomBytes } from 'node:crypto'

/** Names a sequence of offsets. 48 random bits: what a client brings back from another log, or makes up, does not pass for this one's. */
export const newEpoch = (): string => parseInt(randomBytes(6).toString('hex'), 16).toString(36)
