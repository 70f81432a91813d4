import { join } from 'node:path'
import Fastify from 'fastify'
import t from 'tap'
import sse from '../../../lib/index.ts'
import { checkEventLog } from '../../../lib/log/check-event-log.ts'
import { sqliteLog } from '../../../lib/log/sqlite/factory.ts'
import { compareWithMemory } from '../../setup/log-model.ts'
import { DRIVERS, openDatabase } from '../../setup/sqlite.ts'

for (const [driver, open] of Object.entries(DRIVERS)) {
  t.test(`R4: a log in a database of ${driver} fulfils the contract, also for two users`, async t => {
    const log = sqliteLog(open(join(t.testdir(), 'events.db')))
    await checkEventLog(t, () => log, { shared: true })
    log.close?.()
  })

  t.test(`R4: a log in a database of ${driver} answers as the log in memory, in random sequences of calls`, async t => {
    const log = sqliteLog(open(join(t.testdir(), 'events.db')))
    await compareWithMemory(t, log, { seeds: 10 })
    log.close?.()
  })
}

t.test('R4: with synchronous full, the contract is the same', async t => {
  const log = sqliteLog(openDatabase(join(t.testdir(), 'events.db')), { synchronous: 'full' })
  await compareWithMemory(t, log, { seeds: 1, steps: 10 })
  log.close?.()
})

t.test('E1: a bad database or option is refused', t => {
  for (const database of [undefined, null, 7, '', {}, { exec: () => {} }, []]) {
    t.throws(() => sqliteLog(database as unknown as string),
      { code: 'FST_SSE_OPTION', message: /'database' must be a path, or a database of better-sqlite3 or node:sqlite/ })
  }
  const database = openDatabase(':memory:')
  t.throws(() => sqliteLog(database, { synchronous: 'off' as 'full' }),
    { code: 'FST_SSE_OPTION', message: /'synchronous' must be 'normal' or 'full', got "off"/ })
  database.close()
  t.end()
})

t.test('R4: a copy that the database of the user writes has the events', async t => {
  const folder = t.testdir()
  const database = openDatabase(join(folder, 'events.db'))
  const open = sqliteLog(database)
  const history = { maxEvents: 100, maxBytes: 1_000_000, maxAge: 60_000 }
  const log = open('news', history)
  const { epoch } = await log.append({ event: 'message', data: 'x', json: false })
  database.exec(`VACUUM INTO '${join(folder, 'copy.db')}'`)
  const copy = openDatabase(join(folder, 'copy.db'))
  t.match(await sqliteLog(copy)('news', history).read(0, 10), { epoch, newest: 1, entries: [{ data: 'x' }] })
  log.close()
  database.close()
  copy.close()
})

t.test('L7: the server releases the file when it closes, and the next server continues', async t => {
  const database = openDatabase(join(t.testdir(), 'events.db'))
  t.teardown(() => database.close())
  const ids: string[] = []
  for (let start = 0; start < 2; start++) {
    const app = Fastify()
    await app.register(sse, { eventLog: sqliteLog(database) })
    ids.push(await app.sse.channel('news').publish({ event: 'message', data: 'x' }))
    t.strictSame(await app.sse.locate(ids[0]!), ['news'])
    await app.close()
  }
  t.equal(ids[1], ids[0]!.replace(/1$/, '2'))
})
