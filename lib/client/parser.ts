// Implements the steps of the standard (WHATWG HTML §9.2.6). eventsource-parser does not report that a block without
// data moved the position, which is how a stream marks its end. It also counts characters, but the limit must be in
// bytes.

import { POSITION_EVENT } from '../wire/protocol.ts'
import { StreamError } from './stream-error.ts'

/** Receives the parts of a parsed stream. */
export interface ParserHandlers {
  /**
   * `id` is the last event id; `hasId` says whether this event set it. `value`: the data as a value, where the format
   * has one.
   */
  message: (event: string, data: string, id: string, hasId: boolean, value?: unknown) => void
  /** A block that sets the position and is no event: it has no data, or is the server's position event. */
  position: (id: string) => void
  /** The reconnection time, in milliseconds. */
  retry: (time: number) => void
  comment: (text: string) => void
}

const LINE_END = /\r\n|\r|\n/
const encoder = new TextEncoder()

/** Parses chunks of bytes, split anywhere, into events. Reads each byte once, however an event is split. */
export class Parser {
  readonly #handlers: ParserHandlers
  readonly #maxEventBytes: number
  // Removes the byte order mark at the start of the stream, and no other.
  readonly #decoder = new TextDecoder()
  /** The parts of an incomplete line. */
  #parts: string[] = []
  /** The last chunk ended with CR: an LF at the start of the next one belongs to it. */
  #afterCR = false
  /** The bytes of the incomplete block, without comments and line ends. */
  #bytes = 0
  #event = ''
  #data: string | undefined
  #id: string
  #hasId = false

  constructor (handlers: ParserHandlers, maxEventBytes: number, lastEventId = '') {
    this.#handlers = handlers
    this.#maxEventBytes = maxEventBytes
    this.#id = lastEventId
  }

  /** Parses a chunk. Throws FST_SSE_EVENT_SIZE. */
  feed (chunk: Uint8Array): void {
    const text = this.#decoder.decode(chunk, { stream: true })
    if (text === '') return
    // As many characters as bytes: all are ASCII, unless the first byte continues a character of the last chunk.
    const sizeOf = text.length === chunk.length && chunk[0]! < 128 ? lengthOf : bytesOf
    const lines = text.slice(this.#afterCR && text[0] === '\n' ? 1 : 0).split(text.includes('\r') ? LINE_END : '\n')
    this.#afterCR = text.endsWith('\r')
    const rest = lines.pop()!
    for (const line of lines) {
      this.#count(sizeOf(line))
      if (this.#parts.length > 0) {
        this.#read(this.#parts.join('') + line)
        this.#parts = []
      } else this.#read(line)
    }
    if (rest === '') return
    this.#count(sizeOf(rest))
    this.#parts.push(rest)
  }

  #count (bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.#maxEventBytes) {
      throw new StreamError('FST_SSE_EVENT_SIZE', `An event is larger than maxEventBytes (${this.#maxEventBytes})`)
    }
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
      this.#hasId = true
    } else if (field === '') {
      this.#bytes -= bytesOf(line)
      this.#handlers.comment(value)
    } else if (field === 'retry' && /^\d+$/.test(value)) this.#handlers.retry(Number(value))
  }

  #dispatch (): void {
    const data = this.#data
    const event = this.#event || 'message'
    const hasId = this.#hasId
    this.#data = undefined
    this.#event = ''
    this.#hasId = false
    this.#bytes = 0
    if (data !== undefined && (data !== '' || event !== POSITION_EVENT)) {
      this.#handlers.message(event, data, this.#id, hasId)
    } else if (hasId) this.#handlers.position(this.#id)
  }
}

const bytesOf = (text: string): number => encoder.encode(text).length
const lengthOf = (text: string): number => text.length
