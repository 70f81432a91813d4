import { validateHeaderValue } from 'node:http'
import fc from 'fast-check'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import t from 'tap'
import {
  encodeComment, encodeControl, encodeData, encodeName, encodePosition,
  HEARTBEAT
} from '../../lib/wire/encode.ts'

/** Returns a whole frame, from all four functions in the order of the wire (W2). */
interface Parts {
  comment?: string | undefined
  event?: string | undefined
  id?: string | number | undefined
  retry?: number | undefined
  data: string
}
const encode = ({ comment, event, id, retry, data }: Parts): string =>
  (comment === undefined ? '' : encodeComment(comment)) + encodeName(event) + encodePosition(id, retry) +
  encodeData(data)

/** Returns the events that a client parses from these bytes, cut into chunks. */
function read (
  text: string,
  cuts: number[] = []
): { events: EventSourceMessage[], comments: string[], retries: number[], errors: Error[] } {
  const events: EventSourceMessage[] = []
  const comments: string[] = []
  const retries: number[] = []
  const errors: Error[] = []
  const parser = createParser({
    onEvent: event => { events.push(event) },
    onComment: comment => { comments.push(comment) },
    onRetry: retry => { retries.push(retry) },
    onError: error => { errors.push(error) }
  })
  const bytes = new TextEncoder().encode(text)
  const decoder = new TextDecoder()
  const borders = [0, ...cuts.map(cut => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  for (let i = 1; i < borders.length; i++) {
    parser.feed(decoder.decode(bytes.subarray(borders[i - 1], borders[i]), { stream: true }))
  }
  return { events, comments, retries, errors }
}

/** UTF-8 has no lone surrogates. */
const asUtf8 = (text: string): string => Buffer.from(text).toString()

/** Returns the text that a client receives: each line end is an LF. */
const received = (text: string): string => asUtf8(text.replace(/\r\n?/g, '\n'))

const codeOf = (make: () => unknown): string => {
  try {
    make()
    return 'no error'
  } catch (error) {
    return `${(error as { code?: string }).code}: ${(error as Error).message}`
  }
}

t.test('W2: the fields come in the order event, id, retry, data, with one space after the colon, and LF only', async t => {
  const cases: Array<[Parts, string]> = [
    [{ data: 'a' }, 'data: a\n\n'],
    [{ event: 'tick', data: 'a' }, 'event: tick\ndata: a\n\n'],
    [{ id: 7, data: 'a' }, 'id: 7\ndata: a\n\n'],
    [{ retry: 10, data: 'a' }, 'retry: 10\ndata: a\n\n'],
    [{ data: 'a', retry: 10, id: 'x', event: 'tick' }, 'event: tick\nid: x\nretry: 10\ndata: a\n\n'],
    [{ comment: 'c', data: 'a', event: 'tick' }, ': c\n\nevent: tick\ndata: a\n\n'],
    [{ event: ' tick ', id: 'x y', data: ' a' }, 'event:  tick \nid: x y\ndata:  a\n\n'],
    [{ event: 'a: b', id: ':', data: 'id: 9' }, 'event: a: b\nid: :\ndata: id: 9\n\n'],
    [{ event: 'żółw', id: '🐢', data: '\u2028\u2029\u0085\v\f\uFEFF' },
      'event: żółw\nid: 🐢\ndata: \u2028\u2029\u0085\v\f\uFEFF\n\n']
  ]
  for (const [parts, wire] of cases) t.equal(encode(parts), wire)
})

t.test('W3: text is split on CRLF, CR and LF, and each line is a data field', async t => {
  const cases: Array<[string, string]> = [
    ['a\nb', 'data: a\ndata: b\n\n'],
    ['a\rb', 'data: a\ndata: b\n\n'],
    ['a\r\nb', 'data: a\ndata: b\n\n'],
    ['a\n\rb', 'data: a\ndata: \ndata: b\n\n'],
    ['a\r\r\nb', 'data: a\ndata: \ndata: b\n\n'],
    ['\n', 'data: \ndata: \n\n'],
    ['a\n', 'data: a\ndata: \n\n'],
    ['\ra', 'data: \ndata: a\n\n'],
    ['a\n\nevent: evil\ndata: b', 'data: a\ndata: \ndata: event: evil\ndata: data: b\n\n'],
    ['a\u0000b', 'data: a\u0000b\n\n'],
    ['a\u2028b\u0085c', 'data: a\u2028b\u0085c\n\n']
  ]
  for (const [text, wire] of cases) t.equal(encodeData(text), wire)
})

t.test('W3: a comment is split on CRLF, CR and LF, and each line is a comment', async t => {
  const cases: Array<[string, string]> = [
    ['hello', ': hello\n\n'],
    ['', ':\n\n'],
    ['a\nb', ': a\n: b\n\n'],
    ['a\rb', ': a\n: b\n\n'],
    ['a\r\nb', ': a\n: b\n\n'],
    ['\n', ': \n: \n\n'],
    ['a\n\ndata: evil\n\n', ': a\n: \n: data: evil\n: \n: \n\n']
  ]
  for (const [text, wire] of cases) t.equal(encodeComment(text), wire)
  t.equal(HEARTBEAT, encodeComment(''), 'a heartbeat is the empty comment')
})

const AN_ID =
  'a finite number or a string that a header can carry: at most 4096 bytes of UTF-8, no control character but a tab, no space or tab at an end'

t.test('W3: a name or id with CR, LF or NUL throws FST_SSE_FIELD', async t => {
  const event = (shown: string) =>
    `FST_SSE_FIELD: The field 'event' of an event must be a string without CR, LF and NUL, got ${shown}`
  const id = (shown: string) => `FST_SSE_FIELD: The field 'id' of an event must be ${AN_ID}, got ${shown}`
  for (const bad of ['a\nb', 'a\rb', 'a\r\nb', '\n', '\r', 'a\u0000b', '\u0000', 'x\ndata: evil\n\n']) {
    t.equal(codeOf(() => encodeName(bad)), event(`${JSON.stringify(bad)} (string)`))
    t.equal(codeOf(() => encodePosition(bad, undefined)), id(`${JSON.stringify(bad)} (string)`))
  }
  t.equal(codeOf(() => Reflect.apply(encodeName, undefined, [5])), event('5 (number)'))
  t.equal(codeOf(() => Reflect.apply(encodeName, undefined, [null])), event('null'))
  const noIds: Array<[unknown, string]> = [
    [null, 'null'],
    [NaN, 'NaN (number)'],
    [Infinity, 'Infinity (number)'],
    [true, 'true (boolean)'],
    [1n, '1 (bigint)'],
    [{}, 'an object (Object)'],
    [['a'], 'an array'],
    [Symbol('s'), 'Symbol(s) (symbol)'],
    [new String('a'), 'an object (String)'] // eslint-disable-line no-new-wrappers
  ]
  for (const [bad, shown] of noIds) {
    t.equal(codeOf(() => Reflect.apply(encodePosition, undefined, [bad, undefined])), id(shown))
  }
})

t.test('W3: an id that no header can carry unchanged throws FST_SSE_FIELD', async t => {
  const control = [...Array.from({ length: 0x20 }, (_, code) => code), 0x7f].filter(code => code !== 0x09).map(code =>
    `a${String.fromCharCode(code)}b`
  )
  const ends = [' ', '\t', ' a', 'a ', '\ta', 'a\t', '  ', ' é', 'é\t']
  const surrogates = ['\ud800', 'a\udc00b', '\udc00\ud800', '\ud83d\ud83d\ude00']
  const long = ['x'.repeat(4_097), 'x'.repeat(200_000), 'é'.repeat(2_049), '€'.repeat(1_366), '😀'.repeat(1_025)]
  for (const bad of [...control, ...ends, ...surrogates, ...long]) {
    for (const make of [() => encodePosition(bad, undefined), () => encodeControl({ id: bad })]) {
      t.match(codeOf(make), `FST_SSE_FIELD: The field 'id' of an event must be ${AN_ID}, got "`)
    }
  }
  const fine = ['', 'a b', 'a\tb', 'é', '\u0080', '\u00a0', '\ufeff', '\u2028', '\uffff', '😀', 'x'.repeat(4_096),
    'é'.repeat(2_048), '😀'.repeat(1_024)]
  for (const good of fine) t.equal(encodePosition(good, undefined), `id: ${good}\n`)
})

t.test('W3: a retry that is no whole number from 0 throws FST_SSE_FIELD', async t => {
  const cases: Array<[unknown, string]> = [
    [-1, '-1 (number)'],
    [0.5, '0.5 (number)'],
    [NaN, 'NaN (number)'],
    [Infinity, 'Infinity (number)'],
    [2 ** 53, '9007199254740992 (number)'],
    [1e21, '1e+21 (number)'],
    ['5', '"5" (string)'],
    ['5\ndata: evil', '"5\\ndata: evil" (string)'],
    [5n, '5 (bigint)'],
    [null, 'null'],
    [{}, 'an object (Object)'],
    [false, 'false (boolean)']
  ]
  for (const [bad, shown] of cases) {
    t.equal(codeOf(() => Reflect.apply(encodePosition, undefined, [undefined, bad])),
      `FST_SSE_FIELD: The field 'retry' of an event must be a whole number of milliseconds, 0 or more, got ${shown}`)
  }
})

t.test('W3: a comment that is no string throws FST_SSE_FIELD', async t => {
  for (const [bad, shown] of [[null, 'null'], [5, '5 (number)'], [['a'], 'an array']]) {
    t.equal(codeOf(() => Reflect.apply(encodeComment, undefined, [bad])),
      `FST_SSE_FIELD: The field 'comment' of an event must be a string, got ${shown}`)
    t.equal(codeOf(() => Reflect.apply(encodeControl, undefined, [{ comment: bad }])),
      `FST_SSE_FIELD: The field 'comment' of an event must be a string, got ${shown}`)
  }
})

t.test('W4: falsy values are sent', async t => {
  const cases: Array<[Parts, string]> = [
    [{ data: '' }, 'data: \n\n'],
    [{ id: 0, data: 'a' }, 'id: 0\ndata: a\n\n'],
    [{ id: -0, data: 'a' }, 'id: 0\ndata: a\n\n'],
    [{ id: '', data: 'a' }, 'id: \ndata: a\n\n'],
    [{ retry: 0, data: 'a' }, 'retry: 0\ndata: a\n\n'],
    [{ retry: -0, data: 'a' }, 'retry: 0\ndata: a\n\n'],
    [{ comment: '', id: '', retry: 0, data: '' }, ':\n\nid: \nretry: 0\ndata: \n\n'],
    [{ id: -1.5, data: 'a' }, 'id: -1.5\ndata: a\n\n'],
    [{ retry: Number.MAX_SAFE_INTEGER, data: 'a' }, 'retry: 9007199254740991\ndata: a\n\n']
  ]
  for (const [parts, wire] of cases) t.equal(encode(parts), wire)
  t.equal(encodePosition(undefined, undefined), '', 'only undefined is absence')
})

t.test('W6: an event with the name message or without a name has no event field', async t => {
  for (const name of [undefined, '', 'message']) t.equal(encodeName(name), '')
  for (const name of ['Message', 'message ', ' ', 'error', 'open']) t.equal(encodeName(name), `event: ${name}\n`)
})

t.test('W8: a control frame starts with its comment; with an id it is the event sse.position with one empty line of data', async t => {
  const cases: Array<[Parameters<typeof encodeControl>[0], string]> = [
    [{ comment: 'hello' }, ': hello\n\n'],
    [{ comment: '' }, ':\n\n'],
    [{ retry: 0 }, 'retry: 0\n\n'],
    [{ id: '' }, 'event: sse.position\nid: \ndata: \n\n'],
    [{ id: 0 }, 'event: sse.position\nid: 0\ndata: \n\n'],
    [{ retry: 5, id: 'x' }, 'event: sse.position\nid: x\nretry: 5\ndata: \n\n'],
    [{ comment: 'c', retry: 5 }, ': c\n\nretry: 5\n\n'],
    [{ comment: 'c', retry: 5, id: 'x' }, ': c\n\nevent: sse.position\nid: x\nretry: 5\ndata: \n\n'],
    [{ comment: undefined, id: 1, retry: undefined }, 'event: sse.position\nid: 1\ndata: \n\n']
  ]
  for (const [event, wire] of cases) t.equal(encodeControl(event), wire)
})

t.test('an event without any field throws FST_SSE_EVENT', async t => {
  for (const event of [{}, { comment: undefined, id: undefined, retry: undefined }]) {
    t.equal(codeOf(() => encodeControl(event)),
      'FST_SSE_EVENT: Not an event: expected { data, event?, id?, retry? }, { comment }, { id } or { retry }, got an object (Object)')
  }
})

// Any text, mostly of the characters that have a meaning in the format.
const text = fc.array(fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom('\r', '\n', '\r\n', '\n\n', '\u0000', '\uFEFF', '\u2028', '\u0085', ' ', ':', '\ud83d',
      '\ude00', 'data: x', 'event: x', 'id: x', 'retry: 1', ': x')
  },
  { weight: 2, arbitrary: fc.string({ unit: 'binary' }) }
), { maxLength: 8 }).map(pieces => pieces.join(''))
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined })
const retry = maybe(fc.oneof(fc.nat(), fc.maxSafeInteger(), fc.double()))
const id = maybe(fc.oneof(text, fc.double(), fc.maxSafeInteger()))
const cuts = fc.array(fc.nat(), { maxLength: 6 })
const FORBIDDEN = ['\r', '\n', '\u0000']
const forbidden = (value: unknown): boolean =>
  typeof value === 'string' && FORBIDDEN.some(character => value.includes(character))
/** Returns an id after a header that Node writes and reads: its bytes as latin1, its ends stripped. */
const lost = (id: unknown): boolean => {
  if (typeof id !== 'string') return typeof id === 'number' && !Number.isFinite(id)
  try {
    validateHeaderValue('last-event-id', Buffer.from(id).toString('latin1'))
  } catch {
    return true
  }
  return asUtf8(id).replace(/^[ \t]+|[ \t]+$/g, '') !== id
}

t.test('W3: a client parses any accepted event as one event with the same fields, for any chunks', async t => {
  let sent = 0
  let refused = 0
  fc.assert(
    fc.property(fc.record({ comment: maybe(text), event: maybe(text), id, retry, data: text }), cuts, (parts, cuts) => {
      const { comment, event, id, retry, data } = parts
      const fits = !forbidden(event) && !lost(id) &&
        (retry === undefined || (Number.isSafeInteger(retry) && retry >= 0))
      if (!fits) {
        refused++
        return codeOf(() => encode(parts)).startsWith('FST_SSE_FIELD: ')
      }
      sent++
      const wire = encode(parts)
      if (wire.includes('\r') || !wire.endsWith('\n\n')) return false
      const got = read(wire, cuts)
      const name = event === undefined || event === 'message' || event === '' ? undefined : asUtf8(event)
      return fc.stringify(got) === fc.stringify({
        events: [{ id: id === undefined ? undefined : asUtf8(String(id)), event: name, data: received(data) }],
        comments: comment === undefined ? [] : received(comment).split('\n'),
        retries: retry === undefined ? [] : [retry === 0 ? 0 : retry],
        errors: []
      })
    }),
    { numRuns: 3000 }
  )
  t.ok(sent > 100 && refused > 100, `both happened: ${sent} were sent, ${refused} rejected`)
})

t.test('W3, W8: any accepted comment or control frame dispatches no event but a position, and keeps its fields', async t => {
  let sent = 0
  fc.assert(fc.property(fc.record({ comment: maybe(text), id, retry }), cuts, (event, cuts) => {
    let wire: string
    try {
      wire = encodeControl(event)
    } catch (error) {
      return ['FST_SSE_FIELD', 'FST_SSE_EVENT'].includes((error as { code: string }).code)
    }
    sent++
    if (wire.includes('\r') || !wire.endsWith('\n\n')) return false
    // The next event shows the state of the parser after the frame.
    const got = read(`${wire}data: next\n\n`, cuts)
    return fc.stringify(got) === fc.stringify({
      events: [...event.id === undefined ? [] : [{ id: asUtf8(String(event.id)), event: 'sse.position', data: '' }], {
        id: undefined,
        event: undefined,
        data: 'next'
      }],
      comments: event.comment === undefined ? [] : received(event.comment).split('\n'),
      retries: event.retry === undefined ? [] : [event.retry === 0 ? 0 : event.retry],
      errors: []
    })
  }), { numRuns: 2000 })
  t.ok(sent > 100, `${sent} were sent`)
})

t.test('W3: frames in sequence stay separate', async t => {
  let most = 0
  fc.assert(fc.property(fc.array(text, { maxLength: 5 }), cuts, (texts, cuts) => {
    const { events } = read(texts.map(encodeData).join(''), cuts)
    most = Math.max(most, events.length)
    return fc.stringify(events.map(event => event.data)) === fc.stringify(texts.map(received))
  }), { numRuns: 500 })
  t.equal(most, 5)
})
