import { PostgresServer } from '../setup/postgres.ts'
import { POSTGRES, REDIS, type Program } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'
import type { Owner } from './world.ts'

/** The server of a shared log. */
export interface Store {
  readonly port: number
  /** Has the file `log`. */
  readonly folder: string
  /** Resolves when it answers. */
  start (): Promise<void>
  kill (signal: 'SIGKILL'): Promise<void>
  freeze (time: number): Promise<void>
  /** Deletes the data; it does not run. */
  reset (): void
  /** Copies the data, as of now. */
  copy (): Promise<void>
  /** Replaces the data by the copy; it does not run. */
  restore (): void
}

interface StoreKind {
  title: string
  program: Program
  start: (t: Owner) => Promise<Store>
}

/**
 * Each answers after a write and sync: with weaker settings, acknowledged events can be lost in a crash, and a new
 * epoch would be correct. A copy of Redis's files is consistent without a rewrite meanwhile.
 */
export const STORES = {
  redis: {
    title: 'Redis',
    program: REDIS,
    start: t => RedisServer.start(t, '--appendonly', 'yes', '--appendfsync', 'always', '--auto-aof-rewrite-percentage',
      '0')
  },
  postgres: { title: 'PostgreSQL', program: POSTGRES, start: t => PostgresServer.start(t, 'fsync=on') }
} satisfies Record<string, StoreKind>

export type StoreName = keyof typeof STORES

export const isStoreName = (name: string): name is StoreName => Object.hasOwn(STORES, name)
