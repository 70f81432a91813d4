import { join } from 'node:path'
import t, { type Test } from 'tap'
import { prepareFile } from '../../../lib/log/sqlite/schema.ts'
import { SqliteLog } from '../../../lib/log/sqlite/sqlite-log.ts'
import { Store } from '../../../lib/log/sqlite/store.ts'
import { openDatabase } from '../../setup/sqlite.ts'
import { until } from '../../setup/until.ts'

const HISTORY = { maxEvents: 10_000, maxBytes: 1_000_000, maxAge: 60_000 }
const record = { event: 'message', data: 'x', json: false }

interface Opened {
  store: Store
  open: (history?: Partial<typeof HISTORY>) => SqliteLog
  /** The number of closed logs. */
  closed: () => number
  breakFile: () => void
}

function opened (t: Test): Opened {
  const database = openDatabase(join(t.testdir(), 'events.db'))
  t.teardown(() => database.close())
  prepareFile(database, 'events.db', 'normal')
  const store = new Store(database)
  let closed = 0
  return {
    store,
    open: history => new SqliteLog('news', { ...HISTORY, ...history }, store, () => { closed++ }),
    closed: () => closed,
    breakFile: () => database.exec('DROP TABLE events; DROP TABLE channels')
  }
}

t.test('R4: a read returns a limited number of bytes, and at least one entry', async t => {
  const { open } = opened(t)
  const log = open({ maxBytes: 2 ** 30 })
  const data = 'x'.repeat(9_000_000)
  for (const each of ['a', data, data, data, 'b', 'c']) await log.append({ ...record, data: each })
  const reads: number[][] = []
  for (let last = 0; last < 6; last = reads.at(-1)!.at(-1)!) {
    reads.push((await log.read(last, 10)).entries.map(({ offset }) => offset))
  }
  t.strictSame(reads, [[1, 2, 3], [4, 5, 6]])
  t.strictSame((await log.read(1, 1)).entries.map(({ offset }) => offset), [2])
  log.close()
})

t.test('R4: to open, to peek and to close a log creates nothing', async t => {
  const { store, open, closed } = opened(t)
  const log = open()
  t.equal(await log.peek(), undefined)
  log.tail(() => {})()
  t.strictSame(await log.members(), [])
  log.close()
  log.close()
  t.equal(closed(), 1)
  t.equal(store.get('SELECT count(*) AS n FROM channels')?.n, 0)
  t.notOk(store.has('news'))
})

t.test('R4: to read, or to ask for the state, creates a log', async t => {
  const { open, store } = opened(t)
  const log = open()
  const { epoch } = await log.read(0, 10)
  t.strictSame(await log.state(), { epoch, oldest: 1, newest: 0, ended: false })
  t.match(store.log('news', HISTORY).head, { epoch })
})

t.test('R4: a closed log delivers nothing and rejects', async t => {
  const { open } = opened(t)
  const [log, other] = [open(), open()]
  let delivered = 0
  log.tail(() => delivered++)
  log.close()
  const stop = log.tail(() => delivered++)
  await other.append(record)
  t.equal(delivered, 0)
  stop()
  const calls: Array<() => Promise<unknown>> = [
    () => log.append(record), () => log.state(), () => log.read(0, 1), () => log.peek(), () => log.end()
  ]
  for (const call of calls) await t.rejects(call(), { code: 'FST_SSE_CLOSING' })
})

t.test('R4: the last use is saved with the close', async t => {
  const { store, open } = opened(t)
  const log = open()
  await log.append(record)
  const used = (): number => Number(store.get('SELECT used FROM channels')?.used)
  const before = used()
  await new Promise(resolve => { setTimeout(resolve, 5) })
  await log.state()
  log.close()
  t.ok(store.has('news'))
  await until('the use', () => used() > before)
  t.notOk(store.has('news'))
})

t.test('R4: a log is idle when it was not used for a while, and evicts by age', async t => {
  const { store, open } = opened(t)
  const log = open({ maxAge: 50 })
  const stop = log.tail(() => {})
  await Promise.all(Array.from({ length: 3_000 }, async () => log.append(record)))
  t.equal(log.isIdle(), false)
  stop()
  const stored = (): number => Number(store.get('SELECT count(*) AS n FROM events')?.n)
  await until('the eviction', () => {
    log.isIdle()
    return stored() === 0
  })
  await until('the idle log', () => log.isIdle())
})

t.test('E1: a file that fails at run time rejects each call with a code, and evicts later', async t => {
  const { open, breakFile } = opened(t)
  const log = open({ maxEvents: 10_000 })
  await Promise.all(Array.from({ length: 10 }, async () => log.append(record)))
  const short = open({ maxAge: 60_000 })
  breakFile()
  const failed = { code: 'FST_SSE_LOG_UNAVAILABLE', message: /'news' cannot be used/ }
  const calls: Array<() => Promise<unknown>> = [() => log.append(record), () => log.read(0, 10), () => log.end()]
  for (const call of calls) await t.rejects(call(), failed)
  t.match(await short.peek(), { newest: 10, ended: false })
  log.close()
  short.close()
})

t.test('E1: an eviction that fails is tried again', async t => {
  const { open, store } = opened(t)
  const log = open({ maxAge: 20 })
  await log.append(record)
  await new Promise(resolve => { setTimeout(resolve, 30) })
  store.run('CREATE TRIGGER refuse BEFORE DELETE ON events BEGIN SELECT raise(ABORT, \'refused\'); END')
  log.isIdle()
  log.isIdle()
  await new Promise(resolve => { setTimeout(resolve, 20) })
  const stored = (): number => Number(store.get('SELECT count(*) AS n FROM events')?.n)
  t.equal(stored(), 1)
  store.run('DROP TRIGGER refuse')
  await until('the eviction', () => {
    log.isIdle()
    return stored() === 0
  })
})
