export { sqliteLog, type SqliteLogOptions } from './log/sqlite/factory.ts'
export type { SqliteDatabase } from './log/sqlite/database.ts'
