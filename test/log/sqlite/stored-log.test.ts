import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { HistoryLimits } from '../../../lib/log/log.ts'
import { prepareFile } from '../../../lib/log/sqlite/schema.ts'
import { Store } from '../../../lib/log/sqlite/store.ts'
import type { StoredLog } from '../../../lib/log/sqlite/stored-log.ts'
import { openDatabase } from '../../setup/sqlite.ts'

const HISTORY: HistoryLimits = { maxEvents: 1_000, maxBytes: 1_000_000, maxAge: Infinity }
const record = (data: string): { event: string, data: string, json: boolean } => ({ event: 'message', data, json: false })

interface Opened {
  store: Store
  log: StoredLog
  append: (count: number, size?: number) => Promise<void>
  /** The numbers of the entries in the file. */
  stored: () => { first: number | null, last: number | null, count: number }
  /** Opens the log again, as another process would. */
  again: (history?: Partial<HistoryLimits>) => StoredLog
}

function opened (t: Test, history: Partial<HistoryLimits> = {}): Opened {
  const database = openDatabase(join(t.testdir(), 'events.db'))
  t.teardown(() => database.close())
  prepareFile(database, 'events.db', 'normal')
  const store = new Store(database)
  const log = store.log('news', { ...HISTORY, ...history })
  return {
    store,
    log,
    append: async (count, size = 1) => {
      await Promise.all(Array.from({ length: count }, async () =>
        store.enqueue(log, () => log.append(record('x'.repeat(size))))))
    },
    stored: () => {
      const { first, last, count } = store.get('SELECT min(number) AS first, max(number) AS last, count(*) AS count FROM events')!
      return { first, last, count } as ReturnType<Opened['stored']>
    },
    again: other => new Store(database).log('news', { ...HISTORY, ...history, ...other })
  }
}

t.test('R4: evicted entries leave the file together, by number', async t => {
  const { log, append, stored } = opened(t, { maxEvents: 10 })
  await append(10)
  for (let n = 0; n < 63; n++) await append(1)
  t.strictSame(stored(), { first: 1, last: 73, count: 73 })
  t.match(log.state(), { oldest: 64, newest: 73 })
  await append(1)
  t.strictSame(stored(), { first: 65, last: 74, count: 10 })
  await append(500)
  t.strictSame(stored(), { first: 565, last: 574, count: 10 }, 'an entry that is evicted at once has no row')
  t.match(log.state(), { oldest: 565, newest: 574 })
})

t.test('R4: large entries leave the file sooner', async t => {
  const { log, append, stored } = opened(t, { maxBytes: 100_000 })
  for (let n = 0; n < 5; n++) await append(1, 40_000)
  t.ok(stored().count <= 4)
  t.match(log.state(), { oldest: 4, newest: 5 })
})

t.test('R4: a log continues after a restart, with its limits', async t => {
  const { log, append, again } = opened(t)
  await append(30)
  const { epoch } = log.state()
  t.strictSame(again().state(), { epoch, oldest: 1, newest: 30, ended: false })
  t.strictSame(again({ maxEvents: 7 }).state(), { epoch, oldest: 24, newest: 30, ended: false })
  t.strictSame(again({ maxBytes: 40 }).state(), { epoch, oldest: 26, newest: 30, ended: false })
  t.strictSame(again({ maxEvents: 0 }).state(), { epoch, oldest: 31, newest: 30, ended: false })
})

t.test('R4: a log without a history counts on after a restart', async t => {
  const { log, append, stored, again } = opened(t, { maxEvents: 0 })
  await append(5)
  await append(3)
  t.equal(stored().count, 0)
  const { epoch } = log.state()
  t.strictSame(again().state(), { epoch, oldest: 9, newest: 8, ended: false })
  t.strictSame(again({ maxEvents: 10 }).state(), { epoch, oldest: 9, newest: 8, ended: false })
})

t.test('R4: a longer history than before has no hole', async t => {
  const { store, append, again } = opened(t, { maxEvents: 50 })
  await append(60)
  const none = again({ maxEvents: 0 })
  await store.enqueue(none, () => none.append(record('x')))
  const longer = again({ maxEvents: 100 })
  const { oldest, newest } = longer.state()
  t.equal(newest, 61)
  t.equal(longer.read(0, 100).entries.length, newest - oldest + 1)
})

t.test('R4: the outcome, the lease and the last use are in the file', async t => {
  const { store, log, again } = opened(t, { maxAge: 60_000 })
  await store.enqueue(log, () => log.lease('one', 60_000))
  t.match(again().status(), { owner: 'one', leased: true, ended: false })
  t.equal(log.hasUse, false)
  await new Promise(resolve => { setTimeout(resolve, 5) })
  log.state()
  t.equal(log.hasUse, true)
  await store.enqueue(log, () => log.saveUse())
  t.equal(log.hasUse, false)
  await store.enqueue(log, () => log.end(record('last'), 'complete'))
  t.match(again().status(), { owner: 'one', leased: false, ended: true, outcome: 'complete', newest: 1 })
})

t.test('R4: a text with a NUL, or half a character, is stored', async t => {
  const { store, log } = opened(t)
  const data = 'a\u0000b"\\\n\u2028é😀'
  await store.enqueue(log, () => log.append(record(data)))
  await store.enqueue(log, () => log.append(record('\ud83d')))
  t.strictSame(log.read(0, 10).entries.map(({ data }) => data), [data, '\ufffd'])
})

t.test('R4: entries beyond the age are evicted, and leave the file in parts', async t => {
  const { store, log, append, stored, again } = opened(t, { maxEvents: 10_000 })
  t.equal(log.hasGarbage, false, 'there is no log')
  await append(5_000)
  t.equal(log.hasGarbage, false)
  await new Promise(resolve => { setTimeout(resolve, 5) })
  const older = again({ maxAge: 1 })
  t.equal(older.hasGarbage, true)
  t.match(older.state(), { oldest: 5_001, newest: 5_000 })
  await store.enqueue(older, () => older.collect())
  t.ok(stored().count > 0 && stored().count < 5_000)
  while (older.hasGarbage) await store.enqueue(older, () => older.collect())
  t.equal(stored().count, 0)
  t.match(again().state(), { oldest: 5_001, newest: 5_000 })
})

t.test('R4: the file does not grow when the history is full', async t => {
  const { store, append } = opened(t, { maxEvents: 500 })
  const pages = (): number => Number(store.get('PRAGMA page_count')?.page_count)
  const sizes: number[] = []
  for (let round = 0; round < 8; round++) {
    await append(500, 200)
    sizes.push(pages())
  }
  t.ok(sizes.at(-1)! <= sizes[2]! * 1.2, `pages: ${sizes.join(', ')}`)
})
