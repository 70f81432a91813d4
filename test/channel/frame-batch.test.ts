import t from 'tap'
import { FrameBatch, frameOf, decodedEventOf } from '../../lib/channel/frame-batch.ts'
import type { LogEntry } from '../../lib/log/log.ts'

const entry = (offset: number, fields: Partial<LogEntry> = {}): LogEntry => ({ offset, event: 'message', data: String(offset), json: true, ...fields })

t.test('W2: the frame of an entry: name, id, data', async t => {
  const cases: Array<[Partial<LogEntry>, string]> = [
    [{}, 'id: e-1\ndata: 1\n\n'],
    [{ event: 'tick' }, 'event: tick\nid: e-1\ndata: 1\n\n'],
    [{ data: '', json: false }, 'id: e-1\ndata: \n\n'],
    [{ data: 'a\nb\r\nc\rd', json: false }, 'id: e-1\ndata: a\ndata: b\ndata: c\ndata: d\n\n'],
    [{ data: '{"a":"é"}' }, 'id: e-1\ndata: {"a":"é"}\n\n'],
    [{ event: 'näme: x', data: 'é€😀', json: false }, 'event: näme: x\nid: e-1\ndata: é€😀\n\n']
  ]
  for (const [fields, frame] of cases) t.equal(frameOf(entry(1, fields), 'e-1'), frame)
})

t.test('W3: a name that breaks the line makes no frame', async t => {
  t.throws(() => frameOf(entry(1, { event: 'a\ndata: forged' }), 'e-1'), { code: 'FST_SSE_FIELD' })
})

t.test('what is received is what the client gets, frozen all the way down', async t => {
  const received = decodedEventOf(entry(1, { event: 'tick', data: '{"a":[{"b":null}],"c":"text"}' }), 'e-1')
  t.strictSame({ ...received }, { event: 'tick', data: { a: [{ b: null }], c: 'text' }, id: 'e-1' })
  const { data } = received as { data: { a: object[] } }
  for (const value of [received, data, data.a, data.a[0]]) t.ok(Object.isFrozen(value))
})

t.test('W5: text is received as it is, and every kind of JSON as what it means', async t => {
  const cases: Array<[string, boolean, unknown]> = [['1', false, '1'], ['1', true, 1], ['"1"', true, '1'], ['null', true, null], ['false', true, false], ['{"a":1}', false, '{"a":1}'], ['', false, '']]
  for (const [data, json, value] of cases) t.strictSame(decodedEventOf(entry(1, { data, json }), 'e-1').data, value)
})

t.test('a chunk knows the offsets before and at its end', async t => {
  const chunk = new FrameBatch('e', [entry(5), entry(6), entry(7)])
  t.strictSame([chunk.epoch, chunk.from, chunk.to], ['e', 4, 7])
})

for (const data of ['1', 'x'.repeat(100_000), 'é€😀'.repeat(10), '\ud800']) {
  t.test(`the bytes of a chunk are its frames, and its frames as one chunk of a chunked body, for ${Buffer.byteLength(data)} bytes of data`, async t => {
    const entries = [entry(1, { data, json: false }), entry(2, { event: 'tick' })]
    const text = `id: e-1\ndata: ${data}\n\nevent: tick\nid: e-2\ndata: 2\n\n`
    const bytes = Buffer.from(text)
    const framed = Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
    // Whichever is asked for first.
    for (const first of ['text', 'size', 'bytes', 'framed'] as const) {
      const chunk = new FrameBatch('e', entries)
      t.ok(chunk[first] !== undefined)
      t.equal(chunk.text, text)
      t.equal(chunk.size, bytes.length)
      t.ok(chunk.bytes.equals(bytes))
      t.ok(chunk.framed.equals(framed))
    }
  })
}

t.test('R4: what one has made is there for the others', async t => {
  const chunk = new FrameBatch('e', [entry(1), entry(2)])
  t.equal(chunk.framed, chunk.framed)
  t.equal(chunk.bytes.buffer, chunk.framed.buffer)
  t.equal(chunk.received, chunk.received)
  t.strictSame(chunk.received.map(each => ({ ...each })), [{ event: 'message', data: 1, id: 'e-1' }, { event: 'message', data: 2, id: 'e-2' }])
})
