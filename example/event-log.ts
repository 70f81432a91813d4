import type { FastifyInstance } from 'fastify'
import type { EventLogFactory } from 'fastify-typed-sse'
import { postgresLog } from 'fastify-typed-sse/postgres'
import { redisLog } from 'fastify-typed-sse/redis'
import { sqliteLog } from 'fastify-typed-sse/sqlite'

/**
 * Returns the event log that the variable `EVENT_LOG` names: a file such as `events.db`, whose channels survive a
 * restart; `redis://127.0.0.1:6379` or `postgres://127.0.0.1/app`, which many nodes share. Undefined without the
 * variable: the log in memory.
 */
export async function openEventLog (
  app: FastifyInstance,
  place = process.env.EVENT_LOG
): Promise<EventLogFactory | undefined> {
  if (place === undefined) return undefined
  if (/^rediss?:/.test(place)) {
    const { Redis } = await import('ioredis')
    const redis = new Redis(place, { socketTimeout: 10_000 })
    redis.on('error', err => app.log.warn({ err }, 'redis'))
    app.addHook('onClose', async () => redis.disconnect())
    return redisLog(redis)
  }
  if (/^postgres(?:ql)?:/.test(place)) {
    const { Pool } = await import('pg')
    const pool = new Pool({ connectionString: place })
    pool.on('error', err => app.log.warn({ err }, 'postgres'))
    app.addHook('onClose', async () => { await pool.end() })
    return postgresLog(pool)
  }
  if (process.getBuiltinModule('node:sqlite') !== undefined) return sqliteLog(place)
  // Node 20 has no node:sqlite. A service uses better-sqlite3 there; libsql has its API.
  const { default: Database } = await import('libsql')
  const database = new Database(place)
  app.addHook('onClose', async () => { database.close() })
  return sqliteLog(database)
}
