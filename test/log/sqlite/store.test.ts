import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { HistoryLimits, LogBatch } from '../../../lib/log/log.ts'
import type { SqliteDatabase } from '../../../lib/log/sqlite/database.ts'
import { prepare } from '../../../lib/log/sqlite/rows.ts'
import { prepareFile } from '../../../lib/log/sqlite/schema.ts'
import { Store } from '../../../lib/log/sqlite/store.ts'
import { openDatabase } from '../../setup/sqlite.ts'

const HISTORY: HistoryLimits = { maxEvents: 1_000, maxBytes: 1_000_000, maxAge: 60_000 }
const record = { event: 'message', data: 'x', json: false }

function storeOf (t: Test): { store: Store, database: SqliteDatabase, commits: () => number } {
  const database = openDatabase(join(t.testdir(), 'events.db'))
  t.teardown(() => database.close())
  prepareFile(database, 'events.db', 'normal')
  let commits = 0
  const counting: SqliteDatabase = {
    exec: sql => database.exec(sql),
    close: () => database.close(),
    prepare: sql => {
      const statement = prepare(database, sql)
      if (sql !== 'COMMIT') return statement
      return { run: () => { commits++; return statement.run() }, get: () => statement.get() }
    }
  }
  return { store: new Store(counting), database, commits: () => commits }
}

t.test('R4: the steps of one turn, of all logs, are one transaction', async t => {
  const { store, commits } = storeOf(t)
  const logs = ['a', 'b', 'c'].map(name => store.log(name, HISTORY))
  const batches: LogBatch[] = []
  logs[0]!.listeners.add(batch => batches.push(batch))
  const positions = await Promise.all(logs.flatMap(log =>
    Array.from({ length: 20 }, async () => store.enqueue(log, () => log.append(record)))))
  t.equal(commits(), 1)
  t.equal(batches.length, 1, 'a listener is called once for each transaction')
  t.equal(batches[0]?.entries.length, 20)
  t.strictSame(positions.map(({ offset }) => offset), [...Array(60).keys()].map(n => n % 20 + 1))
})

t.test('R4: the callbacks of one turn share a transaction, and nothing is there before its commit', async t => {
  const { store, commits } = storeOf(t)
  const log = store.log('a', HISTORY)
  const first = store.enqueue(log, () => log.append(record))
  await Promise.resolve()
  const second = store.enqueue(log, () => log.append(record))
  t.equal(log.head, undefined)
  t.equal(commits(), 0)
  t.strictSame((await Promise.all([first, second])).map(({ offset }) => offset), [1, 2])
  t.equal(commits(), 1)
})

t.test('R4: a turn takes a bounded time, and the rest is another transaction', async t => {
  const { store, commits } = storeOf(t)
  const log = store.log('a', HISTORY)
  const wait = (): void => {
    const end = performance.now() + 1
    while (performance.now() < end);
  }
  await Promise.all(Array.from({ length: 100 }, async () => store.enqueue(log, wait)))
  t.ok(commits() > 1)
})

t.test('E1: when a transaction fails, none of its steps took effect, and the next one works', async t => {
  const { store, database } = storeOf(t)
  const [log, other] = [store.log('a', HISTORY), store.log('b', HISTORY)]
  const { offset } = await store.enqueue(log, () => log.append(record))
  t.equal(offset, 1)
  const fail = (): never => { throw Object.assign(new Error('full'), { code: 'SQLITE_FULL' }) }
  const results = await Promise.allSettled([
    store.enqueue(log, () => log.append(record)),
    store.enqueue(other, () => other.append(record)),
    store.enqueue(log, () => log.end(undefined, undefined)),
    store.enqueue(log, () => log.append(record)),
    store.enqueue(log, fail)
  ])
  for (const result of results) {
    t.match(result, { status: 'rejected', reason: { code: 'FST_SSE_LOG_UNAVAILABLE', message: /no space left/ } })
  }
  t.equal(other.head, undefined)
  t.match(log.state(), { newest: 1, ended: false })
  t.match(await store.enqueue(log, () => log.append(record)), { offset: 2 })
  t.equal(log.read(0, 10).entries.length, 2)

  // SQLite itself has rolled back.
  const rollBack = (): never => {
    database.exec('ROLLBACK')
    throw new Error('lost')
  }
  await t.rejects(store.enqueue(log, rollBack), { code: 'FST_SSE_LOG_UNAVAILABLE', message: /cannot be used/ })
  t.match(await store.enqueue(log, () => log.append(record)), { offset: 3 })
})

t.test('E1: a file without space rejects, and serves what it has', async t => {
  const { store, database } = storeOf(t)
  const log = store.log('a', HISTORY)
  const large = { event: 'message', data: 'x'.repeat(50_000), json: false }
  await store.enqueue(log, () => log.append(record))
  database.exec('PRAGMA max_page_count = 20')
  await t.rejects(Promise.all(Array.from({ length: 20 }, async () => store.enqueue(log, () => log.append(large)))),
    { code: 'FST_SSE_LOG_UNAVAILABLE', message: /has no space left: nothing was written/ })
  t.equal(log.read(0, 100).entries.length, 1)
  database.exec('PRAGMA max_page_count = 10000')
  t.match(await store.enqueue(log, () => log.append(large)), { offset: 2 })
})

t.test('R4: a log without users and steps leaves memory', async t => {
  const { store } = storeOf(t)
  const log = store.log('a', HISTORY)
  log.users++
  await store.enqueue(log, () => log.append(record))
  t.ok(store.has('a'))
  t.equal(store.log('a', HISTORY), log)
  log.users--
  const appended = store.enqueue(log, () => log.append(record))
  store.release(log)
  t.ok(store.has('a'), 'a step waits')
  await appended
  t.notOk(store.has('a'))
  t.match(store.log('a', HISTORY).state(), { newest: 2 })
})

t.test('R4: close executes the steps that wait, and accepts no more', async t => {
  const { store } = storeOf(t)
  const log = store.log('a', HISTORY)
  const appended = store.enqueue(log, () => log.append(record))
  store.close()
  t.match(log.head, { newest: 1 })
  t.match(await appended, { offset: 1 })
  await t.rejects(store.enqueue(log, () => log.append(record)), { code: 'FST_SSE_LOG_UNAVAILABLE', message: /is closed/ })
})

t.test('R4: another store continues the ids of channels', async t => {
  const { store, database } = storeOf(t)
  for (const name of ['a', 'b']) {
    const log = store.log(name, HISTORY)
    await store.enqueue(log, () => log.append(record))
  }
  t.equal(new Store(database).newId(), 3)
})
