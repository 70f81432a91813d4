import assert from 'node:assert/strict'
import type { EventLog, HistoryLimits, LogEntry, LogRecord } from './log.ts'
import { RecordedTail } from './recorded-tail.ts'

// The contract of an event log, one test per promise.

/** Opens the log of the same name again, or of the name with a suffix. */
export type OpenLog = (suffix?: string) => EventLog
/** One promise of the contract: a title, and a body that fails if a log with that history breaks it. */
export type LogCheck = (title: string, body: CheckBody, history?: Partial<HistoryLimits>) => Promise<void>
type CheckBody = (log: EventLog, open: OpenLog) => Promise<void>

const numbered = (n: number, size = 0): LogRecord => ({ event: 'message', data: `${n}${' '.repeat(size)}`, json: true })
const offsets = (entries: readonly LogEntry[]): number[] => entries.map(({ offset }) => offset)

/** Reads all entries after a position, in as many batches as the log returns. */
async function readAll (log: EventLog, after = 0): Promise<LogEntry[]> {
  const all: LogEntry[] = []
  for (;;) {
    const position = all.at(-1)?.offset ?? after
    const { entries } = await log.read(position, 100)
    if (entries.length === 0) return all
    assert.ok(entries.every(({ offset }) => offset > position), `a read returns entries after ${position}`)
    all.push(...entries)
  }
}

const range = (last: number, first = 1): number[] => Array.from({ length: last - first + 1 }, (_, n) => first + n)

export async function checkOrder (check: LogCheck): Promise<void> {
  await check('a new log is empty and open', async log => {
    const { epoch, ...head } = await log.state()
    assert.match(epoch, /^[0-9A-Za-z]{1,32}$/)
    assert.deepEqual(head, { oldest: 1, newest: 0, ended: false })
    assert.deepEqual(await log.read(0, 10), { epoch, newest: 0, ended: false, entries: [] })
  })

  await check('offsets count 1, 2, 3 in the order of the calls, in one epoch', async log => {
    const { epoch } = await log.state()
    const positions = await Promise.all(range(100).map(async n => log.append(numbered(n))))
    assert.deepEqual(positions, range(100).map(offset => ({ epoch, offset })))
    assert.deepEqual(await log.state(), { epoch, oldest: 1, newest: 100, ended: false })
    const entries = await readAll(log)
    assert.deepEqual(entries.map(({ data }) => JSON.parse(data)), range(100))
  })

  await check('a read returns the records as they were appended', async log => {
    const records: LogRecord[] = [
      { event: 'message', data: '{"a":1}', json: true },
      { event: 'näme: with, signs', data: 'line\nline\r\nline\r', json: false },
      { event: 'x', data: '', json: false, fingerprint: 'aZ09-_' },
      { event: 'x', data: '[]', json: true, fingerprint: 'f'.repeat(64) },
      { event: 'x', data: 'é€😀\u0000', json: false }
    ]
    for (const each of records) await log.append(each)
    const entries = await readAll(log)
    assert.deepEqual(entries.map(entry => ({ ...entry })), records.map((each, n) => ({ offset: n + 1, ...each })))
  })

  await check('reads from any position return consecutive batches with no gaps', async log => {
    for (const n of range(10)) await log.append(numbered(n))
    for (const after of range(10, 0)) {
      const { entries, newest } = await log.read(after, 3)
      assert.equal(newest, 10)
      assert.equal(entries.length > 0, after < 10)
      assert.deepEqual(offsets(entries), range(after + entries.length, after + 1))
      assert.ok(entries.length <= 3)
    }
    assert.deepEqual((await log.read(11, 3)).entries, [])
  })
}

export async function checkBounds (check: LogCheck): Promise<void> {
  const checkLimit = async (log: EventLog, max: number): Promise<void> => {
    const { oldest, newest } = await log.state()
    assert.ok(newest - oldest + 1 <= max, `the log keeps ${newest - oldest + 1} events`)
    assert.deepEqual(offsets(await readAll(log)), range(newest, oldest))
    assert.equal((await log.append(numbered(0))).offset, newest + 1)
  }
  await check('the log keeps the newest events up to maxEvents', async log => {
    for (const n of range(50)) await log.append(numbered(n))
    await checkLimit(log, 10)
    assert.ok(offsets(await readAll(log)).includes(51))
  }, { maxEvents: 10 })
  await check('the log keeps the newest events up to maxBytes', async log => {
    for (const n of range(50)) await log.append(numbered(n, 100))
    await checkLimit(log, 9)
  }, { maxBytes: 1_000 })
  await check('with maxEvents 0 the log keeps no event, but still assigns offsets and delivers', async log => {
    const tail = new RecordedTail()
    log.tail(tail.listener)
    await log.state()
    for (const n of range(3)) await log.append(numbered(n))
    assert.deepEqual(await readAll(log), [])
    const { oldest, newest } = await log.state()
    assert.deepEqual([oldest, newest], [4, 3])
    await tail.waitFor('three entries', () => tail.entries.length === 3)
  }, { maxEvents: 0 })
  await check('events older than maxAge are evicted', async log => {
    for (const n of range(3)) await log.append(numbered(n))
    await new Promise(resolve => { setTimeout(resolve, 60) })
    assert.deepEqual(await readAll(log), [])
    const { oldest, newest } = await log.state()
    assert.deepEqual([oldest, newest], [4, 3])
    assert.equal((await log.append(numbered(4))).offset, 4)
  }, { maxAge: 40 })
}

export async function checkClose (check: LogCheck): Promise<void> {
  await check('a closed log settles the appends under way, and rejects later ones', async log => {
    const underWay = (async () => log.append(numbered(1)))()
    log.close()
    await Promise.allSettled([underWay])
    await assert.rejects(async () => log.append(numbered(2)), { code: 'FST_SSE_CLOSING' })
    if (log.appendOnce === undefined) return
    await assert.rejects(async () => log.appendOnce!(numbered(3), 'key'), { code: 'FST_SSE_CLOSING' })
  })
}

export async function checkTail (check: LogCheck): Promise<void> {
  await check('a tail delivers later appends, each entry once and in order', async log => {
    await log.append(numbered(1))
    const tail = new RecordedTail()
    log.tail(tail.listener)
    assert.equal(tail.batches.length, 0, 'no batch within the call')
    const { epoch } = await log.state()
    await Promise.all(range(200, 2).map(async n => log.append(numbered(n))))
    await tail.waitFor('all entries', () => tail.entries.at(-1)?.offset === 200)
    const later = tail.entries.filter(({ offset }) => offset > 1)
    assert.deepEqual(offsets(later), range(200, 2))
    assert.deepEqual(later.map(({ data }) => JSON.parse(data)), range(200, 2))
    for (const batch of tail.batches) {
      assert.equal(batch.epoch, epoch)
      assert.ok(batch.entries.every(({ offset }) => offset <= batch.newest))
      assert.ok(batch.newest <= 200, 'no offset beyond the last append')
    }
  })

  await check('acknowledged and delivered entries can be read', async log => {
    const isReadable = async (n: number): Promise<boolean> => (await log.read(n - 1, 1)).entries[0]?.offset === n
    const tail = new RecordedTail()
    const readable: Array<Promise<boolean>> = []
    log.tail(batch => {
      for (const { offset } of batch.entries) readable.push(isReadable(offset))
      tail.listener(batch)
    })
    for (const n of range(20)) {
      assert.ok(await isReadable((await log.append(numbered(n))).offset), 'an acknowledged append can be read')
      assert.ok(await isReadable((await log.state()).newest), 'the newest offset of the state can be read')
    }
    await tail.waitFor('all entries', () => tail.entries.length >= 20)
    assert.ok((await Promise.all(readable)).every(Boolean), 'a delivered entry can be read')
  })

  await check('a stopped tail delivers nothing more, and other tails continue', async log => {
    const [one, other] = [new RecordedTail(), new RecordedTail()]
    const stop = log.tail(one.listener)
    log.tail(other.listener)
    await log.append(numbered(1))
    await one.waitFor('the first entry', () => one.entries.length === 1)
    stop()
    stop()
    await log.append(numbered(2))
    await other.waitFor('both entries', () => other.entries.length === 2)
    assert.equal(one.entries.length, 1)
  })

  await check('tailing before reading misses no entry, at any rate of appends', async log => {
    let last = 0
    const appending = (async () => {
      for (const n of range(300)) {
        await log.append(numbered(n))
        if (n % 10 === 0) await new Promise(setImmediate)
      }
    })()
    // If another step fails first, this test must not fail twice.
    appending.catch(() => {})
    await new Promise(setImmediate)
    const tail = new RecordedTail()
    log.tail(tail.listener)
    const seen = new Set<number>()
    for (let { entries } = await log.read(0, 20); entries.length > 0; { entries } = await log.read(last, 20)) {
      assert.ok(entries[0]!.offset > last, 'a read returns entries after the position')
      last = entries.at(-1)!.offset
      for (const { offset } of entries) seen.add(offset)
    }
    await appending
    await tail.waitFor('the last entry', () => tail.entries.at(-1)?.offset === 300)
    for (const { offset } of tail.entries) seen.add(offset)
    assert.deepEqual([...seen].sort((a, b) => a - b), range(300))
  })
}

export async function checkIdle (check: LogCheck, shared: boolean): Promise<void> {
  const use = async (log: EventLog): Promise<void> => {
    await log.append(numbered(1))
    log.tail(() => {})()
  }
  // A shared store keeps the entries for the other nodes.
  if (!shared) {
    await check('the log is not idle while a client may reconnect to its entries', async log => {
      await use(log)
      assert.equal(log.isIdle(), false)
    }, { maxAge: 60_000 })
  }
  await check('the log is idle when its entries have expired', async log => {
    await use(log)
    for (let waited = 0; !log.isIdle(); waited += 20) {
      assert.ok(waited < 5_000, 'the log is not idle after 5 seconds')
      await new Promise(resolve => { setTimeout(resolve, 20) })
    }
  }, { maxAge: 40 })
}

export async function checkEnd (check: LogCheck): Promise<void> {
  await check('after the end the log rejects appends, and its entries can be read', async log => {
    const tail = new RecordedTail()
    log.tail(tail.listener)
    const { epoch } = await log.append(numbered(1))
    await log.end()
    await log.end()
    await tail.waitFor('the end', () => tail.batches.some(({ ended }) => ended))
    assert.equal(tail.batches.filter(({ ended }) => ended).length, 1, 'delivered once')
    assert.deepEqual(offsets(tail.entries), [1])
    await assert.rejects(async () => log.append(numbered(2)), { code: 'FST_SSE_CHANNEL_ENDED' })
    assert.deepEqual(await log.state(), { epoch, oldest: 1, newest: 1, ended: true })
    assert.deepEqual([offsets(await readAll(log)), (await log.read(0, 10)).ended], [[1], true])
  })

  await check('two names open two logs with different epochs', async (log, open) => {
    const other = open(' other')
    await log.append(numbered(1))
    assert.notEqual((await log.state()).epoch, (await other.state()).epoch)
    assert.deepEqual(await readAll(other), [])
  })
}

export async function checkShared (check: LogCheck): Promise<void> {
  await check('two nodes share one log: one order, one set of ids, one end', async (one, open) => {
    const other = open()
    const [tail, otherTail] = [new RecordedTail(), new RecordedTail()]
    one.tail(tail.listener)
    other.tail(otherTail.listener)
    const positions = await Promise.all(range(100).map(async n => (n % 2 === 0 ? one : other).append(numbered(n))))
    assert.deepEqual(positions.map(({ offset }) => offset).sort((a, b) => a - b), range(100))
    for (const each of [tail, otherTail]) {
      await each.waitFor('all entries', () => each.entries.length >= 100)
      assert.deepEqual(offsets(each.entries), range(100))
    }
    assert.deepEqual(tail.entries.map(({ data }) => data), otherTail.entries.map(({ data }) => data))
    assert.deepEqual(await one.state(), await other.state())
    await one.end()
    await otherTail.waitFor('the end', () => otherTail.batches.some(({ ended }) => ended))
    await assert.rejects(async () => other.append(numbered(0)), { code: 'FST_SSE_CHANNEL_ENDED' })
  })

  await check('one node closes the log, and the other continues', async (one, open) => {
    const other = open()
    const [tail, otherTail] = [new RecordedTail(), new RecordedTail()]
    one.tail(tail.listener)
    other.tail(otherTail.listener)
    await one.append(numbered(1))
    await tail.waitFor('the first entry', () => tail.entries.length > 0)
    one.close()
    assert.equal((await other.append(numbered(2))).offset, 2)
    assert.deepEqual(offsets(await readAll(other)), [1, 2])
    await otherTail.waitFor('both entries', () => otherTail.entries.length > 1)
    assert.equal(tail.entries.length, 1, 'a closed log delivers nothing more')
  })
}
