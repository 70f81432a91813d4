/** The values that the log binds. All drivers take them. */
export type SqliteValue = string | number | null

/** A statement that is prepared, as both drivers have it. */
export interface SqliteStatement {
  run: (...values: SqliteValue[]) => unknown
  get: (...values: SqliteValue[]) => unknown
}

/** A `Database` of `better-sqlite3`, or a `DatabaseSync` of `node:sqlite`. */
export interface SqliteDatabase {
  exec: (sql: string) => unknown
  /** Returns a statement with `run` and `get`. Each driver declares its values in another way. */
  prepare: (sql: string) => object
  close: () => unknown
}

/** The rows of the file, for the logs in it. */
export interface Rows {
  /** The time in milliseconds, which never decreases. */
  readonly now: number
  /** Returns an id for another channel. */
  newId: () => number
  run: (sql: string, ...values: SqliteValue[]) => void
  /** Returns the first row. */
  get: (sql: string, ...values: SqliteValue[]) => Record<string, unknown> | undefined
  /** Adds a row of `events` to this transaction. */
  insert: (...row: SqliteValue[]) => void
}
