import { Parser, type ParserHandlers } from '../../client/parser.ts'
import { LIVE, REPLAY } from '../../wire/protocol.ts'

/** An event, and when it was whole: milliseconds after the request. */
export interface Arrival { readonly at: number, readonly event: string, readonly id: string, readonly data: string }

/** Bytes that came together. `whole` where they ended with an event, and not in the middle of one. */
export interface Piece { readonly at: number, bytes: number, events: number, whole: boolean }

// What is seen of a stream that never stops talking.
const MOST = 20_000
// Of an event, to know it again by.
const GLIMPSE = 200
const LARGEST = 2 ** 24

/** What came of a stream, and when. */
export class Arrivals implements ParserHandlers {
  readonly pieces: Piece[] = []
  readonly events: Arrival[] = []
  /** When comments came. */
  readonly comments: number[] = []
  /** The marks of a channel's stream among them: `replay`, `live`. */
  readonly marks: string[] = []
  lastEventId = ''
  reconnectionTime: number | undefined
  #at = 0
  #open: Piece | undefined
  /** What has come of a line. */
  #line = ''
  readonly #parser = new Parser(this, LARGEST)

  /** Enough is known. */
  get full (): boolean { return this.events.length >= MOST }

  /** The silences, from the request to the first byte and between pieces. */
  get silences (): number[] { return this.pieces.map(({ at }, index) => at - (this.pieces[index - 1]?.at ?? 0)) }

  /** Throws FST_SSE_EVENT_SIZE. */
  feed (bytes: Buffer, at: number): void {
    if (bytes.length === 0) return
    const piece = this.#open ?? this.#begin(at)
    // What came together came at one time.
    this.#at = piece.at
    const before = this.events.length
    this.#parser.feed(bytes)
    piece.bytes += bytes.length
    piece.events += this.events.length - before
    piece.whole = this.#isWhole(bytes)
  }

  /** One read of a socket may bring several chunks, which is all that is known of what was sent together. */
  #begin (at: number): Piece {
    const piece = { at, bytes: 0, events: 0, whole: true }
    this.pieces.push(this.#open = piece)
    setImmediate(() => { this.#open = undefined })
    return piece
  }

  /** After an empty line, or a comment: some send theirs without one. */
  #isWhole (bytes: Buffer): boolean {
    const lines = (this.#line + bytes.toString('latin1')).split(/\r\n|\r|\n/)
    const rest = lines.pop()!
    // How it begins says what it is.
    this.#line = rest.slice(0, 1)
    return rest === '' && /^(:|$)/.test(lines.at(-1)!)
  }

  message (event: string, data: string, id: string): void {
    this.lastEventId = id
    this.events.push({ at: this.#at, event, id, data: data.slice(0, GLIMPSE) })
  }

  position (id: string): void { this.lastEventId = id }
  retry (time: number): void { this.reconnectionTime = time }

  comment (text: string): void {
    this.comments.push(this.#at)
    if (text === REPLAY || text === LIVE) this.marks.push(text)
  }
}
