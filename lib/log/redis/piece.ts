import type { LogBatch, LogEntry } from '../log.ts'

/** A batch as the scripts write it, with what only they and the log that asks them look at. */
export interface Piece extends LogBatch {
  readonly oldest: number
  /** When the newest was appended, by the clock of Redis: it tells two events of one offset apart. */
  readonly stamp: string
}

const LF = 10
const SPACE = 32
const J = 106

/** `epoch oldest newest stamp ended`, and for each entry `offset bytes bytes kind`, its name and its data. */
export function decodePiece (bytes: Buffer): Piece {
  let at = bytes.indexOf(LF) + 1
  const [epoch = '', oldest, newest, stamp = '', ended] = bytes.toString('latin1', 0, at - 1).split(' ')
  const entries: LogEntry[] = []
  const number = (): number => {
    let value = 0
    for (let digit = bytes[at++]!; digit !== SPACE; digit = bytes[at++]!) value = value * 10 + (digit - 48)
    return value
  }
  while (at < bytes.length) {
    const [offset, nameSize, dataSize] = [number(), number(), number()]
    const kindEnds = bytes.indexOf(LF, at)
    const json = bytes[at] === J
    const nameEnds = kindEnds + 1 + nameSize
    const event = bytes.toString('utf8', kindEnds + 1, nameEnds)
    at = nameEnds + dataSize
    entries.push({ offset, event, data: bytes.toString('utf8', nameEnds, at), json })
  }
  return { epoch, oldest: Number(oldest), newest: Number(newest), stamp, ended: ended === '1', entries }
}
