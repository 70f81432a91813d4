import type { ParserHandlers } from './parser.ts'
import type { StreamError } from './stream-error.ts'

/** A line: an event, a position, or a reconnection delay. */
interface Line { readonly event?: string, readonly id?: string, readonly retry?: number, readonly data?: unknown }

/** Whether a value is a line. A delay that is no number of milliseconds would reconnect without a delay. */
function isLine (value: unknown): value is Line {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const { event = '', id = '', retry = 0 } = value as { event?: unknown, id?: unknown, retry?: unknown }
  return typeof event === 'string' && typeof id === 'string' && Number.isSafeInteger(retry) && Number(retry) >= 0
}

/**
 * Parses events as JSON, one object per line, from chunks that are split anywhere. Data that is a string is passed as
 * it is, other data as JSON, and both as a value.
 */
export class LineParser {
  readonly #handlers: ParserHandlers
  readonly #maxEventBytes: number
  readonly #StreamError: typeof StreamError
  readonly #decoder = new TextDecoder()
  readonly #encoder = new TextEncoder()
  #id: string
  /** The parts of an incomplete line, and its bytes. */
  #parts: string[] = []
  #bytes = 0

  /** The class of its errors is a parameter, since an import would split the bundle. */
  constructor (handlers: ParserHandlers, maxEventBytes: number, lastEventId: string, Failure: typeof StreamError) {
    this.#handlers = handlers
    this.#maxEventBytes = maxEventBytes
    this.#id = lastEventId
    this.#StreamError = Failure
  }

  /** Parses a chunk. Throws FST_SSE_EVENT_SIZE, and FST_SSE_INVALID_EVENT for a line that is no event. */
  feed (chunk: Uint8Array): void {
    const lines = this.#decoder.decode(chunk, { stream: true }).split('\n')
    const rest = lines.pop()!
    for (const line of lines) {
      this.#add(line)
      const text = this.#parts.join('').trim()
      this.#parts = []
      this.#bytes = 0
      if (text === '') this.#handlers.comment('')
      else this.#read(text)
    }
    this.#add(rest)
  }

  #add (part: string): void {
    this.#parts.push(part)
    this.#bytes += this.#encoder.encode(part).length
    if (this.#bytes <= this.#maxEventBytes) return
    throw new this.#StreamError('FST_SSE_EVENT_SIZE', `An event is larger than maxEventBytes (${this.#maxEventBytes})`)
  }

  #read (text: string): void {
    let line: unknown
    try {
      line = JSON.parse(text)
    } catch {}
    if (!isLine(line)) {
      throw new this.#StreamError('FST_SSE_INVALID_EVENT', 'A line is no event', { data: text })
    }
    const { id, retry, data } = line
    const event = line.event || 'message'
    if (retry !== undefined) this.#handlers.retry(retry)
    if (id !== undefined) this.#id = id
    if (data !== undefined && (data !== '' || event !== 'sse.position')) {
      const plain = typeof data === 'string' ? data : JSON.stringify(data)
      this.#handlers.message(event, plain, this.#id, id !== undefined, data)
    } else if (id !== undefined) this.#handlers.position(id)
  }
}
