/** What a node is told to do. */
export type Order =
  | { order: 'publish', rate: number }
  /** So many events at once, and word when all of them are settled. */
  | { order: 'burst', channel: number, events: number }
  /** No more events, and word when all are settled. */
  | { order: 'rest' }
  | { order: 'heads' }

/** One event that the log has, and the id that it was given. */
export type Acknowledged = [channel: number, number: number, id: string]
/** One event that may be in the log or not. */
export type Refused = [channel: number, number: number, reason: string]
export interface Head { epoch: string, newest: number }

/** What a node tells. What answers an order is called like it. */
export type News =
  | { news: 'listening', port: number }
  | { news: 'settled', acknowledged: Acknowledged[], refused: Refused[] }
  | { news: 'burst' }
  | { news: 'rest' }
  | { news: 'heads', heads: Head[] }

export type Answer<N extends News['news']> = Extract<News, { news: N }>
