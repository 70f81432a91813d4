import { existsSync, realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { clearTimeout, setTimeout } from '../../clock.ts'
import { FST_SSE_LOG_IN_USE, FST_SSE_OPTION, describe } from '../../errors.ts'
import { sharedScope } from '../../scope.ts'
import type { HistoryLimits } from '../log.ts'
import { Cleanup } from './cleanup.ts'
import type { SqliteDatabase } from './database.ts'
import { fileOf, flushFile, openError, prepareFile, type Synchronous } from './schema.ts'
import { toLogError } from './sqlite-error.ts'
import { SqliteLog } from './sqlite-log.ts'
import { FIND_EPOCH } from './statements.ts'
import { Store } from './store.ts'

/** The open files of this process. The locks of two drivers in one process do not exclude each other. */
const openFiles = new Map<string, LogFile>()

// Milliseconds. After a crash, clients have the first time to come back to channels whose last use was not saved.
const DELAYS = { first: 60_000, next: 1_000, more: 20 }

interface NodeSqlite { readonly DatabaseSync: new (path: string) => SqliteDatabase }

const nodeSqlite = (): object | undefined => process.getBuiltinModule('node:sqlite')

export interface LogFileSetup {
  readonly synchronous: Synchronous
  /** Returns `node:sqlite`, if this Node has it. */
  readonly load?: () => object | undefined
  readonly delays?: typeof DELAYS
}

interface OpenFile { readonly database: SqliteDatabase, readonly store: Store, readonly path: string | undefined }

/** A file of logs, which belongs to this object while it is open. */
export class LogFile {
  readonly #source: string | SqliteDatabase
  readonly #setup: Required<LogFileSetup>
  #open: OpenFile | undefined
  /** The number of open logs. */
  #logs = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  /** Opens the file, so that a file that cannot be used fails at the start. */
  constructor (source: string | SqliteDatabase, { synchronous, load = nodeSqlite, delays = DELAYS }: LogFileSetup) {
    this.#source = source
    this.#setup = { synchronous, load, delays }
    this.#opened()
  }

  /** Opens a log, and the file if it is closed. */
  log (name: string, history: HistoryLimits): SqliteLog {
    const { store } = this.#opened()
    try {
      const log = new SqliteLog(name, history, store, () => { this.#logs-- })
      this.#logs++
      return log
    } catch (error) {
      throw toLogError(name, error)
    }
  }

  /** Returns the name of the channel whose log has this epoch; undefined if there is none. */
  locate (epoch: string): string | undefined {
    const { store } = this.#opened()
    try {
      return store.get(FIND_EPOCH, epoch)?.name as string | undefined
    } catch (error) {
      throw toLogError(epoch, error)
    }
  }

  /** Closes the file, unless a log is open. A database of the user stays open. */
  close (): void {
    const open = this.#open
    if (this.#logs > 0 || open === undefined) return
    const { database, store, path } = open
    this.#open = undefined
    clearTimeout(this.#timer)
    if (path !== undefined) openFiles.delete(path)
    try {
      store.close()
      flushFile(database)
    } catch {
      // All commits are in the file. The next start treats it like the file of a process that was killed.
    }
    if (typeof this.#source === 'string') database.close()
  }

  #opened (): OpenFile {
    if (this.#open !== undefined) return this.#open
    const name = typeof this.#source === 'string' ? this.#source : 'database'
    if (typeof this.#source === 'string') release(this.#source)
    const database = typeof this.#source === 'string' ? this.#connect(this.#source) : this.#source
    let open: OpenFile
    try {
      const path = fileOf(database) || undefined
      if (path !== undefined && typeof this.#source !== 'string') release(path)
      prepareFile(database, path ?? name, this.#setup.synchronous)
      open = { database, store: new Store(database), path: path === undefined ? undefined : realpathSync(path) }
    } catch (error) {
      if (typeof this.#source === 'string') database.close()
      throw openError(name, error)
    }
    this.#open = open
    if (open.path !== undefined) openFiles.set(open.path, this)
    this.#clean(new Cleanup(open.store), this.#setup.delays.first)
    return open
  }

  #connect (file: string): SqliteDatabase {
    const sqlite = this.#setup.load() as NodeSqlite | undefined
    if (sqlite === undefined) {
      const expected = 'a Database of better-sqlite3, because this version of Node has no node:sqlite'
      throw new FST_SSE_OPTION('database', expected, describe(file))
    }
    try {
      return new sqlite.DatabaseSync(file)
    } catch (error) {
      throw openError(file, error)
    }
  }

  #clean (cleanup: Cleanup, delay: number): void {
    const { next, more } = this.#setup.delays
    this.#timer = sharedScope.runInAsyncScope(setTimeout, undefined, () => {
      let hasMore = false
      try {
        hasMore = cleanup.step()
      } catch {
        // The disk is full, for example: the next step tries it again.
      }
      this.#clean(cleanup, hasMore ? more : next)
    }, delay).unref()
  }
}

/** Closes a file without open logs. Throws FST_SSE_LOG_IN_USE if it has some. */
function release (file: string): void {
  const path = existsSync(file) ? realpathSync(file) : resolve(file)
  openFiles.get(path)?.close()
  if (openFiles.has(path)) throw new FST_SSE_LOG_IN_USE(file)
}
