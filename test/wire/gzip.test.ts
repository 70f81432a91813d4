import { crc32, gunzipSync, inflateRawSync, constants } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { Chunk, GZIP_HEADER, deflatePiece, gzipEnd } from '../../lib/wire/gzip.ts'

const words = (n: number, length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, index) => `word${(n + index * index) % 89} `).join('').slice(0, length))

t.test('pieces are one gzip file in any order of dictionaries and lengths, and each ends at a byte', async t => {
  const piece = fc.record({
    length: fc.oneof(fc.nat(100), fc.nat(5_000), fc.constantFrom(63, 64, 65_535, 70_000)),
    dictionary: fc.oneof(fc.constantFrom(0, 256, 2_048, 8_192, 32_768), fc.nat(40_000)),
    random: fc.boolean()
  })
  fc.assert(fc.property(fc.array(piece, { maxLength: 12 }), pieces => {
    let text = Buffer.alloc(0)
    let deflated = Buffer.alloc(0)
    for (const [n, { length, dictionary, random }] of pieces.entries()) {
      const bytes = random
        ? Buffer.from(Array.from({ length }, (_, index) => (n + index * index * 7) % 256))
        : words(n, length)
      const known = Math.min(dictionary, text.length)
      deflated = Buffer.concat([deflated, deflatePiece(bytes, known > 0 ? text.subarray(-known) : undefined)])
      text = Buffer.concat([text, bytes])
      t.ok(inflateRawSync(deflated, { finishFlush: constants.Z_SYNC_FLUSH }).equals(text), 'decoded so far')
    }
    t.ok(gunzipSync(Buffer.concat([GZIP_HEADER, deflated, gzipEnd(crc32(text), text.length)])).equals(text))
  }), { numRuns: 60 })
})

t.test('a dictionary shortens a piece, and a few bytes without one are stored', async t => {
  const event = Buffer.from('data: {"id":"chatcmpl-1","object":"chunk","choices":[{"delta":{"content":" word"}}]}\n\n')
  t.ok(deflatePiece(event, event).length < 20)
  t.ok(deflatePiece(event).length > 60)
  t.strictSame(deflatePiece(Buffer.from(':\n\n')), Buffer.from([0, 3, 0, 0xfc, 0xff, 0x3a, 0x0a, 0x0a]))
  t.strictSame(deflatePiece(Buffer.from(':\n\n'), Buffer.alloc(0)), deflatePiece(Buffer.from(':\n\n')))
})

t.test('the end has the length modulo 2 to the power of 32', async t => {
  t.strictSame(gzipEnd(0xfedcba98, 2 ** 32 + 5), Buffer.from([3, 0, 0x98, 0xba, 0xdc, 0xfe, 5, 0, 0, 0]))
})

t.test('a chunk has its bytes, and the same memory as a chunk of a chunked body', async t => {
  for (const parts of [['a'], ['a', 'é'.repeat(20)], ['', 'x'.repeat(70_000)]]) {
    const chunk = new Chunk(...parts.map(part => Buffer.from(part)))
    const bytes = Buffer.from(parts.join(''))
    t.equal(chunk.size, bytes.length)
    t.ok(chunk.bytes.equals(bytes))
    t.equal(chunk.framed.toString(), `${bytes.length.toString(16)}\r\n${bytes}\r\n`)
    t.equal(chunk.bytes.buffer, chunk.framed.buffer)
  }
})
