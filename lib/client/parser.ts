// Written by the steps of the standard (WHATWG HTML §9.2.6). eventsource-parser does not say that a block without data
// moved the position, which is how a stream marks its end, and it counts characters, where a limit has to be in bytes.

import { POSITION_EVENT } from '../wire/protocol.ts'
import { StreamError } from './stream-error.ts'

/** What a stream says, read. */
export interface ParserHandlers {
  /** `id` is the last event id; `placed` where this event brought it. */
  message: (event: string, data: string, id: string, placed: boolean) => void
  /** A block that moved the position, and is no event: it has no data, or is the server's position event. */
  position: (id: string) => void
  /** The reconnection time, in milliseconds. */
  retry: (time: number) => void
  comment: (text: string) => void
}

const LINE_END = /\r\n|\r|\n/
const encoder = new TextEncoder()

/** Bytes, cut anywhere -> events. Each byte is looked at once, however an event is cut. */
export class Parser {
  readonly #handlers: ParserHandlers
  readonly #maxEventBytes: number
  // It takes the mark away that may stand before everything (BOM), and no other.
  readonly #decoder = new TextDecoder()
  /** What has come of a line, in pieces. */
  #pieces: string[] = []
  /** A line ended with CR: the LF that may follow belongs to it. */
  #afterCR = false
  /** Bytes of the block so far, without comments and line ends. */
  #bytes = 0
  #event = ''
  #data: string | undefined
  #id: string
  #placed = false

  constructor (heard: ParserHandlers, maxEventBytes: number, lastEventId = '') {
    this.#handlers = heard
    this.#maxEventBytes = maxEventBytes
    this.#id = lastEventId
  }

  /** Throws FST_SSE_EVENT_SIZE. */
  feed (chunk: Uint8Array): void {
    const text = this.#decoder.decode(chunk, { stream: true })
    if (text === '') return
    // As many characters as bytes are so many bytes, unless the first ends one of another chunk.
    const sizeOf = text.length === chunk.length && chunk[0]! < 128 ? lengthOf : bytesOf
    const lines = text.slice(this.#afterCR && text[0] === '\n' ? 1 : 0).split(text.includes('\r') ? LINE_END : '\n')
    this.#afterCR = text.endsWith('\r')
    const rest = lines.pop()!
    for (const line of lines) {
      this.#count(sizeOf(line))
      if (this.#pieces.length > 0) {
        this.#read(this.#pieces.join('') + line)
        this.#pieces = []
      } else this.#read(line)
    }
    if (rest === '') return
    this.#count(sizeOf(rest))
    this.#pieces.push(rest)
  }

  #count (bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.#maxEventBytes) throw new StreamError('FST_SSE_EVENT_SIZE', `An event is larger than the ${this.#maxEventBytes} bytes of maxEventBytes`)
  }

  #read (line: string): void {
    if (line === '') return this.#dispatch()
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (field === 'data') this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`
    else if (field === 'event') this.#event = value
    else if (field === 'id') {
      if (value.includes('\0')) return
      this.#id = value
      this.#placed = true
    } else if (field === '') {
      this.#bytes -= bytesOf(line)
      this.#handlers.comment(value)
    } else if (field === 'retry' && /^\d+$/.test(value)) this.#handlers.retry(Number(value))
  }

  #dispatch (): void {
    const data = this.#data
    const event = this.#event || 'message'
    const placed = this.#placed
    this.#data = undefined
    this.#event = ''
    this.#placed = false
    this.#bytes = 0
    if (data !== undefined && (data !== '' || event !== POSITION_EVENT)) this.#handlers.message(event, data, this.#id, placed)
    else if (placed) this.#handlers.position(this.#id)
  }
}

const bytesOf = (text: string): number => encoder.encode(text).length
const lengthOf = (text: string): number => text.length
