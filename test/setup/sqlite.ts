import { copyFileSync, existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { SqliteDatabase } from '../../lib/log/sqlite/database.ts'

type Open = (file: string) => SqliteDatabase

const require = createRequire(import.meta.url)

/**
 * The drivers that work with this Node: `libsql` has the API of `better-sqlite3`, whose binary ends a process of Node
 * 20.
 */
export const DRIVERS: Record<string, Open> = process.getBuiltinModule('node:sqlite') === undefined
  ? { libsql: constructorOf(require('libsql')) }
  : {
      'node:sqlite': constructorOf((process.getBuiltinModule('node:sqlite') as { DatabaseSync: unknown }).DatabaseSync),
      'better-sqlite3': constructorOf(require('better-sqlite3'))
    }

/** Opens a database with the first driver. */
export const openDatabase: Open = file => Object.values(DRIVERS)[0]!(file)

function constructorOf (value: unknown): Open {
  const Database = value as new (file: string) => SqliteDatabase
  return file => new Database(file)
}

let copies = 0

/**
 * Copies a file as `kill -9` leaves it, and returns the path of the copy: the file of the next process. `libsql` keeps
 * the lock of a closed database until its statements are collected.
 */
export function copyOf (file: string): string {
  const copy = `${file}.${++copies}`
  copyFileSync(file, copy)
  if (existsSync(`${file}-wal`)) copyFileSync(`${file}-wal`, `${copy}-wal`)
  return copy
}
