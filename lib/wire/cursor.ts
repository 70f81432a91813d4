/** How many channels one stream may follow: their positions travel together in one request header. */
export const MAX_CHANNELS = 64

const PART = /^([0-9A-Za-z]{1,32})-(0|[1-9][0-9]{0,15})$/
// The longest that can be one: 64 times an epoch, an offset and what stands between.
const MAX_LENGTH = MAX_CHANNELS * 50

/** Positions in logs: epoch → offset. */
export type Cursor = ReadonlyMap<string, number>

/** The event id that says it: `<epoch>-<offset>`, joined by dots where a stream follows several channels. */
export function encodeCursor (positions: Iterable<readonly [epoch: string, offset: number]>): string {
  let id = ''
  for (const [epoch, offset] of positions) id += `${id === '' ? '' : '.'}${epoch}-${offset}`
  return id
}

/** Undefined for what was never an id of ours. Who brings it back may have written anything there. */
export function decodeCursor (id: string): Cursor | undefined {
  if (id.length > MAX_LENGTH) return undefined
  const cursor = new Map<string, number>()
  for (const part of id.split('.')) {
    const [, epoch, digits] = PART.exec(part) ?? []
    const offset = Number(digits)
    if (epoch === undefined || !Number.isSafeInteger(offset) || cursor.has(epoch)) return undefined
    cursor.set(epoch, offset)
  }
  return cursor
}

/** Decodes the id of a client; an empty id is no position. */
export function cursorOf (id: string | undefined): Cursor | 'malformed' | undefined {
  return id === undefined || id === '' ? undefined : decodeCursor(id) ?? 'malformed'
}

/**
 * The position in the log of that epoch, among those of a stream; undefined where the id claims none. A client that
 * reconnects for more channels has no part for the new ones and lost nothing of them: it begins there as a new client.
 * A part for none of the channels may belong to a history that this log has lost: then it is a claim (R3).
 */
export function claimed (cursor: Cursor | 'malformed' | undefined, epoch: string, epochs: ReadonlySet<string>): Cursor | 'malformed' | undefined {
  if (typeof cursor !== 'object' || cursor.has(epoch)) return cursor
  return [...cursor.keys()].every(known => epochs.has(known)) ? undefined : cursor
}
