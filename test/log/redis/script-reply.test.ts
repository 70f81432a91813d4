import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import type { LogEntry } from '../../../lib/log/log.ts'
import { decodeAppend, decodeMessage, decodeReply, VERSION } from '../../../lib/log/redis/script-reply.ts'

/** In the format of the scripts. */
function encode (head: string, entries: readonly LogEntry[] = []): Buffer {
  return Buffer.concat([Buffer.from(`${head}\n`),
    ...entries.map(({ offset, event, data, json, fingerprint }) =>
      Buffer.from(
        `${offset} ${Buffer.byteLength(event)} ${Buffer.byteLength(data)} ${json ? 'json' : 'text'}${
          fingerprint === undefined ? '' : ` ${fingerprint}`
        }\n${event}${data}`
      )
    )])
}

const SECRET = 'secret'
const seal = (text: Buffer, secret = SECRET): Buffer =>
  Buffer.concat([Buffer.from(`${VERSION} ${createHash('sha1').update(secret).update(text).update(secret).digest('hex')} `),
    text])

t.test('a reply without entries is the state of the log', async t => {
  t.strictSame(decodeReply(encode('abc 3 7 1700000000000 1 s')), {
    epoch: 'abc',
    oldest: 3,
    newest: 7,
    appendedAt: '1700000000000',
    ended: true,
    entries: [],
    secret: 's'
  })
  t.strictSame(decodeReply(encode('abc 1 0 0 0 s')), {
    epoch: 'abc',
    oldest: 1,
    newest: 0,
    appendedAt: '0',
    ended: false,
    entries: [],
    secret: 's'
  })
  t.strictSame(decodeMessage(seal(encode('abc 1 0 0 0 0')), SECRET), {
    epoch: 'abc',
    oldest: 1,
    newest: 0,
    appendedAt: '0',
    ended: false,
    entries: [],
    before: '0'
  })
})

const texts = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constant('1 2 3 json\n'))
const fingerprint = fc.option(fc.stringMatching(/^[\w-]{1,64}$/), { nil: undefined })
const batches = fc.array(
  fc.record({ event: fc.string({ unit: 'grapheme' }), data: texts, json: fc.boolean(), fingerprint }, {
    noNullPrototype: true
  })
)
  .map(all =>
    all.map(({ fingerprint, ...entry }, index): LogEntry => ({
      ...entry,
      offset: index + 1,
      ...fingerprint === undefined ? {} : { fingerprint }
    })
    )
  )

t.test('the content of an entry does not affect the next one', async t => {
  fc.assert(fc.property(batches, entries => {
    const head = `e 1 ${entries.length} 3 0`
    t.strictSame(decodeReply(encode(`${head} s`, entries))?.entries, entries)
    t.strictSame(decodeMessage(seal(encode(`${head} 2`, entries)), SECRET)?.entries, entries)
  }), { numRuns: 300 })
})

t.test('R10: text that no script has written is rejected', async t => {
  const head = 'abc 1 7 3 0'
  const large = '9'.repeat(15)
  const texts = [
    '',
    ' ',
    '1 ',
    'a 1 2 3 0',
    'hello',
    '\n',
    '\n\n',
    `${head}`,
    'abc 1 7 3 2 s\n',
    'abc 1 7 3 0 s s\n',
    'a-b 1 7 3 0 s\n',
    'abc -1 7 3 0 s\n',
    'abc 1 7.5 3 0 s\n',
    `abc 1 ${'9'.repeat(16)} 3 0 s\n`,
    'abc 9 7 3 0 s\n',
    `${'a'.repeat(33)} 1 7 3 0 s\n`,
    ' '.repeat(1_000_000),
    `${' '.repeat(300)}\n`,
    ...['1', '1 ', '1 1 1 ', '1 1 1 json', '1 1 1 json\n', '1 1 1 json\na', '1 1 2 json\nab', '0 1 1 json\nab',
      '8 1 1 json\nab', '1 -1 1 json\nab', '1 1 1 json\nab2', '1 1 1 json\nab1 1 1 json\nab', '1 1 1 \nab',
      '1 1 1 blob\nab', `1 1 ${large} json\nab`, `${large} 1 1 json\nab`, `1 ${large}9 1 json\nab`,
      `1 1 1 json ${'f'.repeat(65)}\nab`, '1  1 json\nab', ' 1 1 json\nab'].map(entry => `${head} s\n${entry}`)
  ]
  for (const text of texts) {
    t.equal(decodeReply(Buffer.from(text)), undefined, text.slice(0, 60))
    for (const bytes of [text, text.replace(`${head} s`, `${head} 2`)].map(text => Buffer.from(text))) {
      t.equal(decodeMessage(bytes, SECRET), undefined)
      t.equal(decodeMessage(seal(bytes), SECRET), undefined, text.slice(0, 60))
    }
  }
  t.equal(decodeMessage(seal(encode(head)), SECRET), undefined, 'a message has the time before the append')
  t.equal(decodeReply(encode(head)), undefined, 'an answer has the secret')
})

t.test('R10: a message whose seal is of another secret, or of another text, is rejected', async t => {
  const text = encode('abc 1 1 3 1 0', [{ offset: 1, event: 'a', data: 'b', json: false }])
  const sealed = seal(text)
  t.ok(decodeMessage(sealed, SECRET))
  t.equal(decodeMessage(sealed, 'another'), undefined)
  t.equal(decodeMessage(text, SECRET), undefined)
  t.equal(decodeMessage(Buffer.concat([Buffer.from('3'), sealed.subarray(1)]), SECRET), undefined, 'of another version')
  for (let at = 0; at < sealed.length; at++) {
    const other = Buffer.from(sealed)
    other[at]! ^= 1
    t.equal(decodeMessage(other, SECRET), undefined)
    t.equal(decodeMessage(sealed.subarray(0, at), SECRET), undefined)
  }
})

t.test('R10: no bytes block the parser or make it throw', async () => {
  const bytes = fc.oneof(fc.uint8Array({ maxLength: 400 }),
    fc.stringMatching(/^[0-9 \njsontexabc.-]{0,200}$/).map(text => Buffer.from(text))).map(bytes => Buffer.from(bytes))
  const part = fc.tuple(batches, fc.nat(), fc.nat(), fc.integer({ min: 0, max: 255 })).map(
    ([entries, at, end, byte]) => {
      const whole = encode(`e 1 ${entries.length} 3 0 s`, entries)
      whole[at % whole.length] = byte
      return whole.subarray(0, end % (whole.length + 1))
    }
  )
  fc.assert(fc.property(fc.oneof(bytes, part), bytes => {
    decodeReply(bytes)
    decodeMessage(bytes, SECRET)
    decodeMessage(seal(bytes), SECRET)
    decodeReply(Buffer.concat([Buffer.from('e 1 9007199254740991 3 0 s\n'), bytes]))
  }), { numRuns: 5_000 })
})

t.test('the line of an append is in the known epoch or in another one, with the offsets of records with keys', async t => {
  const elsewhere = { epoch: 'abc', newest: 7, appendedAt: '12', secret: 'new' }
  t.strictSame(decodeAppend('7-12', 'known', 's'),
    { epoch: 'known', newest: 7, appendedAt: '12', secret: 's', offsets: undefined })
  t.strictSame(decodeAppend('=abc 7 12 new', 'known', 's'), { ...elsewhere, offsets: undefined })
  t.strictSame(decodeAppend('=abc 7 12 new 7 -3 0', 'known', 's'), { ...elsewhere, offsets: [7, -3, 0] })
  for (const line of ['', '7 12', '7', '7-12 ', '-7-12', '=abc 7 12', '=abc 7 12 s a', '=a-c 7 12 s', '-ENDED']) {
    t.equal(decodeAppend(line, 'known', 's'), undefined, line)
  }
})
