import { EVENT_STREAM, type WireFormat } from '../wire/format.ts'
import type { LogEntry } from '../log/log.ts'
import { SharedWindow, type SharedPieces } from './shared-window.ts'

/** An entry as this process sends it. */
export interface ReviewedEntry extends LogEntry {
  /** The entry does not match the event map: only its offset is used. */
  readonly omitted?: true
}

/** An event as a loop, a filter or a map receives it. */
export interface DecodedEvent { readonly event: string, readonly data: unknown, readonly id: string }

/**
 * Returns the event of an entry, frozen. The log has only the properties that the schema declares: the same data that a
 * client receives.
 */
export function decodeEntry ({ event, data, json }: LogEntry, id: string): DecodedEvent {
  return Object.freeze({ event, data: json ? freeze(JSON.parse(data)) : data, id })
}

function freeze (value: unknown): unknown {
  if (typeof value === 'object' && value !== null) {
    Object.freeze(value)
    for (const inner of Object.values(value)) freeze(inner)
  }
  return value
}

/** The broadcast of a batch. */
export interface BatchOrigin {
  /** The number of live readers. */
  readonly size: number
  /** The text that its readers with compression have in common, by format; undefined without such readers. */
  windows: Map<WireFormat, SharedWindow> | undefined
}

/** Consecutive entries of a log for many readers: each form is made once, on first use, and shared. */
export class FrameBatch {
  readonly epoch: string
  readonly entries: readonly ReviewedEntry[]
  /** Whether no entry is omitted. */
  readonly whole: boolean
  /** The offset after which its readers continue: that before the first entry. */
  readonly from: number
  /** The offset of the last entry. */
  readonly to: number
  #text: string | undefined
  #framed: Buffer | undefined
  #head = 0
  #decoded: DecodedEvent[] | undefined
  readonly #format: WireFormat
  readonly #origin: BatchOrigin
  #other: FrameBatch | undefined
  #shared: SharedPieces | undefined

  /** `entries` has at least one entry. */
  constructor (
    epoch: string,
    entries: readonly ReviewedEntry[],
    format = EVENT_STREAM,
    origin: BatchOrigin = { size: 1, windows: undefined }
  ) {
    this.epoch = epoch
    this.entries = entries
    this.#format = format
    this.#origin = origin
    this.whole = entries.every(({ omitted }) => omitted === undefined)
    this.from = entries[0]!.offset - 1
    this.to = entries.at(-1)!.offset
  }

  /** Returns the same entries as frames of a format. */
  in (format: WireFormat): FrameBatch {
    if (format === this.#format) return this
    // The other formats have the same lines.
    return (this.#other ??= this.convert(format, this.#origin))
  }

  /** The frames of the entries. */
  get text (): string {
    return (this.#text ??= this.encode(this.#format))
  }

  /** The size of the frames in bytes. */
  get size (): number { return this.framed.length - this.#head - 2 }

  /** The frames as bytes: all connections share this memory, and none writes to it. */
  get bytes (): Buffer { return this.framed.subarray(this.#head, -2) }

  /** The bytes as one chunk of a chunked body (RFC 9112 §7.1): its length, then the bytes, then CRLF. */
  get framed (): Buffer {
    if (this.#framed === undefined) {
      const head = `${Buffer.byteLength(this.text).toString(16)}\r\n`
      this.#head = head.length
      this.#framed = Buffer.from(`${head}${this.text}\r\n`)
    }
    return this.#framed
  }

  /** The compressed frames. The first use appends the batch to the text that its readers have in common. */
  get shared (): SharedPieces {
    if (this.#shared === undefined) {
      const windows = this.#origin.windows ??= new Map<WireFormat, SharedWindow>()
      const window = windows.get(this.#format) ?? new SharedWindow()
      windows.set(this.#format, window)
      this.#shared = window.append(this.bytes, this.#origin.size)
    }
    return this.#shared
  }

  get decoded (): readonly DecodedEvent[] {
    return (this.#decoded ??= this.entries.map(entry => decodeEntry(entry, `${this.epoch}-${entry.offset}`)))
  }

  /** Returns the frames of the entries in a format. */
  protected encode (format: WireFormat): string {
    return this.entries.map(entry => format.entry(entry, `${this.epoch}-${entry.offset}`)).join('')
  }

  /** Returns a batch of the same entries in another format. */
  protected convert (format: WireFormat, origin: BatchOrigin): FrameBatch {
    return new FrameBatch(this.epoch, this.entries, format, origin)
  }
}
