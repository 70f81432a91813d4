import { constants, crc32, inflateRawSync } from 'node:zlib'
import t from 'tap'
import { SharedWindow, dictionaryFor } from '../../lib/channel/shared-window.ts'

const event = (n: number): Buffer =>
  Buffer.from(`id: e-${n}\ndata: ${JSON.stringify({ n, price: Math.imul(n, 2654435761) >>> 0, state: 'open' })}\n\n`)

t.test('R4: a piece is made once for all clients that have the same dictionary', async t => {
  const window = new SharedWindow()
  for (let n = 0; n < 1_000; n++) window.append(event(n), 1_000)
  const pieces = window.append(event(1_000), 1_000)
  const classes = [[0, 255], [256, 2_047], [2_048, 8_191], [8_192, 32_767], [32_768, 1e6]]
  for (const [from, to] of classes) t.equal(pieces.after(from!), pieces.after(to!), `from ${from} to ${to}`)
  const sizes = classes.map(([from]) => pieces.after(from!).size)
  t.equal(new Set(classes.map(([from]) => pieces.after(from!))).size, classes.length)
  t.strictSame(sizes, sizes.toSorted((a, b) => b - a), 'the longer the dictionary, the shorter the piece')
})

t.test('R2: each piece continues the text that its class of clients received', async t => {
  const window = new SharedWindow()
  const lengths = [3, 500, 9_000, 40_000, 10, 33_000, 200, 200, 200, 7, 2_500, 100, 12_000, 60, 60]
  // A client that joins at each batch, and receives all that follow.
  const clients: Array<{ start: number, deflated: Buffer[] }> = []
  let text = Buffer.alloc(0)
  for (const [n, length] of lengths.entries()) {
    const bytes = Buffer.concat(Array.from({ length: Math.ceil(length / 50) }, (_, index) => event(n * 1_000 + index)))
      .subarray(0, length)
    clients.push({ start: text.length, deflated: [] })
    const pieces = window.append(bytes, n % 3 === 0 ? 1 : 50)
    t.strictSame(pieces.start, { length: text.length, crc: crc32(text) })
    for (const { start, deflated } of clients) deflated.push(pieces.after(text.length - start).bytes)
    text = Buffer.concat([text, bytes])
    t.strictSame(pieces.end, { length: text.length, crc: crc32(text) })
  }
  for (const { start, deflated } of clients) {
    const decoded = inflateRawSync(Buffer.concat(deflated), { finishFlush: constants.Z_SYNC_FLUSH })
    t.ok(decoded.equals(text.subarray(start)), `a client from ${start}`)
  }
})

t.test('R2: a batch that is compressed after a later one has no dictionary, unless its piece was there', async t => {
  const window = new SharedWindow()
  for (let n = 0; n < 20; n++) window.append(event(n), 1)
  const pieces = window.append(event(20), 1)
  const early = pieces.after(256)
  window.append(event(21), 1)
  t.equal(pieces.after(2_048), early, 'the largest that is there')
  t.equal(pieces.after(256), early)
  const late = window.append(event(22), 1)
  window.append(event(23), 1)
  t.ok(inflateRawSync(late.after(10_000).bytes, { finishFlush: constants.Z_SYNC_FLUSH }).equals(event(22)))
})

t.test('a dictionary grows with the text and with its readers, within bounds', async t => {
  const cases: Array<[size: number, readers: number, length: number]> = [[200, 1, 2_048], [200, 10, 8_000],
    [200, 1_000, 32_768], [1_000, 1, 4_000], [1e6, 1, 32_768], [0, 0, 2_048]]
  for (const [size, readers, length] of cases) t.equal(dictionaryFor(size, readers), length)
  t.equal(dictionaryFor(600), 2_400)
})
