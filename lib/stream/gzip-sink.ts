import { crc32 } from 'node:zlib'
import type { FrameBatch } from '../channel/frame-batch.ts'
import { dictionaryFor, type TextPrefix } from '../channel/shared-window.ts'
import { shiftCrc } from '../wire/crc.ts'
import { Chunk, GZIP_HEADER, deflatePiece, gzipEnd } from '../wire/gzip.ts'
import { Window } from '../wire/window.ts'
import type { ByteSink, ChunkSink } from './response-writer.ts'

// The longest dictionary of a stream that shares no frames, in bytes. Its memory is twice as much.
const MAX_OWN = 4 * 1024

/**
 * Compresses frames to one gzip file. Each write is a piece that the client decodes at once.
 *
 * Shared frames are compressed once for all clients that received the same bytes before. A delivery only moves the
 * client's end of the shared text, from which its CRC-32 follows later. Own frames interrupt that text. They have a
 * dictionary of their own only where a stream shares no frames: a client of a broadcast has no dictionary.
 */
export class GzipSink implements ByteSink {
  /** Bytes that were written to the connection. */
  bytes = 0
  readonly #sink: ChunkSink
  /** The text of own frames. Shared text is not in it, so that it is no dictionary after shared frames. */
  #window: Window | undefined
  #begun = false
  /** CRC-32 and length of the text, without the shared text since `#start`. */
  #crc = 0
  #length = 0
  /** The part of the shared text that the client received last; undefined if its own frames followed. */
  #start: TextPrefix | undefined
  #end: TextPrefix | undefined

  /** `shares`: whether other streams receive the same frames, except for a few. */
  constructor (sink: ChunkSink, shares: boolean) {
    this.#sink = sink
    this.#window = shares ? undefined : new Window()
  }

  /** Returns false when the client has enough for now. */
  write (text: string): boolean {
    return this.#write(new Chunk(...this.#own(text)))
  }

  /** Returns false when the client has enough for now. */
  writeShared ({ shared }: FrameBatch): boolean {
    // The source of a stream may turn out to be a channel after the head was sent.
    this.#window = undefined
    if (!this.#begun) this.#write(new Chunk(...this.#header()))
    if (this.#start === undefined || this.#end !== shared.start) {
      this.#leave()
      this.#start = shared.start
    }
    this.#end = shared.end
    return this.#write(shared.after(shared.start.length - this.#start.length))
  }

  end (text: string): void {
    const parts = text === '' ? this.#header() : this.#own(text)
    this.#leave()
    const last = new Chunk(...parts, gzipEnd(this.#crc, this.#length))
    this.bytes += last.size
    this.#sink.endWith(last)
  }

  #write (chunk: Chunk): boolean {
    this.bytes += chunk.size
    return this.#sink.writeShared(chunk)
  }

  #header (): Buffer[] {
    if (this.#begun) return []
    this.#begun = true
    return [GZIP_HEADER]
  }

  /** Returns the piece of a text for this client alone. */
  #own (text: string): Buffer[] {
    this.#leave()
    const bytes = Buffer.from(text)
    this.#crc = crc32(bytes, this.#crc)
    this.#length += bytes.length
    const size = Math.min(MAX_OWN, dictionaryFor(bytes.length))
    this.#window?.append(bytes, size)
    return [...this.#header(), deflatePiece(bytes, this.#window?.before(size))]
  }

  /** Adds the shared text to the client's own CRC-32 and length. */
  #leave (): void {
    if (this.#start === undefined) return
    const [start, end] = [this.#start, this.#end!]
    const length = end.length - start.length
    this.#crc = (shiftCrc((this.#crc ^ start.crc) >>> 0, length) ^ end.crc) >>> 0
    this.#length += length
    this.#start = undefined
    this.#end = undefined
  }
}
