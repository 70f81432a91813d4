import t from 'tap'
import { FrameBatch, decodeEntry, type BatchOrigin } from '../../lib/channel/frame-batch.ts'
import { EVENT_STREAM } from '../../lib/wire/format.ts'
import { JSON_LINES } from '../../lib/wire/json-lines.ts'
import type { LogEntry } from '../../lib/log/log.ts'

const entry = (offset: number, fields: Partial<LogEntry> = {}): LogEntry => ({
  offset,
  event: 'message',
  data: String(offset),
  json: true,
  ...fields
})

t.test('W2: the frame of an entry: name, id, data', async t => {
  const cases: Array<[Partial<LogEntry>, string]> = [
    [{}, 'id: e-1\ndata: 1\n\n'],
    [{ event: 'tick' }, 'event: tick\nid: e-1\ndata: 1\n\n'],
    [{ data: '', json: false }, 'id: e-1\ndata: \n\n'],
    [{ data: 'a\nb\r\nc\rd', json: false }, 'id: e-1\ndata: a\ndata: b\ndata: c\ndata: d\n\n'],
    [{ data: '{"a":"é"}' }, 'id: e-1\ndata: {"a":"é"}\n\n'],
    [{ event: 'näme: x', data: 'é€😀', json: false }, 'event: näme: x\nid: e-1\ndata: é€😀\n\n']
  ]
  for (const [fields, frame] of cases) t.equal(EVENT_STREAM.entry(entry(1, fields), 'e-1'), frame)
})

t.test('W3: a name with a line break makes no frame', async t => {
  t.throws(() => EVENT_STREAM.entry(entry(1, { event: 'a\ndata: forged' }), 'e-1'), { code: 'FST_SSE_FIELD' })
})

t.test('a decoded event equals the client\'s event, and is deeply frozen', async t => {
  const decoded = decodeEntry(entry(1, { event: 'tick', data: '{"a":[{"b":null}],"c":"text"}' }), 'e-1')
  t.strictSame({ ...decoded }, { event: 'tick', data: { a: [{ b: null }], c: 'text' }, id: 'e-1' })
  const { data } = decoded as { data: { a: object[] } }
  for (const value of [decoded, data, data.a, data.a[0]]) t.ok(Object.isFrozen(value))
})

t.test('W5: text is decoded unchanged, and every kind of JSON to its value', async t => {
  const cases: Array<[string, boolean, unknown]> = [['1', false, '1'], ['1', true, 1], ['"1"', true, '1'], ['null',
    true, null], ['false', true, false], ['{"a":1}', false, '{"a":1}'], ['', false, '']]
  for (const [data, json, value] of cases) t.strictSame(decodeEntry(entry(1, { data, json }), 'e-1').data, value)
})

t.test('a batch has the offsets before it and at its end', async t => {
  const batch = new FrameBatch('e', [entry(5), entry(6), entry(7)])
  t.strictSame([batch.epoch, batch.from, batch.to], ['e', 4, 7])
})

for (const data of ['1', 'x'.repeat(100_000), 'é€😀'.repeat(10), '\ud800']) {
  t.test(`the bytes of a batch are its frames, and its framed form is one chunk of a chunked body, for ${Buffer.byteLength(data)} bytes of data`, async t => {
    const entries = [entry(1, { data, json: false }), entry(2, { event: 'tick' })]
    const text = `id: e-1\ndata: ${data}\n\nevent: tick\nid: e-2\ndata: 2\n\n`
    const bytes = Buffer.from(text)
    const framed = Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
    // In any order of first use.
    for (const first of ['text', 'size', 'bytes', 'framed'] as const) {
      const batch = new FrameBatch('e', entries)
      t.ok(batch[first] !== undefined)
      t.equal(batch.text, text)
      t.equal(batch.size, bytes.length)
      t.ok(batch.bytes.equals(bytes))
      t.ok(batch.framed.equals(framed))
    }
  })
}

t.test('R4: each form is made once and shared', async t => {
  const batch = new FrameBatch('e', [entry(1), entry(2)])
  t.equal(batch.framed, batch.framed)
  t.equal(batch.bytes.buffer, batch.framed.buffer)
  t.equal(batch.decoded, batch.decoded)
  t.strictSame(batch.decoded.map(each => ({ ...each })), [{ event: 'message', data: 1, id: 'e-1' }, {
    event: 'message',
    data: 2,
    id: 'e-2'
  }])
})

t.test('R4: the compressed form is made once for each format, and continues the text of its broadcast', async t => {
  const origin: BatchOrigin = { size: 1, windows: undefined }
  const batches = [1, 2].map(offset => new FrameBatch('e', [entry(offset)], EVENT_STREAM, origin))
  t.equal(origin.windows, undefined, 'no memory without a client')
  const [first, second] = batches.map(({ shared }) => shared)
  t.equal(batches[0]!.shared, first)
  t.equal(second!.start, first!.end)
  t.equal(second!.end.length, batches[0]!.size + batches[1]!.size)
  const lines = batches[0]!.in(JSON_LINES)
  t.equal(lines.shared.end.length, lines.size)
  t.equal(origin.windows!.size, 2)
  t.equal(new FrameBatch('e', [entry(1)]).shared.start.length, 0, 'a batch of no broadcast')
})
