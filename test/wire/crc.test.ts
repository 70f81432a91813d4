import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { shiftCrc } from '../../lib/wire/crc.ts'

t.test('the shifted CRC-32 of a text and that of the next one are the CRC-32 of both', async t => {
  const bytes = fc.uint8Array({ maxLength: 3_000 })
  fc.assert(fc.property(bytes, bytes, (one, next) => {
    t.equal((shiftCrc(crc32(one), next.length) ^ crc32(next)) >>> 0, crc32(Buffer.concat([one, next])))
  }))
})

t.test('a CRC-32 is shifted by any length, beyond 32 bits, too', async t => {
  const crc = crc32('text')
  const parts = [1, 2 ** 31, 2 ** 32, 2 ** 33 + 5, 2 ** 40 + 12_345]
  t.equal(shiftCrc(crc, 0), crc)
  // One after the other as at once.
  t.equal(parts.reduce(shiftCrc, crc), shiftCrc(crc, parts.reduce((sum, part) => sum + part)))
  // Zeros of that number of bytes, one MiB at a time.
  const zeros = Buffer.alloc(1_048_576)
  const [all, before] = [crc32(zeros, crc), crc32(zeros)]
  t.equal((shiftCrc(crc, zeros.length) ^ before) >>> 0, all)
})
