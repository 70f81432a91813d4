import { createHash } from 'node:crypto'
import t from 'tap'
import type { LogRecord } from '../../../lib/log/log.ts'
import { EntrySeal, contradicts, isBeyond, positionAfter, type EncryptedRecords } from '../../../lib/log/postgres/entry-seal.ts'
import { numbered } from '../../setup/remote-log.ts'

const seal = new EntrySeal('secret')

/** Returns the notifications of an append, as the database seals them. `newest`: the last offset of each channel. */
const sealed = ({ texts, textOf, channelOf }: EncryptedRecords, newest: readonly number[], secret = 'secret'): string[] =>
  texts.map((encrypted, index) => {
    const heads = channelOf.filter((_, n) => textOf[n] === index + 1).map(of => `-${of} ${newest[of - 1]} e${of} 77 66 `)
    const text = heads.join('') + encrypted
    return `= ${createHash('sha256').update(secret).update(text).update(secret).digest('hex')} ${text}`
  })

t.test('the entries of a few channels are in one notification, with their offsets', async t => {
  const records: LogRecord[] = [
    { event: 'message', data: '{"text":"€ \\u0000 \\n"}', json: true, fingerprint: 'abc' },
    { event: 'a b', data: 'text\u0000', json: false },
    { event: 'message', data: '3', json: true, fingerprint: 'no fingerprint' }
  ]
  const encrypted = seal.encrypt(records.map((record, n) => ({ index: n === 1 ? 2 : 1, record })))!
  t.strictSame([encrypted.textOf, encrypted.channelOf], [[1, 1], [1, 2]])
  const [payload] = sealed(encrypted, [12, 5])
  t.notMatch(payload, /text|message/)
  const { heads, batches } = seal.parse(payload!)!
  t.match(heads, [{ nameHash: '-1', newest: 12, epoch: 'e1', at: 77, before: 66 }, { nameHash: '-2', newest: 5, epoch: 'e2', at: 77, before: 66 }])
  t.strictSame(batches(), [{
    epoch: 'e1',
    newest: 12,
    at: 77,
    before: 66,
    ended: false,
    entries: [{ offset: 11, ...records[0] }, { offset: 12, event: 'message', data: '3', json: true }]
  }, { epoch: 'e2', newest: 5, at: 77, before: 66, ended: false, entries: [{ offset: 5, ...records[1] }] }])
  t.equal(batches(), batches(), 'decrypted once')
})

t.test('more entries are in several notifications, each below 8,000 bytes', async t => {
  const data = JSON.stringify({ text: 'x"'.repeat(100) })
  const records = Array.from({ length: 140 }, (_, n) => ({ index: n % 7 + 1, record: { event: 'message', data, json: true } }))
  const encrypted = seal.encrypt(records)!
  t.ok(encrypted.texts.length > 3, `${encrypted.texts.length} texts`)
  const newest = Array.from({ length: 7 }, (_, n) => records.filter(({ index }) => index === n + 1).length)
  const offsets = new Map<string, number[]>()
  for (const payload of sealed(encrypted, newest)) {
    t.ok(payload.length < 8_000, `${payload.length} bytes`)
    for (const { epoch, newest, entries } of seal.parse(payload)!.batches()!) {
      t.equal(entries.at(-1)?.offset, newest)
      offsets.set(epoch, [...offsets.get(epoch) ?? [], ...entries.map(({ offset }) => offset)])
    }
  }
  for (const [n, last] of newest.entries()) {
    t.strictSame(offsets.get(`e${n + 1}`), Array.from({ length: last }, (_, index) => index + 1))
  }
})

t.test('entries that do not fit into a few notifications are read', async t => {
  const large = { event: 'message', data: 'x'.repeat(6_000), json: false }
  const encrypt = (...records: LogRecord[]): unknown => seal.encrypt(records.map(record => ({ index: 1, record })))
  t.equal(encrypt(large), undefined)
  t.equal(encrypt(numbered(1), large), undefined)
  t.equal(encrypt(...Array.from({ length: 40 }, () => ({ ...large, data: 'x'.repeat(3_000) }))), undefined)
  t.ok(encrypt(...Array.from({ length: 30 }, () => ({ ...large, data: 'x'.repeat(2_500) }))))
})

t.test('R10: a text of another program is no notification, or has no entries', async t => {
  const [payload] = sealed(seal.encrypt([{ index: 1, record: numbered(1) }])!, [1])
  for (const text of ['', '=', '= ', '= a b c', '1 2', payload!.slice(2)]) t.equal(seal.parse(text), undefined, text)
  const forged = [payload!.replace(' 1 e1 ', ' 9 e1 '), payload!.replace(' 77 ', ' 78 '), payload!.replace(' 66 ', ' 67 '),
    payload!.replace('-1', '-2'), payload!.slice(0, -4), `= ${'0'.repeat(64)} -1 1 e1 77 66 AAAA`]
  for (const text of forged) t.equal(seal.parse(text)!.batches(), undefined, text)
  const other = new EntrySeal('other')
  t.equal(other.parse(payload!)!.batches(), undefined)
  const [mixed] = sealed(other.encrypt([{ index: 1, record: numbered(1) }])!, [1])
  t.equal(seal.parse(mixed!)!.batches(), undefined, 'encrypted with the secret of an earlier schema')
})

t.test('R10: a sealed text that is too short for encrypted entries has none', async t => {
  for (const texts of [[''], ['AAAA'], ['A'.repeat(20)]]) {
    const [payload] = sealed({ texts, textOf: [1], channelOf: [1] }, [1])
    t.equal(seal.parse(payload!)!.batches(), undefined)
  }
})

t.test('R1: entries follow the known position, or contradict it', async t => {
  const known = { epoch: 'e', offset: 5, at: 50 }
  const batch = (epoch: string, first: number, newest: number, before: number, at: number) => ({
    epoch,
    newest,
    at,
    before,
    ended: false,
    entries: Array.from({ length: newest - first + 1 }, (_, n) => ({ offset: first + n, ...numbered(n) }))
  })
  t.strictSame(positionAfter(batch('e', 6, 8, 50, 80), known), { epoch: 'e', offset: 8, at: 80 })
  t.strictSame(positionAfter(batch('e', 4, 8, 30, 50), known), { epoch: 'e', offset: 8, at: 50 })
  for (const other of [batch('f', 6, 8, 1, 2), batch('e', 3, 4, 1, 2), batch('e', 4, 5, 30, 50)]) {
    t.equal(positionAfter(other, known), known)
    t.notOk(isBeyond(other, known))
  }
  t.strictSame(positionAfter(batch('e', 7, 8, 1, 2), known), { epoch: 'e', offset: 8, at: 2 }, 'after a gap')
  t.ok(isBeyond(batch('e', 7, 8, 1, 2), known))
  for (const other of [batch('e', 6, 8, 51, 80), batch('e', 4, 8, 30, 51), batch('e', 5, 5, 30, 51)]) {
    t.equal(positionAfter(other, known), undefined)
  }
  const head = { nameHash: '1', epoch: 'e', newest: 5, at: 50, before: 40 }
  t.equal(contradicts(head, known), false)
  t.equal(contradicts({ ...head, at: 51 }, known), true)
  t.equal(contradicts({ ...head, at: 51, newest: 4 }, known), false)
  t.equal(contradicts({ ...head, at: 51, epoch: 'f' }, known), false)
})
