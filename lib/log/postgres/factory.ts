import { randomBytes } from 'node:crypto'
import { describe, FST_SSE_OPTION } from '../../errors.ts'
import { sharedScope } from '../../scope.ts'
import { aFunction, isOptions, milliseconds, validateOptions, type Rule } from '../../validate-options.ts'
import type { EventLogFactory, HistoryLimits } from '../log.ts'
import { answerOf } from '../timely.ts'
import { Notifications } from './notifications.ts'
import type { PostgresClient, PostgresPool } from './client.ts'
import type { OpenLog, PostgresContext } from './context.ts'
import { Database } from './database.ts'
import { toLogError } from './log-error.ts'
import { PostgresLog } from './postgres-log.ts'
import { TailReader } from './tail-reader.ts'
import { TurnQueue } from './turn-queue.ts'

export interface PostgresLogOptions {
  /** The schema of the tables and functions, which the log creates. Default 'sse'. */
  schema?: string | undefined
  /**
   * Milliseconds that `publish`, `end`, `locate` and the methods of runs wait for PostgreSQL before they reject with
   * FST_SSE_LOG_UNAVAILABLE. Default 5000.
   */
  timeout?: number | undefined
  /**
   * Returns a new, unconnected `Client` of pg that receives the notifications, for a pool that goes through a pooler
   * such as PgBouncer. By default, a connection of the pool receives them.
   */
  listener?: (() => PostgresClient) | undefined
  /** Milliseconds between two reads of new events while no notifications arrive. Default 500. */
  pollInterval?: number | undefined
}

const DEFAULTS = {
  schema: 'sse',
  timeout: 5_000,
  listener: undefined as (() => PostgresClient) | undefined,
  pollInterval: 500
}
const RULES: Record<keyof PostgresLogOptions, Rule> = {
  schema: {
    expected: 'a name of 1 to 63 small letters, digits and underscores',
    fits: value => typeof value === 'string' && /^[a-z_][a-z0-9_]{0,62}$/.test(value) && !value.startsWith('pg_')
  },
  timeout: milliseconds(1),
  listener: aFunction,
  // Entries beyond the history are stored for five seconds.
  pollInterval: milliseconds(10, 4_000)
}

// Milliseconds between two calls of the function that deletes expired rows, by any node.
const CLEAN_INTERVAL = 60_000
// The number of channels that one call cleans.
const CLEANED_CHANNELS = 100

/**
 * Returns a factory of logs that many nodes share: one order, one set of ids, in PostgreSQL 13 and later. The pool is a
 * `Pool` of pg and remains yours: end it after the server. The first channel with a subscriber takes one of its
 * connections to listen, and the last one returns it. The first use creates a schema with tables and functions. Throws
 * FST_SSE_OPTION for a bad pool or option.
 */
export function postgresLog (pool: PostgresPool, options: PostgresLogOptions = {}): EventLogFactory {
  if (!isPool(pool)) throw new FST_SSE_OPTION('pool', 'a Pool of pg', describe(pool))
  const { schema, timeout, listener, pollInterval } = validateOptions(options, DEFAULTS, RULES)
  // The listener keeps its connection, and appends need another one.
  if (listener === undefined && pool.options?.max === 1) {
    throw new FST_SSE_OPTION('pool', "a Pool of at least two connections, or with the option 'listener'", 'max: 1')
  }
  const database = new Database(pool, schema)
  const node = randomBytes(9).toString('hex')
  const open = new Set<OpenLog>()
  /** The logs with a tail, and those by the hash of their name in notifications. Two logs may have one name. */
  const listening = new Set<OpenLog>()
  const logsByHash = new Map<string, Set<OpenLog>>()
  let timer: NodeJS.Timeout | undefined
  let cleanedAt = performance.now() + Math.random() * CLEAN_INTERVAL
  let changed = false

  const receiver = new Notifications(database, { listener, pollInterval }, {
    onNotification: (nameHash, newest, changed, head) => {
      for (const log of logsByHash.get(nameHash) ?? []) log.onNotification(newest, changed, head)
    },
    onLoss: () => { for (const log of open) log.check() }
  })

  const update = (): void => {
    changed = false
    if (listening.size > 0) receiver.start()
    else receiver.stop()
    if (open.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  const clean = async (): Promise<void> => {
    try {
      while (open.size > 0) {
        const [row] = await database.call('clean', [], () => open.size > 0)
        if (Number(row?.[0]) < CLEANED_CHANNELS) return
      }
    } catch {
      // The next call of a user reports the reason.
    }
  }

  const tick = (): void => {
    const now = performance.now()
    for (const log of open) log.tick(now)
    if (now - cleanedAt < CLEAN_INTERVAL) return
    cleanedAt = now
    clean()
  }

  const context: PostgresContext = {
    database,
    open,
    starting: new Map(),
    timeout,
    reader: new TailReader(database),
    appends: new TurnQueue(async (number, values, isWanted) =>
      (await database.call('append', [node, number, ...values], isWanted, true))[0]![0]!, timeout,
    records => database.seal?.encrypt(records)),
    onChange: log => {
      const { nameHash } = log
      const logs = logsByHash.get(nameHash) ?? new Set()
      if (log.listens) {
        listening.add(log)
        if (nameHash !== '') logsByHash.set(nameHash, logs.add(log))
      } else {
        listening.delete(log)
        logs.delete(log)
        if (logs.size === 0) logsByHash.delete(nameHash)
      }
      if (changed) return
      changed = true
      queueMicrotask(update)
    }
  }

  const create = (name: string, history: HistoryLimits): PostgresLog => {
    const log = new PostgresLog(name, history, context)
    open.add(log)
    timer ??= sharedScope.runInAsyncScope(setInterval, undefined, tick, 1_000).unref()
    return log
  }
  const locate = async (epoch: string): Promise<string | undefined> => {
    const [row] = await answerOf(epoch, timeout, isWanted =>
      database.run(`SELECT name FROM "${schema}".channels WHERE epoch = $1`, [epoch], isWanted)
        .catch((error: unknown) => { throw toLogError(epoch, error) }))
    return row?.[0] ?? undefined
  }
  return Object.assign(create, { locate })
}

const isPool = (value: unknown): value is PostgresPool =>
  isOptions(value) && typeof value.query === 'function' && typeof value.connect === 'function' && !isClient(value)

const isClient = (value: object): boolean => 'connectionParameters' in value
