// Written by the steps of the standard (WHATWG HTML §9.2.6). eventsource-parser does not say that a block without data
// moved the position, which is how a stream marks its end, and it counts characters, where a limit has to be in bytes.

import { StreamError } from './stream-error.ts'

/** What a stream says, read. */
export interface Heard {
  /** `id` is the last event id; `placed` where this event brought it. */
  message: (event: string, data: string, id: string, placed: boolean) => void
  /** A block without data that moved the position. */
  position: (id: string) => void
  /** The reconnection time, in milliseconds. */
  retry: (time: number) => void
  comment: (text: string) => void
}

const encoder = new TextEncoder()
const LF = '\n'
const CR = '\r'

/** Bytes, cut anywhere -> events. Each byte is looked at once, however an event is cut. */
export class Parser {
  readonly #heard: Heard
  readonly #maxEventBytes: number
  // It takes the mark away that may stand before everything (BOM), and no other.
  readonly #decoder = new TextDecoder()
  /** The line that has not ended yet, in the pieces that came. */
  #line: string[] = []
  /** A line ended with CR: the LF that may follow belongs to it. */
  #afterCR = false
  /** Bytes of the block so far, line ends not counted. */
  #bytes = 0
  #event = ''
  #data: string[] = []
  #id: string
  #placed = false

  constructor (heard: Heard, maxEventBytes: number, lastEventId = '') {
    this.#heard = heard
    this.#maxEventBytes = maxEventBytes
    this.#id = lastEventId
  }

  /** Throws FST_SSE_EVENT_SIZE. */
  feed (chunk: Uint8Array): void {
    const text = this.#decoder.decode(chunk, { stream: true })
    if (text === '') return
    // With no end of a character at its beginning, as many as there are bytes.
    const ascii = text.length === chunk.length && chunk[0]! < 128
    let from = this.#afterCR && text[0] === LF ? 1 : 0
    this.#afterCR = text.endsWith(CR)
    // Which of the two comes first is not looked for again at every line.
    let cr = text.indexOf(CR, from)
    let lf = text.indexOf(LF, from)
    while (cr >= 0 || lf >= 0) {
      const end = cr < 0 || (lf >= 0 && lf < cr) ? lf : cr
      const piece = text.slice(from, end)
      this.#count(piece, ascii)
      this.#line.push(piece)
      const line = this.#line.length === 1 ? piece : this.#line.join('')
      this.#line = []
      this.#read(line)
      from = end === cr && lf === end + 1 ? end + 2 : end + 1
      if (cr >= 0 && cr < from) cr = text.indexOf(CR, from)
      if (lf >= 0 && lf < from) lf = text.indexOf(LF, from)
    }
    if (from === text.length) return
    const rest = text.slice(from)
    this.#count(rest, ascii)
    this.#line.push(rest)
  }

  #count (text: string, ascii: boolean): void {
    this.#bytes += ascii ? text.length : encoder.encode(text).length
    if (this.#bytes > this.#maxEventBytes) throw new StreamError('FST_SSE_EVENT_SIZE', `An event is larger than the ${this.#maxEventBytes} bytes of maxEventBytes`)
  }

  #read (line: string): void {
    if (line === '') return this.#dispatch()
    const colon = line.indexOf(':')
    if (colon === 0) {
      this.#bytes -= encoder.encode(line).length
      return this.#heard.comment(line.slice(1).trim())
    }
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (field === 'data') this.#data.push(value)
    else if (field === 'event') this.#event = value
    else if (field === 'retry') {
      if (/^[0-9]+$/.test(value)) this.#heard.retry(Number(value))
    } else if (field === 'id' && !value.includes('\0')) {
      this.#id = value
      this.#placed = true
    }
  }

  #dispatch (): void {
    const data = this.#data
    const event = this.#event || 'message'
    const placed = this.#placed
    this.#data = []
    this.#event = ''
    this.#placed = false
    this.#bytes = 0
    if (data.length > 0) this.#heard.message(event, data.join(LF), this.#id, placed)
    else if (placed) this.#heard.position(this.#id)
  }
}
