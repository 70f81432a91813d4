import { crc32 } from 'node:zlib'
import { Chunk, deflatePiece } from '../wire/gzip.ts'
import { Window } from '../wire/window.ts'

// The lengths of the dictionaries, in bytes. Clients that received at least as many bytes in common share the pieces.
const CLASSES = [32_768, 8_192, 2_048, 256]
const LARGEST = CLASSES[0]!
const LEAST = 2_048
// A dictionary of four times the text takes about as long as the text itself.
const TIMES_TEXT = 4

/**
 * Returns the length of the dictionary that pays for a text: a longer one takes more time for each piece, and saves
 * bytes for each reader. It also bounds the memory of the window.
 */
export function dictionaryFor (size: number, readers = 1): number {
  return Math.min(LARGEST, Math.max(LEAST, TIMES_TEXT * size * readers))
}

/** The text of a broadcast to clients with compression, up to a batch. Two broadcasts share no prefix. */
export interface TextPrefix {
  /** The number of its bytes. */
  readonly length: number
  /** Its CRC-32. */
  readonly crc: number
}

/**
 * The text that a broadcast sends to clients with compression, in one format: its length, its CRC-32 and its last
 * bytes. There is no deflate context, neither here nor for a client: a piece is made for all clients that received the
 * same dictionary.
 */
export class SharedWindow {
  readonly #window = new Window()
  #keep = 0
  end: TextPrefix = { length: 0, crc: 0 }

  /** Appends the next batch. */
  append (bytes: Buffer, readers: number): SharedPieces {
    const { end: start } = this
    const limit = dictionaryFor(bytes.length, readers)
    // It never shrinks, because the buffer does not.
    this.#keep = Math.max(this.#keep, limit)
    this.#window.append(bytes, this.#keep)
    this.end = { length: start.length + bytes.length, crc: crc32(bytes, start.crc) }
    return new SharedPieces(this, { bytes, limit, start, end: this.end })
  }

  /** Returns the last `size` bytes before the batch that ends there; undefined if they are not stored. */
  before (end: TextPrefix, size: number): Buffer | undefined {
    return end === this.end && this.#window.length >= size ? this.#window.before(size) : undefined
  }
}

interface SharedBatch {
  readonly bytes: Buffer
  /** The length of the largest dictionary. */
  readonly limit: number
  readonly start: TextPrefix
  readonly end: TextPrefix
}

/** The compressed pieces of one batch, each made once, for the clients that have the same dictionary. */
export class SharedPieces {
  readonly start: TextPrefix
  readonly end: TextPrefix
  readonly #window: SharedWindow
  readonly #bytes: Buffer
  readonly #limit: number
  /** By class. */
  readonly #pieces: Array<Chunk | undefined> = CLASSES.map(() => undefined)
  /** Without a dictionary. */
  #plain: Chunk | undefined

  constructor (window: SharedWindow, { bytes, limit, start, end }: SharedBatch) {
    this.#window = window
    this.#bytes = bytes
    this.#limit = limit
    this.start = start
    this.end = end
  }

  /** Returns the piece for a client that received this number of bytes in front of the batch. */
  after (received: number): Chunk {
    const most = Math.min(received, this.#limit)
    for (let index = 0; index < CLASSES.length; index++) {
      if (CLASSES[index]! > most) continue
      const piece = this.#pieces[index] ?? this.#make(index)
      if (piece !== undefined) return piece
    }
    return (this.#plain ??= new Chunk(deflatePiece(this.#bytes)))
  }

  #make (index: number): Chunk | undefined {
    const dictionary = this.#window.before(this.end, CLASSES[index]!)
    return dictionary && (this.#pieces[index] = new Chunk(deflatePiece(this.#bytes, dictionary)))
  }
}
