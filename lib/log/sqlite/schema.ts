import { FST_SSE_LOG_FOREIGN, FST_SSE_LOG_IN_USE, FST_SSE_OPTION } from '../../errors.ts'
import { currentBoot, isSameBoot } from './boot.ts'
import type { SqliteDatabase } from './database.ts'
import { prepare } from './rows.ts'
import { isCoded, sqliteCode } from './sqlite-error.ts'

/** `full`: a commit waits for the disk. `normal`: it waits for the operating system. */
export type Synchronous = 'normal' | 'full'

// 'ftse', and the version of the tables.
const APPLICATION_ID = 0x66747365
const VERSION = 1
// Bytes: the size to which SQLite shortens its write-ahead log after a large commit.
const WAL_LIMIT = 16_777_216

// `newest`, `total` and `at` of a channel count up to the last deletion: later entries have their own.
// `before`: the bytes of all earlier entries. `boot`: names the boot while a process has the file open, else it is ''.
const TABLES = `
CREATE TABLE meta (boot TEXT NOT NULL);
INSERT INTO meta VALUES ('');
CREATE TABLE channels (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL UNIQUE,
  oldest INTEGER NOT NULL, newest INTEGER NOT NULL, total INTEGER NOT NULL, at INTEGER NOT NULL,
  ended INTEGER NOT NULL, outcome TEXT, owner TEXT, holder TEXT, until INTEGER NOT NULL,
  age INTEGER, used INTEGER NOT NULL, expires INTEGER
);
CREATE INDEX channels_expires ON channels (expires) WHERE expires IS NOT NULL;
CREATE TABLE events (
  channel INTEGER NOT NULL, number INTEGER NOT NULL, event TEXT NOT NULL, data TEXT NOT NULL, json INTEGER NOT NULL,
  fingerprint TEXT, size INTEGER NOT NULL, before INTEGER NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (channel, number)
) WITHOUT ROWID;
CREATE TABLE keys (
  channel INTEGER NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (channel, name)
) WITHOUT ROWID;
CREATE INDEX keys_at ON keys (at);
CREATE TABLE holders (
  channel INTEGER NOT NULL, name TEXT NOT NULL, until INTEGER NOT NULL, fingerprint TEXT,
  PRIMARY KEY (channel, name)
) WITHOUT ROWID;
CREATE TABLE held (
  channel INTEGER NOT NULL, holder TEXT NOT NULL, member TEXT NOT NULL,
  PRIMARY KEY (channel, holder, member)
) WITHOUT ROWID;
PRAGMA application_id = ${APPLICATION_ID};
PRAGMA user_version = ${VERSION};`

// Each epoch has more random bits than those of other logs.
const NEW_EPOCHS = `
UPDATE channels SET epoch = lower(hex(randomblob(8)));
DELETE FROM keys;`

/** Returns the first value of the first row. */
function valueOf (database: SqliteDatabase, sql: string): unknown {
  return Object.values(prepare(database, sql).get() as object)[0]
}

/** Returns the path of the file; '' for a database in memory. */
export function fileOf (database: SqliteDatabase): string {
  return String(valueOf(database, "SELECT file FROM pragma_database_list WHERE name = 'main'"))
}

/**
 * Locks the file for this process until the database is closed, and creates the tables in an empty one. Throws
 * FST_SSE_LOG_IN_USE, FST_SSE_LOG_FOREIGN, or FST_SSE_OPTION for a file that cannot be written. `file`: for messages.
 *
 * After a loss of power, a file that was not flushed may have lost its last entries. Then each channel gets a new
 * epoch: an offset of a lost entry never names another one.
 */
export function prepareFile (
  database: SqliteDatabase,
  file: string,
  synchronous: Synchronous,
  boot = currentBoot()
): void {
  try {
    // The lock is free now, or belongs to another process for long.
    database.exec('PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE')
    const isNew = checkOwner(database, file)
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = ${WAL_LIMIT}`)
    // Durable in any mode: the marks of an open and a flushed file.
    database.exec('PRAGMA synchronous = FULL')
    database.exec('BEGIN IMMEDIATE')
    try {
      if (isNew) database.exec(TABLES)
      const last = String(valueOf(database, 'SELECT boot FROM meta'))
      if (last !== '' && !isSameBoot(last, boot)) database.exec(NEW_EPOCHS)
      // A commit that waits for the disk loses nothing.
      prepare(database, 'UPDATE meta SET boot = ?').run(synchronous === 'full' ? '' : boot)
      database.exec('COMMIT')
    } catch (error) {
      database.exec('ROLLBACK')
      throw error
    }
    database.exec(`PRAGMA synchronous = ${synchronous.toUpperCase()}`)
  } catch (error) {
    throw openError(file, error)
  }
}

/** Flushes the file to the disk. */
export function flushFile (database: SqliteDatabase): void {
  database.exec('PRAGMA synchronous = FULL')
  // All earlier commits are on the disk before the mark is.
  database.exec("PRAGMA wal_checkpoint(TRUNCATE); UPDATE meta SET boot = ''")
}

/** Returns whether the file is empty. Throws FST_SSE_LOG_FOREIGN if it belongs to another program, or a newer one. */
function checkOwner (database: SqliteDatabase, file: string): boolean {
  if (!('one' in (prepare(database, 'SELECT 1 AS one').get() as object))) {
    throw new FST_SSE_OPTION('database', 'a database whose rows are objects', 'returnArrays: true')
  }
  // The database may return integers as bigints.
  const owner = Number(valueOf(database, 'PRAGMA application_id'))
  const version = Number(valueOf(database, 'PRAGMA user_version'))
  const isEmpty = Number(valueOf(database, 'SELECT count(*) FROM sqlite_schema')) === 0
  if (isEmpty && owner === 0 && version === 0) return true
  if (owner !== APPLICATION_ID) throw new FST_SSE_LOG_FOREIGN('file', file, 'holds other data, so use another file')
  if (version > VERSION) throw new FST_SSE_LOG_FOREIGN('file', file, 'is of a newer version of this package')
  return false
}

/** Returns the error of a file that cannot be opened; the error of SQLite is its `cause`. */
export function openError (file: string, cause: unknown): Error {
  if (isCoded(cause)) return cause
  const code = sqliteCode(cause)
  if (code === 'BUSY') return Object.assign(new FST_SSE_LOG_IN_USE(file), { cause })
  if (code === 'NOTADB') {
    return Object.assign(new FST_SSE_LOG_FOREIGN('file', file, 'is no database of SQLite'), { cause })
  }
  return Object.assign(new FST_SSE_OPTION('file', 'a file that SQLite can open and write', file), { cause })
}
