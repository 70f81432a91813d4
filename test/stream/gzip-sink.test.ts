import { gunzipSync, inflateRawSync, constants } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { FrameBatch, type BatchOrigin } from '../../lib/channel/frame-batch.ts'
import { GzipSink } from '../../lib/stream/gzip-sink.ts'
import { EVENT_STREAM } from '../../lib/wire/format.ts'

/** A sink that collects what it gets, and says whether it has room. */
class TestSink {
  room = true
  ended = false
  readonly chunks: Buffer[] = []

  writeShared ({ bytes }: { bytes: Buffer }): boolean {
    this.chunks.push(Buffer.from(bytes))
    return this.room
  }

  endWith (chunk: { bytes: Buffer }): void {
    this.writeShared(chunk)
    this.ended = true
  }

  get bytes (): Buffer { return Buffer.concat(this.chunks) }
  /** The text that a client has decoded by now. */
  get decoded (): string {
    return inflateRawSync(this.bytes.subarray(10), { finishFlush: constants.Z_SYNC_FLUSH }).toString()
  }
}

function opened (shares = true): { sink: TestSink, gzip: GzipSink } {
  const sink = new TestSink()
  return { sink, gzip: new GzipSink(sink, shares) }
}

const batchOf = (origin: BatchOrigin, offset: number, data: string): FrameBatch =>
  new FrameBatch('e', [{ offset, event: 'message', data, json: false }], EVENT_STREAM, origin)

t.test('each write is decoded at once, and the end is that of a gzip file', async t => {
  for (const shares of [true, false]) {
    const { sink, gzip } = opened(shares)
    let text = ''
    for (const part of [':\n\n', 'data: é€😀\n\n', 'data: \ud800\n\n', `data: ${'x'.repeat(100_000)}\n\n`]) {
      t.equal(gzip.write(part), true)
      text += Buffer.from(part).toString()
      t.equal(sink.decoded, text)
      t.equal(gzip.bytes, sink.bytes.length)
    }
    gzip.end('last')
    t.equal(sink.ended, true)
    t.equal(gunzipSync(sink.bytes).toString(), `${text}last`)
    t.equal(gzip.bytes, sink.bytes.length)
  }
})

t.test('an end alone is an empty gzip file, and one write', async t => {
  const { sink, gzip } = opened()
  gzip.end('')
  t.equal(sink.chunks.length, 1)
  t.equal(gunzipSync(sink.bytes).length, 0)
  const one = opened()
  one.gzip.end('all')
  t.equal(one.sink.chunks.length, 1)
  t.equal(gunzipSync(one.sink.bytes).toString(), 'all')
})

t.test('L4: a write returns whether there is room', async t => {
  const { sink, gzip } = opened()
  sink.room = false
  t.equal(gzip.write('a'), false)
  t.equal(gzip.writeShared(batchOf({ size: 1, windows: undefined }, 1, 'b')), false)
})

t.test('a stream of its own frames has a dictionary of its own, one with shared frames has none', async t => {
  const token = (n: number): string => `data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":" w${n}"}}]}\n\n`
  const size = (shares: boolean): number => {
    const { gzip, sink } = opened(shares)
    for (let n = 0; n < 100; n++) gzip.write(token(n))
    t.equal(sink.decoded, Array.from({ length: 100 }, (_, n) => token(n)).join(''))
    return gzip.bytes
  }
  t.ok(size(false) < size(true) / 2)
})

t.test('own frames after shared ones are decoded, also in a stream that had own frames alone', async t => {
  for (const shares of [true, false]) {
    const { sink, gzip } = opened(shares)
    const origin: BatchOrigin = { size: 1, windows: undefined }
    const own = 'data: the same text in all frames, so that a dictionary is used\n\n'
    let text = ''
    for (let offset = 1; offset < 20; offset++) {
      const batch = batchOf(origin, offset, `${offset} the same text in all frames`)
      gzip.write(own)
      gzip.writeShared(batch)
      text += own + batch.text
      t.equal(sink.decoded, text)
    }
    gzip.end(own)
    t.equal(gunzipSync(sink.bytes).toString(), text + own)
  }
})

t.test('R4: clients with the same frames get the same memory', async t => {
  const origin: BatchOrigin = { size: 2, windows: undefined }
  const pieces = new Set<unknown>()
  const clients = [1, 2].map(() => {
    const gzip = new GzipSink({ writeShared: chunk => pieces.add(chunk.framed) !== undefined, endWith: () => {} }, true)
    gzip.write(': live\n')
    return gzip
  })
  for (let n = 1; n <= 50; n++) {
    const batch = batchOf(origin, n, `event ${n}`)
    for (const client of clients) client.writeShared(batch)
  }
  t.equal(pieces.size, 2 + 50)
})

t.test('R2: clients decode the same text, over random joins, missed batches, own frames and ends', async t => {
  const step = fc.record({
    size: fc.oneof({ weight: 8, arbitrary: fc.nat(300) }, { weight: 2, arbitrary: fc.nat(9_000) },
      { weight: 1, arbitrary: fc.nat(40_000) }),
    join: fc.boolean(),
    // By client: gets the batch shared, as its own text, or not at all, with an own frame before it or not.
    fates: fc.array(fc.constantFrom('shared', 'shared', 'shared', 'shared', 'own', 'missed', 'heartbeat', 'end'), {
      maxLength: 4
    }),
    readers: fc.constantFrom(1, 10, 1_000)
  })
  fc.assert(fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), steps => {
    const origin = { size: 1, windows: undefined } satisfies BatchOrigin
    const clients: Array<ReturnType<typeof opened> & { text: string }> = []
    for (const [n, { size, join, fates, readers }] of steps.entries()) {
      if (join || n === 0) clients.push({ ...opened(), text: '' })
      Object.assign(origin, { size: readers })
      const batch = batchOf(origin, n + 1, `${n} `.repeat(size / 2).slice(0, size))
      for (const [index, client] of clients.entries()) {
        if (client.sink.ended) continue
        const fate = fates[index % 4] ?? 'shared'
        if (fate === 'missed') continue
        if (fate === 'heartbeat') {
          client.gzip.write(':\n\n')
          client.text += ':\n\n'
        }
        if (fate === 'own') client.gzip.write(batch.text)
        else if (fate === 'end') client.gzip.end(batch.text)
        else client.gzip.writeShared(batch)
        client.text += batch.text
      }
    }
    for (const { sink, gzip, text } of clients) {
      if (!sink.ended) {
        if (text !== '') t.ok(sink.decoded === text)
        gzip.end('')
      }
      t.ok(gunzipSync(sink.bytes).toString() === text)
      t.equal(gzip.bytes, sink.bytes.length)
    }
  }), { numRuns: 100 })
})
