/** The most channels of one stream: all their positions are sent in one request header. */
export const MAX_CHANNELS = 64

const POSITION = /^([0-9A-Za-z]{1,32})-(0|[1-9][0-9]{0,15})$/
// The longest possible event id: 64 positions of an epoch, an offset and two separators.
const MAX_LENGTH = MAX_CHANNELS * 50

/** The decoded Last-Event-ID: epoch → offset. */
export type Cursor = ReadonlyMap<string, number>

/** Returns the event id of positions: `<epoch>-<offset>`, joined by dots for a stream of several channels. */
export function encodeCursor (positions: Iterable<readonly [epoch: string, offset: number]>): string {
  let id = ''
  for (const [epoch, offset] of positions) id += `${id === '' ? '' : '.'}${epoch}-${offset}`
  return id
}

/** Decodes an event id. Returns undefined for a malformed id: the id is untrusted client input. */
export function decodeCursor (id: string): Cursor | undefined {
  if (id.length > MAX_LENGTH) return undefined
  const cursor = new Map<string, number>()
  for (const part of id.split('.')) {
    const [, epoch, digits] = POSITION.exec(part) ?? []
    const offset = Number(digits)
    if (epoch === undefined || !Number.isSafeInteger(offset) || cursor.has(epoch)) return undefined
    cursor.set(epoch, offset)
  }
  return cursor
}

/** Decodes the Last-Event-ID of a client. Returns undefined if there is none, or an empty one. */
export function parseCursor (id: string | undefined): Cursor | 'malformed' | undefined {
  return id === undefined || id === '' ? undefined : decodeCursor(id) ?? 'malformed'
}

/**
 * Returns the cursor for the channel with this epoch, or undefined if the channel starts as for a new client. `epochs`:
 * of all channels of the stream. A client that reconnects to more channels than before has no position for the new
 * ones, and has lost none of their events. A position with none of the epochs may belong to a history that the event
 * log has lost: the cursor is then returned, and cannot be resumed (R3).
 */
export function cursorForEpoch (
  cursor: Cursor | 'malformed' | undefined,
  epoch: string,
  epochs: ReadonlySet<string>
): Cursor | 'malformed' | undefined {
  if (typeof cursor !== 'object' || cursor.has(epoch)) return cursor
  return [...cursor.keys()].every(epoch => epochs.has(epoch)) ? undefined : cursor
}
