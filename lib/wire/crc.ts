// The polynomial of CRC-32 (RFC 1952 §8). The lowest bit has the highest power, as in the checksums.
const POLYNOMIAL = 0xedb88320

/** Returns the product of two polynomials modulo POLYNOMIAL. */
function product (a: number, b: number): number {
  let sum = 0
  for (let left = a | 0, shifted = b; left !== 0; left <<= 1) {
    if (left < 0) sum ^= shifted
    shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ POLYNOMIAL
  }
  return sum >>> 0
}

/** x to the power of 8, of 16, of 32 and so on, each the square of the one before. They repeat after 32. */
const POWERS = [1 << 23]
while (POWERS.length < 32) POWERS.push(product(POWERS.at(-1)!, POWERS.at(-1)!))

/**
 * Shifts a CRC-32 over `length` bytes that follow, as `crc32_combine` of zlib does. The exclusive or of the result and
 * the CRC-32 of these bytes is the CRC-32 of the whole text. The time grows with the logarithm of the length.
 */
export function shiftCrc (crc: number, length: number): number {
  let shifted = crc
  for (let left = length, index = 0; left > 0; left = Math.floor(left / 2), index = (index + 1) % POWERS.length) {
    if (left % 2 === 1) shifted = product(POWERS[index]!, shifted)
  }
  return shifted
}
