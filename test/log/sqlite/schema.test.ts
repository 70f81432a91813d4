import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { SqliteDatabase, SqliteValue } from '../../../lib/log/sqlite/database.ts'
import { prepare } from '../../../lib/log/sqlite/rows.ts'
import { fileOf, flushFile, prepareFile } from '../../../lib/log/sqlite/schema.ts'
import { copyOf, DRIVERS } from '../../setup/sqlite.ts'

for (const [driver, connect] of Object.entries(DRIVERS)) {
  const opener = (t: Test): (name?: string) => SqliteDatabase => {
    const folder = t.testdir()
    return (name = 'events.db') => {
      const database = connect(join(folder, name))
      t.teardown(() => database.close())
      return database
    }
  }
  const rowOf = (database: SqliteDatabase, sql: string): object => ({ ...prepare(database, sql).get() as object })
  const prepared = (open: () => SqliteDatabase, boot: string, synchronous: 'normal' | 'full' = 'normal'): SqliteDatabase => {
    const database = open()
    prepareFile(database, 'events.db', synchronous, boot)
    return database
  }
  const insert = (database: SqliteDatabase): void => {
    database.exec("INSERT INTO channels VALUES (1, 'news', 'old', 1, 0, 0, 0, 0, NULL, NULL, NULL, 0, NULL, 0, NULL)")
    database.exec("INSERT INTO keys VALUES (1, 'key', 1, 0)")
  }
  const epochOf = (database: SqliteDatabase): unknown =>
    (rowOf(database, 'SELECT epoch FROM channels') as { epoch: unknown }).epoch

  t.test(`R8: a file of ${driver} is one process's`, t => {
    const open = opener(t)
    const database = prepared(open, 'a')
    t.match(rowOf(database, 'PRAGMA journal_mode'), { journal_mode: 'wal' })
    t.match(rowOf(database, 'PRAGMA synchronous'), { synchronous: 1 })
    t.match(fileOf(database), /events\.db$/)
    t.throws(() => prepared(open, 'a'), { code: 'FST_SSE_LOG_IN_USE', message: /'events\.db' is in use/ })
    t.match(rowOf(prepared(() => open('other.db'), 'a', 'full'), 'PRAGMA synchronous'), { synchronous: 2 })
    t.end()
  })

  t.test(`E1: a database of ${driver} may return bigints, but no arrays`, t => {
    const open = opener(t)
    const rows = (change: (row: object) => object, name?: string): SqliteDatabase => {
      const database = open(name)
      return {
        exec: sql => database.exec(sql),
        close: () => database.close(),
        prepare: sql => {
          const statement = prepare(database, sql)
          return {
            run: (...values: SqliteValue[]) => statement.run(...values),
            get: (...values: SqliteValue[]) => change(statement.get(...values) as object)
          }
        }
      }
    }
    const big = (value: unknown): unknown => typeof value === 'number' ? BigInt(value) : value
    prepareFile(rows(row => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, big(value)]))),
      'events.db', 'normal')
    t.throws(() => prepareFile(rows(Object.values, 'arrays.db'), 'arrays.db', 'normal'), {
      code: 'FST_SSE_OPTION',
      message: "Option 'database' must be a database whose rows are objects, got returnArrays: true"
    })
    t.end()
  })

  t.test(`R3: a file of ${driver} that may have lost entries has new epochs`, t => {
    const open = opener(t)
    let database = prepared(open, 'a')
    const again = (...[boot, synchronous]: [string, ('normal' | 'full')?]): unknown => {
      const next = connect(copyOf(fileOf(database)))
      t.teardown(() => next.close())
      database = prepared(() => next, boot, synchronous)
      return epochOf(database)
    }
    insert(database)
    t.equal(again('a'), 'old', 'the process was killed')
    flushFile(database)
    t.equal(again('b'), 'old', 'the machine was shut down')
    const renewed = again('c')
    t.match(renewed, /^[0-9a-f]{16}$/, 'the power was lost')
    t.match(rowOf(database, 'SELECT count(*) AS n FROM keys'), { n: 0 })
    flushFile(database)
    t.equal(again('d', 'full'), renewed)
    t.equal(again('e', 'full'), renewed, 'each commit was on the disk')
    t.end()
  })

  t.test(`E1: a foreign or newer file is not changed by ${driver}`, t => {
    const open = opener(t)
    const foreign = { code: 'FST_SSE_LOG_FOREIGN', message: /'events\.db' holds other data/ }
    const other = open('other.db')
    other.exec('CREATE TABLE users (name)')
    t.throws(() => prepared(() => other, 'a'), foreign)
    t.match(rowOf(other, 'SELECT count(*) AS n FROM sqlite_schema'), { n: 1 })
    const marked = open('marked.db')
    marked.exec('PRAGMA application_id = 7')
    t.throws(() => prepared(() => marked, 'a'), foreign)
    const versioned = open('versioned.db')
    versioned.exec('PRAGMA user_version = 7')
    t.throws(() => prepared(() => versioned, 'a'), foreign)

    const newer = prepared(() => open('newer.db'), 'a')
    newer.exec('PRAGMA user_version = 2')
    t.throws(() => prepared(() => newer, 'a'), { code: 'FST_SSE_LOG_FOREIGN', message: /is of a newer version/ })

    writeFileSync(join(t.testdirName, 'text.db'), 'a text, and no database, '.repeat(100))
    t.throws(() => prepared(() => open('text.db'), 'a'), { code: 'FST_SSE_LOG_FOREIGN', message: /is no database/ })
    t.end()
  })

  t.test(`E1: a damaged file is refused by ${driver}`, t => {
    const database = prepared(opener(t), 'a')
    database.exec('DROP TABLE meta')
    t.throws(() => prepared(() => database, 'a'), { code: 'FST_SSE_OPTION' })
    database.exec('BEGIN; ROLLBACK')
    t.end()
  })

  t.test(`E1: a file that cannot be written is refused by ${driver}`, t => {
    const database = opener(t)()
    database.exec('PRAGMA query_only = 1')
    t.throws(() => prepared(() => database, 'a'), { code: 'FST_SSE_OPTION', message: /a file that SQLite can open and write/ })
    t.end()
  })
}
