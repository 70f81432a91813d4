import { encodeData, encodeName } from '../wire/encode.ts'
import type { LogEntry } from '../log/log.ts'

/** An entry as this process sends it. */
export interface ReviewedEntry extends LogEntry {
  /** The entry does not fit the map: only its offset is left. */
  readonly omitted?: true
}

/** An event as those get it who read it in this process. */
export interface DecodedEvent { readonly event: string, readonly data: unknown, readonly id: string }

/** The frame of an entry, with the position that the client brings back. */
export function frameOf ({ event, data }: LogEntry, id: string): string {
  return `${encodeName(event)}id: ${id}\n${encodeData(data)}`
}

/** What a log keeps of an event is what a client gets: nothing that its schema does not declare. */
export function decodedEventOf ({ event, data, json }: LogEntry, id: string): DecodedEvent {
  return Object.freeze({ event, data: json ? freeze(JSON.parse(data)) : data, id })
}

function freeze (value: unknown): unknown {
  if (typeof value === 'object' && value !== null) {
    Object.freeze(value)
    for (const inner of Object.values(value)) freeze(inner)
  }
  return value
}

/** Consecutive entries of a log on their way to many readers: what each of these forms costs is paid once, by the first who asks. */
export class FrameBatch {
  readonly epoch: string
  readonly entries: readonly ReviewedEntry[]
  /** Whether no entry is left out. */
  readonly whole: boolean
  /** The offset before the first of them. */
  readonly from: number
  /** The offset of the last of them. */
  readonly to: number
  #text: string | undefined
  #framed: Buffer | undefined
  #head = 0
  #received: DecodedEvent[] | undefined

  /** Of one entry at least. */
  constructor (epoch: string, entries: readonly ReviewedEntry[]) {
    this.epoch = epoch
    this.entries = entries
    this.whole = entries.every(({ omitted }) => omitted === undefined)
    this.from = entries[0]!.offset - 1
    this.to = entries.at(-1)!.offset
  }

  /** Their frames. */
  get text (): string {
    return (this.#text ??= this.entries.map(entry => frameOf(entry, `${this.epoch}-${entry.offset}`)).join(''))
  }

  /** How many bytes their frames are. */
  get size (): number { return this.framed.length - this.#head - 2 }

  /** Their frames as bytes: all connections share this memory, nobody writes to it. */
  get bytes (): Buffer { return this.framed.subarray(this.#head, -2) }

  /** These bytes as one chunk of a chunked body (RFC 9112 §7.1): its length, then the bytes, then CRLF. */
  get framed (): Buffer {
    if (this.#framed === undefined) {
      const head = `${Buffer.byteLength(this.text).toString(16)}\r\n`
      this.#head = head.length
      this.#framed = Buffer.from(`${head}${this.text}\r\n`)
    }
    return this.#framed
  }

  get received (): readonly DecodedEvent[] {
    return (this.#received ??= this.entries.map(entry => decodedEventOf(entry, `${this.epoch}-${entry.offset}`)))
  }
}
