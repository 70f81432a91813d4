import type { Message } from './clients/reader.ts'

// The meaning of the bytes of an event stream, case by case (WHATWG HTML §9.2.5 and §9.2.6). A case holds for any split
// into chunks. The stream ends after its bytes, so unfinished input is discarded.

export interface ByteCase {
  title: string
  bytes: Uint8Array | string
  expect: {
    /** `id` is the last event ID when the event is dispatched. */
    messages: Message[]
    /**
     * The last event ID of a reconnect: the id of the last block that ended with a blank line, with data or without.
     */
    lastEventId: string
    /** The last reconnection time that was set, exactly as written; a timer may not be able to hold it. */
    retry?: number
    /** The text after the colon, without one leading space. */
    comments?: string[]
  }
}

interface Rest { lastEventId?: string, retry?: number, comments?: string[] }

/** An event without a name. */
const plain = (data: string, id = ''): Message => ({ event: 'message', data, id })
const named = (event: string, data: string, id = ''): Message => ({ event, data, id })

/** The last event ID is the id of the last message, unless the rest sets another. */
function bytesMean (title: string, bytes: ByteCase['bytes'], messages: Message[], rest: Rest = {}): ByteCase {
  return { title, bytes, expect: { messages, lastEventId: messages.at(-1)?.id ?? '', ...rest } }
}

const bytes = (...parts: Array<string | number[]>): Uint8Array =>
  Buffer.concat(parts.map(part => Buffer.from(part as string)))
const BOM = [0xef, 0xbb, 0xbf]
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

// Longer than any chunk of a socket.
const LONG = 'long and longer, '.repeat(20_000)

const fields: ByteCase[] = [
  bytesMean('nothing at all', '', []),
  bytesMean('blank lines only', '\n\n\r\n\r\r', []),
  bytesMean('one event', 'data: hello\n\n', [plain('hello')]),
  bytesMean('all fields at once', 'event: add\nid: 7\nretry: 100\ndata: 1\n\n', [named('add', '1', '7')], {
    retry: 100
  }),
  bytesMean('fields in another order, data first', 'data: 1\nretry: 100\nid: 7\nevent: add\n\n', [
    named('add', '1', '7')
  ], { retry: 100 }),
  bytesMean('several lines of data, with others between them', 'data: one\nevent: x\ndata: two\nid: 1\ndata: three\n\n',
    [named('x', 'one\ntwo\nthree', '1')]),
  bytesMean('one space behind the colon goes, and only one', 'data:none\n\ndata: one\n\ndata:  two\n\ndata:   \n\n', [
    plain('none'),
    plain('one'),
    plain(' two'),
    plain('  ')
  ]),
  bytesMean('a tab behind the colon stays', 'data:\tx\n\ndata: \ty\n\nevent:\tz\ndata\n\n', [plain('\tx'), plain('\ty'),
    named('\tz', '')]),
  bytesMean('spaces at the end of a value stay', 'event: x \nid: 1 \ndata: y \n\n', [named('x ', 'y ', '1 ')]),
  bytesMean('a space of another kind stays', 'data:\u00a0x\n\ndata:\u3000y\n\n', [plain('\u00a0x'), plain('\u3000y')]),
  bytesMean('only the first colon divides', 'data:a:b\n\ndata::\n\ndata: : c\n\nevent:x:y\ndata\n\n', [plain('a:b'),
    plain(':'), plain(': c'), named('x:y', '')]),
  bytesMean('a field without a colon has an empty value', 'data\n\n', [plain('')]),
  bytesMean('a field with a colon and no more has one, too', 'data:\n\n', [plain('')]),
  bytesMean('and one with a colon and a space', 'data: \n\n', [plain('')]),
  bytesMean('empty lines of data count', 'data\ndata\n\ndata:\ndata:\ndata:\n\n', [plain('\n'), plain('\n\n')]),
  bytesMean('empty lines of data at the beginning and at the end',
    'data\ndata: x\n\ndata: x\ndata\n\ndata:\ndata: x\ndata:\n\n', [plain('\nx'), plain('x\n'), plain('\nx\n')]),
  bytesMean('names in capitals are unknown', 'Data: a\nDATA: b\nEvent: c\nID: d\nId: d\nRETRY: 10\n\n', []),
  bytesMean('names with a space or a tab are unknown',
    ' data: a\ndata : b\n\tdata: c\ndata\t: d\nid : 5\nevent : e\ndata: over\n\n', [plain('over')]),
  bytesMean('names that only begin or end as one that is known',
    'dat: a\ndatas: b\nxdata: c\nida: 1\nevents: x\ndata: over\n\n', [plain('over')]),
  bytesMean('an unknown name with a NUL or a BOM in it', 'data\u0000: a\n\ufeffdata: b\nda\u0000ta: c\ndata: over\n\n',
    [plain('over')]),
  bytesMean('unknown fields, with a value and without', 'foo: bar\nfoo\nfoo:\n{"data": 1}\ndata: x\n1\n\n', [
    plain('x')
  ]),
  bytesMean('a text that looks like a head of HTTP',
    'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\r\n\r\n', [plain('x')]),
  bytesMean('names of objects of JavaScript',
    '__proto__: a\nconstructor: b\nevent: __proto__\ndata: c\n\nevent: toString\ndata: d\n\n', [named('__proto__', 'c'),
      named('toString', 'd')]),
  bytesMean('NUL in data and in a name is a character', 'event: a\u0000b\ndata: c\u0000d\n\n', [
    named('a\u0000b', 'c\u0000d')
  ]),
  bytesMean('JSON', 'data: {"a":[1,null],\ndata:  "b":"\\n"}\n\n', [plain('{"a":[1,null],\n "b":"\\n"}')])
]

const dispatch: ByteCase[] = [
  bytesMean('a block without data is no event, and its name is forgotten', 'event: x\n\ndata: y\n\n', [plain('y')]),
  bytesMean('blocks with everything but data', 'event: x\nid: 1\nretry: 5\n: y\nfoo: z\n\n', [], {
    lastEventId: '1',
    retry: 5,
    comments: ['y']
  }),
  bytesMean('a name holds for one event', 'event: x\ndata: 1\n\ndata: 2\n\n', [named('x', '1'), plain('2')]),
  bytesMean('of two names the last one holds', 'event: x\nevent: y\ndata: 1\n\n', [named('y', '1')]),
  bytesMean('an empty name is none',
    'event\ndata: 1\n\nevent:\ndata: 2\n\nevent: \ndata: 3\n\nevent: x\nevent:\ndata: 4\n\n',
    ['1', '2', '3', '4'].map(data => plain(data))),
  bytesMean('the name message, said aloud', 'event: message\ndata: 1\n\n', [plain('1')]),
  bytesMean('a name of two spaces is one of one space', 'event:  \ndata: 1\n\n', [named(' ', '1')]),
  bytesMean('names of what happens to a connection', 'event: open\ndata: 1\n\nevent: error\ndata: 2\n\n', [
    named('open', '1'),
    named('error', '2')
  ]),
  bytesMean('more blank lines than needed', '\n\ndata: 1\n\n\n\n\ndata: 2\n\n', [plain('1'), plain('2')]),
  bytesMean('the last event without its blank line is discarded', 'data: 1\n\ndata: 2\n', [plain('1')]),
  bytesMean('and so is one in the middle of its last line', 'data: 1\n\nid: 2\ndata: 2', [plain('1')]),
  bytesMean('a stream that ends behind the name of a field', 'data: 1\n\ndata', [plain('1')]),
  bytesMean('many events at once', upTo(2_000).map(n => `id: ${n}\ndata: ${n}\n\n`).join(''),
    upTo(2_000).map(n => plain(String(n), String(n)))),
  bytesMean('many lines of data', `${upTo(5_000).map(n => `data: ${n}\n`).join('')}\n`, [
    plain(upTo(5_000).join('\n'))
  ]),
  bytesMean('very long lines, of every kind',
    `${LONG}\n:${LONG}\n${LONG}: x\nevent: ${LONG}\ndata: ${LONG}\ndata: ${LONG}\n\n`, [
      named(LONG, `${LONG}\n${LONG}`)
    ], { comments: [LONG] })
]

const ids: ByteCase[] = [
  bytesMean('an id holds for later events, until the next',
    'id: 1\ndata: a\n\ndata: b\n\nevent: x\ndata: c\n\nid: 2\ndata: d\n\n', [plain('a', '1'), plain('b', '1'),
      named('x', 'c', '1'), plain('d', '2')]),
  bytesMean('an id alone is no event, but holds', 'id: 1\n\n', [], { lastEventId: '1' }),
  bytesMean('an id alone holds for the events after it', 'id: 1\n\ndata: a\n\n', [plain('a', '1')]),
  bytesMean('an id behind the data belongs to the event all the same', 'data: a\nid: 1\n\n', [plain('a', '1')]),
  bytesMean('of two ids the last one holds', 'id: 1\nid: 2\ndata: a\n\n', [plain('a', '2')]),
  bytesMean('an empty id resets, with a colon and without',
    'id: 1\ndata: a\n\nid:\ndata: b\n\nid: 2\ndata: c\n\nid\ndata: d\n\n', [plain('a', '1'), plain('b'),
      plain('c', '2'), plain('d')]),
  bytesMean('an empty id alone resets', 'id: 1\ndata: a\n\nid\n\n', [plain('a', '1')], { lastEventId: '' }),
  bytesMean('an id with NUL is as if it were not there',
    'id: 1\ndata: a\n\nid: 2\u0000\ndata: b\n\nid: \u0000\ndata: c\n\nid:\u00003\ndata: d\n\n',
    ['a', 'b', 'c', 'd'].map(data => plain(data, '1'))),
  bytesMean('an id with NUL leaves the one before it in the same block', 'id: 1\nid: 2\u00003\ndata: a\n\n', [
    plain('a', '1')
  ]),
  bytesMean('an id of an unfinished block does not hold', 'id: 1\ndata: a\n\nid: 2\n', [plain('a', '1')]),
  bytesMean('nor one of a block whose data is unfinished', 'id: 1\n\nid: 2\ndata: b\n', [], { lastEventId: '1' }),
  bytesMean('nor an empty one', 'id: 1\n\nid:\n', [], { lastEventId: '1' }),
  bytesMean('an id is not a number', 'id: 007\ndata: a\n\nid: 1e3\ndata: b\n\n', [plain('a', '007'),
    plain('b', '1e3')]),
  bytesMean('of two spaces before an id one is part of it', 'id:  1\ndata: a\n\n', [plain('a', ' 1')]),
  bytesMean('an id in another script', 'id: größe-漢字-👋\ndata: a\n\n', [plain('a', 'größe-漢字-👋')]),
  bytesMean('an id with colons and what else may be', 'id: a:b,c;d="e" {f}\ndata: a\n\n', [
    plain('a', 'a:b,c;d="e" {f}')
  ])
]

const retries: ByteCase[] = [
  bytesMean('retry alone', 'retry: 1500\n\n', [], { retry: 1500 }),
  bytesMean('retry holds at its line, also in an unfinished block', 'retry: 1500\n', [], { retry: 1500 }),
  bytesMean('retry is no event and leaves the next as it is', 'retry: 10\n\ndata: a\n\n', [plain('a')], { retry: 10 }),
  bytesMean('an unfinished line of retry does not hold', 'retry: 15', []),
  bytesMean('retry 0', 'retry:0\n\n', [], { retry: 0 }),
  bytesMean('retry with zeros before it is still base ten', 'retry: 0010\n\n', [], { retry: 10 }),
  bytesMean('of two retries the last one holds', 'retry: 10\nretry: 20\n\n', [], { retry: 20 }),
  bytesMean('retry without a number leaves the one before', 'retry: 10\n\nretry\nretry:\nretry: \n\n', [], {
    retry: 10
  }),
  ...['soon', '10x', 'x10', '-10', '+10', '1.5', '1e3', '0x10', ' 10', '10 ', '1 0', '1_000', '１０', '٣', '10\u0000',
    '\ufeff10', 'Infinity', 'NaN'].map(value =>
    bytesMean(`retry of more than ASCII digits is ignored: ${JSON.stringify(value)}`, `retry: ${value}\ndata: a\n\n`,
      [plain('a')])
  ),
  bytesMean('a huge retry', 'retry: 99999999999999999999\n\n', [], { retry: 1e20 })
]

const comments: ByteCase[] = [
  bytesMean('a comment', ': hello\n\n', [], { comments: ['hello'] }),
  bytesMean('a colon alone', ':\n:\n\n', [], { comments: ['', ''] }),
  bytesMean('a heartbeat between events', 'data: a\n\n:\n\ndata: b\n\n', [plain('a'), plain('b')], { comments: [''] }),
  bytesMean('comments within a block leave it whole', 'event: x\n: one\ndata: a\n:two\ndata: b\n:\n\n', [
    named('x', 'a\nb')
  ], { comments: ['one', 'two', ''] }),
  bytesMean('a comment that looks like a field', ':data: a\n: id: 1\n:event: x\n:retry: 5\n\n', [], {
    comments: ['data: a', 'id: 1', 'event: x', 'retry: 5']
  }),
  bytesMean('a comment with more colons and spaces', '::\n:  two\n: :\n\n', [], { comments: [':', ' two', ':'] }),
  bytesMean('an unfinished comment', 'data: a\n\n: hel', [plain('a')], { comments: [] }),
  bytesMean('a comment with NUL and characters of every length', ': \u0000é漢👋\n\n', [], { comments: ['\u0000é漢👋'] })
]

const breaks: ByteCase[] = [
  bytesMean('LF', 'data: a\ndata: b\n\ndata: c\n\n', [plain('a\nb'), plain('c')]),
  bytesMean('CR LF', 'data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n', [plain('a\nb'), plain('c')]),
  bytesMean('CR', 'data: a\rdata: b\r\rdata: c\r\r', [plain('a\nb'), plain('c')]),
  bytesMean('CR as the very last byte ends the last block', 'id: 1\rdata: a\r\r', [plain('a', '1')]),
  bytesMean('CR LF, and the last LF is missing', 'data: a\r\n\r', [plain('a')]),
  bytesMean('LF CR LF: the end of a line, and a blank one', 'data: a\n\r\ndata: b\n\r\n', [plain('a'), plain('b')]),
  bytesMean('CR CR LF: the end of a line, and a blank one', 'data: a\r\r\ndata: b\r\r\n', [plain('a'), plain('b')]),
  bytesMean('LF CR: the end of a line, and a blank one', 'data: a\n\rdata: b\n\r', [plain('a'), plain('b')]),
  bytesMean('CR LF LF: the end of a line, and a blank one', 'data: a\r\n\ndata: b\r\n\n', [plain('a'), plain('b')]),
  bytesMean('CR LF CR: the end of a line, and a blank one', 'data: a\r\n\rdata: b\r\n\r', [plain('a'), plain('b')]),
  bytesMean('one CR LF is one line end, and the block goes on', 'event: x\r\nid: 1\rdata: a\ndata: b\r\n\n', [
    named('x', 'a\nb', '1')
  ]),
  bytesMean('CR LF behind every kind of line', ': c\r\nfoo\r\nretry: 5\r\nid\r\nevent: x\r\ndata\r\n\r\n', [
    named('x', '')
  ], { retry: 5, comments: ['c'] }),
  bytesMean('comments between all line ends', 'data: 1\r:\n: x\r\n:\rdata: 2\n:\r\r\n', [plain('1\n2')], {
    comments: ['', 'x', '', '']
  }),
  bytesMean('line ends of other kinds are text', 'data: a\u000bb\u000cc\u0085d\u2028e\u2029f\n\n', [
    plain('a\u000bb\u000cc\u0085d\u2028e\u2029f')
  ]),
  bytesMean('backslashes are text', 'data: a\\nb\\r\\n\n\n', [plain('a\\nb\\r\\n')])
]

const encoding: ByteCase[] = [
  bytesMean('a byte order mark at the beginning', bytes(BOM, 'data: a\n\n'), [plain('a')]),
  bytesMean('a byte order mark and no more', bytes(BOM), []),
  bytesMean('a byte order mark before a blank line, a comment or an id', bytes(BOM, '\n: c\nid: 1\n\n'), [], {
    lastEventId: '1',
    comments: ['c']
  }),
  bytesMean('only one goes: with a second the field is unknown', bytes(BOM, BOM, 'data: a\n\ndata: b\n\n'), [
    plain('b')
  ]),
  bytesMean('later it is content, before a field', bytes('data: a\n\n', BOM, 'data: b\n\ndata: c\n\n'), [plain('a'),
    plain('c')]),
  bytesMean('later it is content, in values',
    bytes('data:', BOM, 'a\ndata: b', BOM, '\nevent: ', BOM, '\nid: ', BOM, '\n\n'), [
      named('\ufeff', '\ufeffa\nb\ufeff', '\ufeff')
    ]),
  bytesMean('behind a byte order mark one in the first value stays', bytes(BOM, 'data: ', BOM, 'a\n\n'), [
    plain('\ufeffa')
  ]),
  bytesMean('a part of a byte order mark is no mark', bytes([0xef, 0xbb], 'data: a\n\ndata: b\n\n'), [plain('b')]),
  bytesMean('a byte order mark of another encoding is no mark', bytes([0xfe, 0xff], 'data: a\n\ndata: b\n\n'), [
    plain('b')
  ]),
  bytesMean('characters of one to four bytes', 'event: é\nid: 漢\ndata: aé漢👋\ndata: 👩‍👩‍👧🇪🇺e\u0301\n\n', [
    named('é', 'aé漢👋\n👩‍👩‍👧🇪🇺e\u0301', '漢')
  ]),
  bytesMean('the first and the last character of each length', 'data: \u0080\u07ff\u0800\uffff\u{10000}\u{10ffff}\n\n',
    [plain('\u0080\u07ff\u0800\uffff\u{10000}\u{10ffff}')]),
  bytesMean('bytes that are nothing', bytes('data: a', [0xff, 0xfe], 'b\n\n'), [plain('a\ufffd\ufffdb')]),
  bytesMean('a byte that goes on with nothing', bytes('data: a', [0x80], 'b', [0xbf, 0xbf], '\n\n'), [
    plain('a\ufffdb\ufffd\ufffd')
  ]),
  bytesMean('characters that break off are one sign each',
    bytes('data: ', [0xc3], 'a', [0xe6, 0xbc], 'b', [0xf0, 0x9f, 0x91], 'c\n\n'), [plain('\ufffda\ufffdb\ufffdc')]),
  bytesMean('a character that breaks off at the end of a line leaves the line end',
    bytes('data: a', [0xf0, 0x9f, 0x91], '\ndata: b', [0xe6], '\r\n\r\n'), [plain('a\ufffd\nb\ufffd')]),
  bytesMean('a character that breaks off before another', bytes('data: ', [0xe6, 0xbc], 'é', [0xf0], '漢\n\n'), [
    plain('\ufffdé\ufffd漢')
  ]),
  bytesMean('a longer form than needed, half a pair, beyond the last character',
    bytes('data: ', [0xc0, 0xaf], ' ', [0xed, 0xa0, 0x80], ' ', [0xf4, 0x90, 0x80, 0x80], '\n\n'), [
      plain('\ufffd\ufffd \ufffd\ufffd\ufffd \ufffd\ufffd\ufffd\ufffd')
    ]),
  bytesMean('a line end in a longer form is none', bytes('data: a', [0xc0, 0x8a], 'b\n\n'), [plain('a\ufffd\ufffdb')]),
  bytesMean('a name of a field that is no UTF-8',
    bytes('da', [0xff], 'ta: a\n', [0xc3], 'data: b\ndata', [0xc2], ': c\ndata: d\n\n'), [plain('d')]),
  bytesMean('a name, an id and a comment that are no UTF-8',
    bytes('event: x', [0xff], '\nid: 1', [0xe9], '\n: y', [0x80], '\ndata\n\n'), [named('x\ufffd', '', '1\ufffd')], {
      comments: ['y\ufffd']
    }),
  bytesMean('a character that the end cuts', bytes('data: a\n\ndata: ', [0xe6, 0xbc]), [plain('a')])
]

export const byteCases: ByteCase[] = [...fields, ...dispatch, ...ids, ...retries, ...comments, ...breaks, ...encoding]
