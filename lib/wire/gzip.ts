import { constants, deflateRawSync } from 'node:zlib'

/** The header of a gzip file: deflate, no name, no time, an unknown system (RFC 1952 §2.3). */
export const GZIP_HEADER: Buffer = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255])

// Bytes: a stored block of a shorter text is as small as a compressed one.
const MIN_COMPRESSED = 64
// zlib looks no further back than the window less this number of bytes.
const LOOKAHEAD = 262

/**
 * Returns a piece of a deflate stream (RFC 1951) that ends at a byte, so that a reader decodes all of it at once, and
 * any other piece may follow. The reader must have received the dictionary as the last bytes before.
 */
export function deflatePiece (bytes: Buffer, dictionary?: Buffer): Buffer {
  const known = dictionary?.length ?? 0
  if (known === 0 && bytes.length < MIN_COMPRESSED) return storedBlock(bytes)
  return deflateRawSync(bytes, {
    finishFlush: constants.Z_SYNC_FLUSH,
    // A smaller window takes less time to set up.
    windowBits: Math.min(15, Math.max(10, Math.ceil(Math.log2(known + bytes.length + LOOKAHEAD)))),
    // Most results fit into one buffer of the size of the text.
    chunkSize: Math.max(128, bytes.length),
    ...(known > 0 && { dictionary })
  })
}

/** Returns the bytes as a block without compression. It begins and ends at a byte. */
function storedBlock (bytes: Buffer): Buffer {
  const block = Buffer.alloc(5 + bytes.length)
  block.writeUInt16LE(bytes.length, 1)
  block.writeUInt16LE(~bytes.length & 0xffff, 3)
  bytes.copy(block, 5)
  return block
}

/** Returns the end of a gzip file: an empty last block, the CRC-32 and the length of the text. */
export function gzipEnd (crc: number, length: number): Buffer {
  const end = Buffer.alloc(10)
  end[0] = 0x03
  end.writeUInt32LE(crc, 2)
  end.writeUInt32LE(length % 2 ** 32, 6)
  return end
}

/** Bytes of a body, also as one chunk of a chunked body (RFC 9112 §7.1). Both are one memory, which many may share. */
export class Chunk {
  /** Its length, then the bytes, then CRLF. */
  readonly framed: Buffer
  readonly size: number

  constructor (...parts: readonly Buffer[]) {
    this.size = parts.reduce((sum, { length }) => sum + length, 0)
    this.framed = Buffer.concat([Buffer.from(`${this.size.toString(16)}\r\n`), ...parts, CRLF])
  }

  get bytes (): Buffer { return this.framed.subarray(-2 - this.size, -2) }
}

const CRLF = Buffer.from('\r\n')
