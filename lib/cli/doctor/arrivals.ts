import { Parser, type ParserHandlers } from '../../client/parser.ts'
import { LIVE, REPLAY } from '../../wire/protocol.ts'

/** An event and the time of its last byte, in milliseconds after the request. */
export interface Arrival { readonly at: number, readonly event: string, readonly id: string, readonly data: string }

/** Bytes that arrived together. `whole`: they end with an event, not in the middle of one. */
export interface Piece { readonly at: number, bytes: number, events: number, whole: boolean }

// The number of events after which the examination ends.
const MAX_EVENTS = 20_000
// The characters of data that identify an event.
const DATA_KEPT = 200
const MAX_EVENT_BYTES = 2 ** 24

/** Records the events, comments and bytes of a stream with their times. */
export class Arrivals implements ParserHandlers {
  readonly pieces: Piece[] = []
  readonly events: Arrival[] = []
  /** The times of comments. */
  readonly comments: number[] = []
  /** The comments of a channel's stream: `replay`, `live`. */
  readonly marks: string[] = []
  lastEventId = ''
  reconnectionTime: number | undefined
  #at = 0
  #open: Piece | undefined
  /** The incomplete line. */
  #line = ''
  readonly #parser = new Parser(this, MAX_EVENT_BYTES)

  /** Whether the recorded events are enough. */
  get full (): boolean { return this.events.length >= MAX_EVENTS }

  /** The silences in milliseconds: before the first piece and between pieces. */
  get silences (): number[] { return this.pieces.map(({ at }, index) => at - (this.pieces[index - 1]?.at ?? 0)) }

  /** Records bytes that arrived at that time. Throws FST_SSE_EVENT_SIZE. */
  feed (bytes: Buffer, at: number): void {
    if (bytes.length === 0) return
    const piece = this.#open ?? this.#begin(at)
    // All bytes of a piece have one time.
    this.#at = piece.at
    const before = this.events.length
    this.#parser.feed(bytes)
    piece.bytes += bytes.length
    piece.events += this.events.length - before
    piece.whole = this.#isWhole(bytes)
  }

  /** Begins a piece. One read of a socket may bring several chunks, which belong to one piece. */
  #begin (at: number): Piece {
    const piece = { at, bytes: 0, events: 0, whole: true }
    this.pieces.push(this.#open = piece)
    setImmediate(() => { this.#open = undefined })
    return piece
  }

  /** Returns whether the bytes end with an empty line or a comment line: some servers send no empty line after it. */
  #isWhole (bytes: Buffer): boolean {
    const lines = (this.#line + bytes.toString('latin1')).split(/\r\n|\r|\n/)
    const rest = lines.pop()!
    // The first character shows whether it is a comment.
    this.#line = rest.slice(0, 1)
    return rest === '' && /^(:|$)/.test(lines.at(-1)!)
  }

  message (event: string, data: string, id: string): void {
    this.lastEventId = id
    this.events.push({ at: this.#at, event, id, data: data.slice(0, DATA_KEPT) })
  }

  position (id: string): void { this.lastEventId = id }
  retry (time: number): void { this.reconnectionTime = time }

  comment (text: string): void {
    this.comments.push(this.#at)
    if (text === REPLAY || text === LIVE) this.marks.push(text)
  }
}
