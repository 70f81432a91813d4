import { describe, FST_SSE_OPTION } from '../../errors.ts'
import { isOptions, validateOptions, type Rule } from '../../validate-options.ts'
import type { EventLogFactory, HistoryLimits } from '../log.ts'
import type { SqliteDatabase } from './database.ts'
import { LogFile } from './log-file.ts'
import type { Synchronous } from './schema.ts'

export interface SqliteLogOptions {
  /**
   * 'normal' (default): an acknowledged event survives the end of the process, also by `kill -9`. A loss of power may
   * cost the last seconds; then all channels have a new epoch. 'full': each commit waits for the disk, some
   * milliseconds, and an acknowledged event survives a loss of power.
   */
  synchronous?: 'normal' | 'full' | undefined
}

const DEFAULTS: { synchronous: Synchronous } = { synchronous: 'normal' }
const RULES: Record<keyof SqliteLogOptions, Rule> = {
  synchronous: { expected: "'normal' or 'full'", fits: value => value === 'normal' || value === 'full' }
}

/**
 * Returns a factory of logs in one file, for one process: they survive its restart. `database`: the path of the file,
 * for a Node with `node:sqlite`; or a `Database` of `better-sqlite3` or `DatabaseSync` of `node:sqlite`, for this log
 * alone, which remains yours: close it after the server. The file is open from this call until the server closes.
 *
 * Throws FST_SSE_LOG_IN_USE if another process has the file open, FST_SSE_LOG_FOREIGN if it holds other data, and
 * FST_SSE_OPTION if it cannot be written, or for a bad argument.
 */
export function sqliteLog (database: string | SqliteDatabase, options: SqliteLogOptions = {}): EventLogFactory {
  if (!isDatabase(database)) {
    throw new FST_SSE_OPTION('database', 'a path, or a database of better-sqlite3 or node:sqlite', describe(database))
  }
  const file = new LogFile(database, validateOptions(options, DEFAULTS, RULES))
  const open = (name: string, history: HistoryLimits): ReturnType<EventLogFactory> => file.log(name, history)
  return Object.assign(open, { locate: (epoch: string) => file.locate(epoch), close: () => file.close() })
}

const isDatabase = (value: unknown): value is string | SqliteDatabase =>
  (typeof value === 'string' && value !== '') ||
  (isOptions(value) && typeof value.exec === 'function' && typeof value.prepare === 'function')
