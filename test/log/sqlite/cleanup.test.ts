import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KEY_DURATION } from '../../../lib/log/log.ts'
import { Cleanup } from '../../../lib/log/sqlite/cleanup.ts'
import { prepareFile } from '../../../lib/log/sqlite/schema.ts'
import { Store } from '../../../lib/log/sqlite/store.ts'
import { openDatabase } from '../../setup/sqlite.ts'

const HOUR = 3_600_000
const AGE = 60_000
const record = { event: 'message', data: 'x', json: false }

interface Opened {
  store: Store
  cleanup: Cleanup
  /** Returns the number of rows. */
  count: (table: string) => unknown
  /** Appends events, one more with a key, and a member. */
  fill: (name: string, events: number, age?: number) => Promise<void>
}

function opened (t: Test): Opened {
  const database = openDatabase(join(t.testdir(), 'events.db'))
  t.teardown(() => database.close())
  prepareFile(database, 'events.db', 'normal')
  const store = new Store(database)
  return {
    store,
    cleanup: new Cleanup(store),
    count: table => store.get(`SELECT count(*) AS n FROM ${table}`)?.n,
    fill: async (name, events, age = AGE) => {
      const log = store.log(name, { maxEvents: 100_000, maxBytes: 1e9, maxAge: age })
      await Promise.all(Array.from({ length: events }, async () => store.enqueue(log, () => log.append(record))))
      await store.enqueue(log, () => log.appendOnce(record, 'key'))
      await store.enqueue(log, () => log.members.hold('one', { add: ['"a"'], remove: [] }, AGE))
    }
  }
}

t.test('R4: a closed channel loses its events after their age, and leaves the file an hour later', async t => {
  const { store, cleanup, count, fill } = opened(t)
  await fill('news', 10)
  await fill('kept', 3, Infinity)
  const { now } = store
  cleanup.step()
  cleanup.step(now + AGE - 1_000)
  t.equal(count('events'), 17)
  cleanup.step(now + AGE + 1_000)
  t.equal(count('events'), 5)
  const history = { maxEvents: 100, maxBytes: 1e6, maxAge: AGE }
  const log = store.log('news', history)
  t.match(log.state(), { oldest: 13, newest: 12, ended: false })
  store.release(log)
  cleanup.step(now + AGE + HOUR - 1_000)
  t.equal(count('channels'), 2, 'a client that missed no event may reconnect')
  cleanup.step(now + AGE + HOUR + 2_000)
  for (const table of ['channels', 'held', 'holders', 'keys']) t.equal(count(table), table === 'keys' ? 0 : 1, table)
  t.notOk(cleanup.step(now + 100 * HOUR))
  t.equal(count('events'), 5, 'there is no age')
})

t.test('R4: an open channel stays', async t => {
  const { store, cleanup, count, fill } = opened(t)
  const log = store.log('news', { maxEvents: 100, maxBytes: 1e6, maxAge: AGE })
  log.users++
  await fill('news', 10)
  cleanup.step(store.now + 10 * HOUR)
  t.equal(count('events'), 12)
  log.users--
  store.release(log)
  cleanup.step(store.now + 10 * HOUR + AGE - 1_000)
  t.equal(count('events'), 12, 'its age is counted from the last look')
  cleanup.step(store.now + 10 * HOUR + AGE + 1_000)
  t.equal(count('events'), 0)
})

t.test('R4: the last event keeps a channel whose last use was not saved', async t => {
  const { store, cleanup, count, fill } = opened(t)
  await fill('news', 10)
  store.run('UPDATE channels SET used = 0, expires = 0')
  cleanup.step(store.now)
  t.equal(count('events'), 12)
  cleanup.step(store.now + AGE + 1_000)
  t.equal(count('events'), 0)
})

t.test('R4: a step deletes a bounded part, and says that there is more', async t => {
  const { store, cleanup, count, fill } = opened(t)
  await fill('a', 3_000)
  await fill('b', 3_000)
  const later = store.now + AGE + 1_000
  const counts: unknown[] = []
  while (cleanup.step(later)) counts.push(count('events'))
  t.ok(counts.length >= 3)
  t.equal(count('events'), 0)

  const log = store.log('keys', { maxEvents: 0, maxBytes: 0, maxAge: Infinity })
  await Promise.all(Array.from({ length: 1_500 }, async (_, n) => store.enqueue(log, () => log.appendOnce(record, `${n}`))))
  const expired = store.now + KEY_DURATION + 1
  t.ok(cleanup.step(expired))
  t.ok(Number(count('keys')) > 0)
  while (cleanup.step(expired));
  t.equal(count('keys'), 0)
})

t.test('R4: past channels leave the file, a hundred per step', async t => {
  const { store, cleanup, count } = opened(t)
  store.run(`INSERT INTO channels SELECT value, 'channel ' || value, 'epoch' || value, 1, 0, 0, 0, 0, NULL, NULL, NULL, 0, 1, 0, 1
    FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 2500) SELECT value FROM n)`)
  let steps = 0
  while (cleanup.step()) steps++
  t.equal(count('channels'), 0)
  t.equal(steps, 25)
})
