import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { Parser } from '../../lib/client/parser.ts'
import { byteCases, type ByteCase } from '../setup/byte-cases.ts'

const encoder = new TextEncoder()
const CR = 13

/** Returns the calls of the handlers for chunks of bytes, as one list. */
function heard (chunks: Iterable<Uint8Array>, { maxEventBytes = Infinity, lastEventId = '' } = {}): unknown[] {
  const list: unknown[] = []
  const parser = new Parser({
    message: (event, data, id, placed) => list.push({ event, data, id, placed }),
    position: id => list.push({ position: id }),
    retry: time => list.push({ retry: time }),
    comment: text => list.push({ comment: text })
  }, maxEventBytes, lastEventId)
  for (const chunk of chunks) parser.feed(chunk)
  return list
}

const bytesOf = (bytes: string | Uint8Array): Uint8Array => typeof bytes === 'string' ? encoder.encode(bytes) : bytes
const cutEvery = (bytes: Uint8Array, size: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) => bytes.subarray(n * size, (n + 1) * size))

function cutAt (bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const borders = [0, ...places.filter(place => place < bytes.length).sort((a, b) => a - b), bytes.length]
  return borders.slice(1).map((end, n) => bytes.subarray(borders[n], end))
}

const cutAfterEach = (bytes: Uint8Array, byte: number): Uint8Array[] =>
  cutAt(bytes, [...bytes.keys()].filter(place => bytes[place] === byte).map(place => place + 1))

const message = (data: string, { id = '', placed = id !== '' }: { id?: string, placed?: boolean } = {}) => ({
  event: 'message',
  data,
  id,
  placed
})

/** Returns a case as the client receives it. */
function read (chunks: Iterable<Uint8Array>): Required<ByteCase['expect']> {
  const expect: Required<ByteCase['expect']> = { messages: [], lastEventId: '', retry: NaN, comments: [] }
  const parser = new Parser({
    message: (event, data, id, placed) => {
      expect.messages.push({ event, data, id })
      if (placed) expect.lastEventId = id
    },
    position: id => { expect.lastEventId = id },
    retry: time => { expect.retry = time },
    comment: text => expect.comments.push(text)
  }, Infinity)
  for (const chunk of chunks) parser.feed(chunk)
  return expect
}

t.test('W2: bytes are parsed by the standard, wherever they are split', async t => {
  t.ok(byteCases.length > 100)
  for (const { title, bytes: given, expect } of byteCases) {
    const bytes = bytesOf(given)
    const expected = { retry: NaN, comments: [], ...expect }
    const cuts = {
      whole: [bytes],
      'byte by byte': cutEvery(bytes, 1),
      'cut after each CR': cutAfterEach(bytes, CR),
      'with chunks of nothing': [new Uint8Array(), ...cutEvery(bytes, 61).flatMap(part => [part, new Uint8Array()])]
    }
    for (const [cut, chunks] of Object.entries(cuts)) {
      const actual = read(chunks)
      // Equal results are not printed, since some are long.
      if (isDeepStrictEqual(actual, expected)) t.pass(`${title}: ${cut}`)
      else t.strictSame(actual, expected, `${title}: ${cut}`)
    }
  }
})

t.test('an id belongs to the event that set it, or to a position alone, and not to later events', async t => {
  const cases: Array<[title: string, bytes: string, expected: unknown[]]> = [
    ['the id of an event, which the next ones keep', 'id: 1\ndata: a\n\ndata: b\n\n', [message('a', { id: '1' }),
      message('b', { id: '1', placed: false })]],
    ['an empty id, which resets', 'id: 1\ndata: a\n\nid\ndata: b\n\ndata: c\n\n', [message('a', { id: '1' }),
      message('b', { placed: true }), message('c')]],
    ['an id with NUL, which is none', 'id: 2\0\ndata: b\n\n', [message('b')]],
    ['W8: a position by itself is no event',
      'event: sse.position\nid: 1\ndata: \n\nevent: sse.position\ndata\n\ndata: a\n\n', [{ position: '1' },
        message('a', { id: '1', placed: false })]],
    ['an id alone', 'id: 1\n\ndata: a\n\n', [{ position: '1' }, message('a', { id: '1', placed: false })]],
    ['an empty id alone', 'id:\n\n', [{ position: '' }]],
    ['an id with a name and no data', 'id: 1\nevent: e\n\n', [{ position: '1' }]],
    ['an id of a block that does not end', 'id: 1\n', []]
  ]
  for (const [title, text, expected] of cases) t.strictSame(heard([encoder.encode(text)]), expected, title)
})

t.test('W2: any split of any stream gives the same events', async t => {
  const pieces = fc.array(
    fc.constantFrom('data: ', 'data', 'id: ', 'event: ', 'retry: 5', ':', 'x', 'é', '€', '😀', '\ufeff', '\0', ' ',
      '\n', '\r', '\r\n', '\n\n', '\r\n\r\n'),
    { maxLength: 60 }
  )
  fc.assert(fc.property(pieces, fc.array(fc.nat(200)), (pieces, places) => {
    const bytes = encoder.encode(pieces.join(''))
    t.strictSame(heard(cutAt(bytes, places)), heard([bytes]))
  }))
})

t.test('an event without an id has the id that the stream began with', async t => {
  t.strictSame(heard([encoder.encode('data: a\n\nid: 8\ndata: b\n\n')], { lastEventId: '7' }), [
    message('a', { id: '7', placed: false }),
    message('b', { id: '8' })
  ])
})

t.test('an event of maxEventBytes is parsed, and one byte more is FST_SSE_EVENT_SIZE, wherever it is split', async t => {
  // Line ends do not count.
  const events: Array<[string, string]> = [
    ['ASCII', 'data: 456789\n\n'],
    ['two bytes a character', 'data: ééé\n\n'],
    ['three', 'data: €€\n\n'],
    ['four', 'data: 😀xy\n\n'],
    ['all fields', 'id:4\ndata:567\n\n'],
    ['many lines', 'data\ndata\ndata\n\n'],
    ['other line ends', 'data: 4\rdata:\r\n\r\n'],
    ['fields that nobody knows', 'data: 4\nother\n\n'],
    ['a line that has not ended', 'data: 456789']
  ]
  for (const [title, text] of events) {
    for (const size of [1, 2, 3, 64]) {
      const chunks = cutEvery(encoder.encode(text), size)
      t.doesNotThrow(() => heard(chunks, { maxEventBytes: 12 }), `${title}, cut every ${size}`)
      t.throws(() => heard(chunks, { maxEventBytes: 11 }), {
        code: 'FST_SSE_EVENT_SIZE',
        message: 'An event is larger than maxEventBytes (11)'
      }, `${title}, cut every ${size}`)
    }
  }
})

t.test('maxEventBytes limits one event, not the stream, and comments do not count', async t => {
  const many = Array.from({ length: 50 }, (_, n) => `data: ${n}\n\n`).join('')
  t.equal(heard([encoder.encode(many)], { maxEventBytes: 8 }).length, 50)
  const comments = ': 34567\n'.repeat(50)
  t.strictSame(heard([encoder.encode(`data: 4\n${comments}\n`)], { maxEventBytes: 14 }).at(-1), message('4'))
  const accents = ': żółw\n'.repeat(50)
  t.strictSame(heard([encoder.encode(`data: 4\n${accents}\n`)], { maxEventBytes: 16 }).at(-1), message('4'))
  t.throws(() => heard([encoder.encode(`:${'x'.repeat(100)}`)], { maxEventBytes: 14 }), { code: 'FST_SSE_EVENT_SIZE' },
    'but one has to be kept until its line ends')
})

t.test('events before an oversized one are reported', async t => {
  const told: string[] = []
  const parser = new Parser({
    message: (_event, data) => told.push(data),
    position: () => {},
    retry: () => {},
    comment: () => {}
  }, 10)
  t.throws(() => parser.feed(encoder.encode('data: a\n\ndata: b\n\ndata: too much\n\n')), {
    code: 'FST_SSE_EVENT_SIZE'
  })
  t.strictSame(told, ['a', 'b'])
})

/** Returns the number of characters and bytes that are read or copied for an event of that size, split into chunks. */
function work (length: number, size: number, line: number): number {
  const bytes = encoder.encode(`data: ${'x'.repeat(line - 6)}\n`.repeat(length / line) + '\n')
  let looked = 0
  const { indexOf, slice, split } = String.prototype
  const { join } = Array.prototype
  const { encode } = TextEncoder.prototype
  const { decode } = TextDecoder.prototype
  const restore = (): void => {
    Object.assign(String.prototype, { indexOf, slice, split })
    Object.assign(Array.prototype, { join })
    Object.assign(TextEncoder.prototype, { encode })
    Object.assign(TextDecoder.prototype, { decode })
  }
  Object.assign(String.prototype, {
    indexOf (this: string, text: string, from = 0): number {
      const found = indexOf.call(this, text, from)
      looked += (found < 0 ? this.length : found + 1) - from
      return found
    },
    slice (this: string, from?: number, to?: number): string {
      const part = slice.call(this, from, to)
      looked += part.length
      return part
    },
    split (this: string, separator: string | RegExp): string[] {
      looked += this.length
      return split.call(this, separator as RegExp)
    }
  })
  Object.assign(Array.prototype, {
    join (this: string[], separator?: string): string {
      const text = join.call(this, separator)
      looked += text.length
      return text
    }
  })
  Object.assign(TextEncoder.prototype, {
    encode (this: TextEncoder, text: string): Uint8Array {
      looked += text.length
      return encode.call(this, text)
    }
  })
  Object.assign(TextDecoder.prototype, {
    decode (this: TextDecoder, chunk: Uint8Array, options?: TextDecodeOptions): string {
      looked += chunk.length
      return decode.call(this, chunk, options)
    }
  })
  let events = 0
  try {
    const parser = new Parser({
      message: () => {
        events++
      },
      position: () => {},
      retry: () => {},
      comment: () => {}
    }, Infinity)
    for (let at = 0; at < bytes.length; at += size) parser.feed(bytes.subarray(at, at + size))
  } finally {
    restore()
  }
  if (events !== 1) throw new Error(`${events} events instead of one`)
  return looked
}

t.test('an event is parsed in linear time, however it is split: eight times the bytes take eight times the work', async t => {
  const KiB = 1024
  for (const line of [16, 4 * KiB, 32 * KiB]) {
    for (const size of [1, 7, 512, 8 * KiB]) {
      const small = work(32 * KiB, size, line)
      const large = work(256 * KiB, size, line)
      t.ok(large < 8.1 * small, `lines of ${line}, chunks of ${size}: ${small} and ${large}`)
      t.ok(large < 12 * 256 * KiB,
        `lines of ${line}, chunks of ${size}: ${(large / 256 / KiB).toFixed(1)} looks at each byte`)
    }
  }
  for (const size of [1, 8 * KiB]) {
    const small = work(32 * KiB, size, 32 * KiB)
    const large = work(256 * KiB, size, 256 * KiB)
    t.ok(large < 8.1 * small, `one line, chunks of ${size}: ${small} and ${large}`)
  }
})

t.test('an event of 8 MiB is parsed from chunks of any size', async t => {
  const data = 'x'.repeat(8 * 1024 * 1024 - 6)
  const bytes = encoder.encode(`data: ${data}\n\n`)
  for (const size of [16, 1024, 64 * 1024]) {
    t.ok((heard(cutEvery(bytes, size))[0] as { data: string }).data === data, `${size} bytes`)
  }
})
