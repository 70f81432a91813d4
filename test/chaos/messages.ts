/** A command for a node. */
export type Order =
  | { order: 'publish', rate: number }
  /** Publishes that many events at once. Answered when all of them are settled. */
  | { order: 'burst', channel: number, events: number }
  /** Stops publishing. Answered when all are settled. */
  | { order: 'rest' }
  | { order: 'heads' }

/** A stored event, and its id. */
export type Acknowledged = [channel: number, number: number, id: string]
/** An event that may be stored or not. */
export type Refused = [channel: number, number: number, reason: string]
export interface Head { epoch: string, newest: number }

/** A message of a node. The answer to a command has the same name. */
export type News =
  | { news: 'listening', port: number }
  | { news: 'settled', acknowledged: Acknowledged[], refused: Refused[] }
  | { news: 'burst' }
  | { news: 'rest' }
  | { news: 'heads', heads: Head[] }

export type Answer<N extends News['news']> = Extract<News, { news: N }>
