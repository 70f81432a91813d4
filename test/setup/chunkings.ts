/** Ways to cut bytes: not at all, in two at each place, each byte alone, in threes; of many bytes only a few of them. */
export function * chunkings (bytes: Uint8Array): Generator<Uint8Array[]> {
  const pieces = (size: number): Uint8Array[] => Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) => bytes.subarray(n * size, (n + 1) * size))
  yield [bytes]
  if (bytes.length > 2_000) {
    for (const size of [997, 4_096, 65_536]) yield pieces(size)
    return
  }
  for (const size of [1, 2, 3, 5]) yield pieces(size)
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)]
}
