import { existsSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { SqliteValue } from '../../../lib/log/sqlite/database.ts'
import { LogFile } from '../../../lib/log/sqlite/log-file.ts'
import { prepare } from '../../../lib/log/sqlite/rows.ts'
import { copyOf, openDatabase } from '../../setup/sqlite.ts'
import { until } from '../../setup/until.ts'

const HISTORY = { maxEvents: 100, maxBytes: 1_000_000, maxAge: 60_000 }
const record = { event: 'message', data: 'x', json: false }

// A module like `node:sqlite`, for a Node without it.
const load = (): object => ({
  DatabaseSync: class {
    constructor (file: string) { return openDatabase(file) }
  }
})
const synchronous = 'normal'

t.test('E1: a path needs node:sqlite', t => {
  const file = join(t.testdir(), 'events.db')
  t.throws(() => new LogFile(file, { synchronous, load: () => undefined }), {
    code: 'FST_SSE_OPTION',
    message: /'database' must be a Database of better-sqlite3, because this version of Node has no node:sqlite, got ".*/
  })
  t.notOk(existsSync(file))
  if (process.getBuiltinModule('node:sqlite') === undefined) {
    t.throws(() => new LogFile(file, { synchronous }), { code: 'FST_SSE_OPTION' })
  } else {
    const native = new LogFile(file, { synchronous })
    native.close()
    t.ok(existsSync(file))
  }
  t.end()
})

t.test('E1: a path that cannot be opened is refused', t => {
  const folder = t.testdir({ 'text.db': 'a text, and no database, '.repeat(100) })
  const option = { code: 'FST_SSE_OPTION', message: /a file that SQLite can open and write/ }
  t.throws(() => new LogFile(join(folder, 'none', 'events.db'), { synchronous, load }), option)
  t.throws(() => new LogFile(folder, { synchronous, load }), option)
  t.throws(() => new LogFile(join(folder, 'text.db'), { synchronous, load }), { code: 'FST_SSE_LOG_FOREIGN' })
  t.end()
})

t.test('R8: a file with an open log is refused to another user in this process', async t => {
  const file = join(t.testdir(), 'events.db')
  const one = new LogFile(file, { synchronous, load })
  const log = one.log('news', HISTORY)
  await log.append(record)
  const link = `${file}.link`
  symlinkSync(file, link)
  for (const path of [file, link]) {
    t.throws(() => new LogFile(path, { synchronous, load }), { code: 'FST_SSE_LOG_IN_USE', statusCode: 503 })
  }
  const database = openDatabase(file)
  t.teardown(() => database.close())
  t.throws(() => new LogFile(database, { synchronous }), { code: 'FST_SSE_LOG_IN_USE' })
  one.close()
  await log.append(record)
  t.equal(one.locate((await log.state()).epoch), 'news', 'an open log keeps the file open')
  log.close()
  one.close()
  one.close()
})

t.test('R4: close flushes a file, and the next log opens it again', async t => {
  const database = openDatabase(join(t.testdir(), 'events.db'))
  t.teardown(() => database.close())
  const file = new LogFile(database, { synchronous })
  const boot = (): unknown => Object.values(prepare(database, 'SELECT boot FROM meta').get() as object)[0]
  const log = file.log('news', HISTORY)
  const { epoch } = await log.append(record)
  t.not(boot(), '')
  log.close()
  file.close()
  t.equal(boot(), '')
  const again = file.log('news', HISTORY)
  t.not(boot(), '')
  t.match(await again.state(), { epoch, newest: 1 })
  again.close()
  file.close()
})

t.test('R8: a file whose logs are closed goes to the next user', async t => {
  const database = openDatabase(join(t.testdir(), 'events.db'))
  t.teardown(() => database.close())
  const one = new LogFile(database, { synchronous })
  const other = new LogFile(database, { synchronous })
  const log = other.log('news', HISTORY)
  t.throws(() => one.log('news', HISTORY), { code: 'FST_SSE_LOG_IN_USE' })
  log.close()
  const mine = one.log('news', HISTORY)
  t.match(await mine.append(record), { offset: 1 })
  mine.close()
  one.close()
  other.close()
})

t.test('R8: the file of a killed process opens at once', async t => {
  const file = join(t.testdir(), 'events.db')
  const one = new LogFile(file, { synchronous, load })
  const log = one.log('news', HISTORY)
  const position = await log.append(record)
  const other = new LogFile(copyOf(file), { synchronous, load })
  const copied = other.log('news', HISTORY)
  t.strictSame(await copied.state(), { epoch: position.epoch, oldest: 1, newest: 1, ended: false })
  for (const each of [log, copied]) each.close()
  for (const each of [one, other]) each.close()
})

t.test('R4: a database in memory is a log, too', async t => {
  const database = openDatabase(':memory:')
  t.teardown(() => database.close())
  const [one, other] = [new LogFile(database, { synchronous }), new LogFile(openDatabase(':memory:'), { synchronous })]
  const logs = [one.log('news', HISTORY), other.log('news', HISTORY)]
  t.strictSame((await Promise.all(logs.map(log => log.append(record)))).map(({ offset }) => offset), [1, 1])
  for (const log of logs) log.close()
  one.close()
  other.close()
})

t.test('R4: past channels leave the file while it is open', async t => {
  const database = openDatabase(join(t.testdir(), 'events.db'))
  t.teardown(() => database.close())
  const file = new LogFile(database, { synchronous, delays: { first: 1, next: 1, more: 1 } })
  database.exec('BEGIN')
  await new Promise(resolve => { setTimeout(resolve, 20) })
  database.exec('ROLLBACK')
  database.exec(`INSERT INTO channels SELECT value, 'channel ' || value, 'epoch' || value, 1, 0, 0, 0, 0, NULL, NULL, NULL, 0, 1, 0, 1
    FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 250) SELECT value FROM n)`)
  await until('the cleanup', () =>
    Object.values(prepare(database, 'SELECT count(*) FROM channels').get() as object)[0] === 0)
  file.close()
})

t.test('E1: a database that was closed fails with a code, and close does not fail', async t => {
  const database = openDatabase(join(t.testdir(), 'events.db'))
  t.teardown(() => database.close())
  let isOpen = true
  // A closed database of libsql still executes its statements.
  const checked = <A extends unknown[], R>(call: (...args: A) => R) => (...args: A): R => {
    if (!isOpen) throw new Error('database is not open')
    return call(...args)
  }
  const file = new LogFile({
    close: () => {},
    exec: checked(sql => database.exec(sql)),
    prepare: checked(sql => {
      const statement = prepare(database, sql)
      return {
        run: checked((...values: SqliteValue[]) => statement.run(...values)),
        get: checked((...values: SqliteValue[]) => statement.get(...values))
      }
    })
  }, { synchronous })
  const log = file.log('news', HISTORY)
  await log.append(record)
  isOpen = false
  await t.rejects(log.append(record), { code: 'FST_SSE_LOG_UNAVAILABLE' })
  t.throws(() => file.log('other', HISTORY), { code: 'FST_SSE_LOG_UNAVAILABLE', message: /'other' cannot be used/ })
  t.throws(() => file.locate('abc'), { code: 'FST_SSE_LOG_UNAVAILABLE' })
  log.close()
  file.close()
})
