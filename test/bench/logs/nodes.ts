import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PostgresServer } from '../../setup/postgres.ts'
import { RedisServer } from '../../setup/redis.ts'
import { Contestant } from '../contestant.ts'
import type { Cores } from '../cores.ts'

interface Owner { teardown: (fn: () => unknown) => unknown }

/** One of the compared logs: its name, and how its nodes reach it. */
export interface Place { name: string, log: string, at: string }

/** The nodes that share a log. */
export interface Nodes { name: string, nodes: Contestant[] }

/** The driver of SQLite of this Node. */
export const DRIVER = process.getBuiltinModule('node:sqlite') === undefined ? 'libsql' : 'node:sqlite'

/** Starts the servers of all logs. PostgreSQL has its defaults, and not those of the tests. */
export async function startStores (t: Owner): Promise<{ places: Place[], redis: RedisServer }> {
  const redis = await RedisServer.start(t)
  const postgres = await PostgresServer.start(t, 'fsync=on', 'shared_buffers=128MB', 'max_wal_size=1GB', 'jit=on',
    'min_wal_size=80MB', 'autovacuum_naptime=60s')
  const folder = mkdtempSync(join(tmpdir(), 'bench-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return {
    redis,
    places: [
      { name: 'memory', log: 'memory', at: '' },
      { name: `SQLite (${DRIVER})`, log: 'sqlite', at: join(folder, 'events.db') },
      { name: 'PostgreSQL', log: 'postgres', at: String(postgres.port) },
      { name: 'Redis', log: 'redis', at: String(redis.port) }
    ]
  }
}

/** Returns `count` nodes that share each log, or one, if the log is one process's. */
export async function startNodes (places: readonly Place[], count: number, cores: Cores | undefined): Promise<Nodes[]> {
  const all = places.map(({ name, log, at }) => {
    Object.assign(process.env, { BENCH_LOG: log, BENCH_AT: at })
    const nodes = Array.from({ length: /^(postgres|redis)$/.test(log) ? count : 1 },
      () => new Contestant(name, 'nodes/node.js', { cores }))
    return { name, nodes }
  })
  delete process.env.BENCH_LOG
  delete process.env.BENCH_AT
  await Promise.all(all.flatMap(({ nodes }) => nodes).map(node => node.listening()))
  return all
}

/** Returns the list, begun with another entry in each round. */
export const turned = <T>(list: readonly T[], round: number): T[] =>
  [...list.slice(round % list.length), ...list.slice(0, round % list.length)]
