import assert from 'node:assert/strict'
import type { LogCheck } from './checks.ts'
import type { EventLog, KeyedPosition, LogRecord } from './log.ts'
import { RecordedTail } from './recorded-tail.ts'

// The contract of a log that appends once per key, one test per promise.

const record = (data: string): LogRecord => ({ event: 'message', data, json: false })

/** Appends once per key. Returns the fields of the position, without additional ones. */
async function once (log: EventLog, data: string, key: string): Promise<KeyedPosition> {
  assert.ok(log.appendOnce !== undefined)
  const { epoch, offset, appended } = await log.appendOnce(record(data), key)
  return { epoch, offset, appended }
}

const dataOf = async (log: EventLog): Promise<string[]> => (await log.read(0, 100)).entries.map(({ data }) => data)

export async function checkKeys (check: LogCheck): Promise<void> {
  await check('a key appends one record, and a later call gets its position', async log => {
    const tail = new RecordedTail()
    log.tail(tail.listener)
    const { epoch } = await log.append(record('before'))
    assert.deepEqual(await once(log, 'first', 'key'), { epoch, offset: 2, appended: true })
    await log.append(record('between'))
    assert.deepEqual(await once(log, 'second', 'key'), { epoch, offset: 2, appended: false })
    assert.deepEqual(await once(log, 'other', 'other key'), { epoch, offset: 4, appended: true })
    assert.deepEqual(await dataOf(log), ['before', 'first', 'between', 'other'])
    await tail.waitFor('the last entry', () => tail.entries.at(-1)?.offset === 4)
    assert.deepEqual(tail.entries.map(({ data }) => data), await dataOf(log))
  })

  await check('a record with a key is stored as it was appended', async log => {
    const whole: LogRecord = { event: 'näme', data: '{"a":"é€😀"}', json: true, fingerprint: 'aZ09-_' }
    await log.appendOnce?.(whole, 'key')
    assert.deepEqual((await log.read(0, 1)).entries.map(entry => ({ ...entry })), [{ offset: 1, ...whole }])
  })

  await check('of several calls at once with one key, one appends', async log => {
    const calls = Array.from({ length: 20 }, (_, n) => n)
    const results = await Promise.all(calls.map(async n => once(log, `${n}`, 'key')))
    assert.equal(results.filter(({ appended }) => appended).length, 1)
    assert.deepEqual([...new Set(results.map(({ offset }) => offset))], [1])
    assert.equal((await log.state()).newest, 1)
  })

  await check('keys that differ in one character are different keys', async log => {
    const keys = ['a', 'A', 'á', 'a\u0301', 'a ', ' a', '1', '01', ':', '%', '__proto__', '😀'.repeat(256),
      '😀'.repeat(255)]
    for (const [n, key] of keys.entries()) assert.equal((await once(log, 'x', key)).offset, n + 1)
    for (const [n, key] of keys.entries()) {
      const { offset, appended } = await once(log, 'x', key)
      assert.deepEqual([offset, appended], [n + 1, false])
    }
  })

  await check('two logs have different keys', async (log, open) => {
    const other = open(' other')
    assert.equal((await once(log, 'x', 'key')).appended, true)
    assert.equal((await once(other, 'x', 'key')).appended, true)
  })

  await check('a key is kept when its entry is evicted', async log => {
    assert.equal((await once(log, 'x', 'key')).appended, true)
    const { oldest, newest } = await log.state()
    assert.deepEqual([oldest, newest], [2, 1])
    const { offset, appended } = await once(log, 'x', 'key')
    assert.deepEqual([offset, appended], [1, false])
  }, { maxEvents: 0 })

  await check('after the end a key still has its position, and a new key is rejected', async log => {
    const first = await once(log, 'x', 'key')
    await log.end()
    assert.deepEqual(await once(log, 'x', 'key'), { ...first, appended: false })
    await assert.rejects(async () => once(log, 'x', 'other key'), { code: 'FST_SSE_CHANNEL_ENDED' })
    await assert.rejects(async () => once(log, 'x', 'other key'), { code: 'FST_SSE_CHANNEL_ENDED' })
    assert.equal((await log.state()).newest, 1)
  })
}

export async function checkSharedKeys (check: LogCheck): Promise<void> {
  await check('two nodes append one record per key', async (one, open) => {
    const other = open()
    const tail = new RecordedTail()
    other.tail(tail.listener)
    await other.state()
    const numbers = Array.from({ length: 50 }, (_, n) => n)
    const results = await Promise.all(numbers.map(async n => {
      return await Promise.all([one, other].map(async log => once(log, `${n}`, `key ${n}`)))
    }))
    for (const [here, there] of results) {
      assert.deepEqual([here?.epoch, here?.offset], [there?.epoch, there?.offset])
      assert.notEqual(here?.appended, there?.appended)
    }
    assert.equal((await one.state()).newest, 50)
    await tail.waitFor('all entries', () => tail.entries.length >= 50)
    assert.deepEqual(tail.entries.map(({ data }) => Number(data)).sort((a, b) => a - b), numbers)
  })
}
