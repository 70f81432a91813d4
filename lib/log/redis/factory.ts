import { randomBytes } from 'node:crypto'
import { FST_SSE_OPTION, describe } from '../../errors.ts'
import type { EventLogFactory, HistoryLimits } from '../log.ts'
import { AppendBatches } from './append-batches.ts'
import { AppendTimeouts } from './append-timeouts.ts'
import { EpochIndex } from './epoch-index.ts'
import { RedisSubscriber } from './subscriber.ts'
import { isCluster, type RedisClient } from './client.ts'
import { isNodeRedis, NodeRedisConnection, type NodeRedisClient } from './node-redis.ts'
import { Commands } from './commands.ts'
import type { RedisContext } from './context.ts'
import { RedisLog } from './redis-log.ts'
import { answerOf } from '../timely.ts'
import { milliseconds, validateOptions, isOptions, type Rule } from '../../validate-options.ts'
import { sharedScope } from '../../scope.ts'

export interface RedisLogOptions {
  /** The prefix of all keys. Services that share a Redis use different prefixes. Default 'sse:'. */
  prefix?: string | undefined
  /**
   * Milliseconds that `publish`, `end`, `locate` and the methods of runs wait for Redis before they reject with
   * FST_SSE_LOG_UNAVAILABLE. Default 5000.
   */
  timeout?: number | undefined
}

const DEFAULTS = { prefix: 'sse:', timeout: 5_000 }
// Commands with appends that are under way at a time: Redis works on one while the node reads the answer of another.
const SENDERS = 4
const RULES: Record<keyof RedisLogOptions, Rule> = {
  // Braces determine the slot of a key in a cluster.
  prefix: {
    expected: 'a string without braces and control characters',
    fits: value => typeof value === 'string' && !/[{}\p{Cc}\p{Cs}]/u.test(value)
  },
  timeout: milliseconds(1)
}

/**
 * Returns a factory of logs that many nodes share: one order, one set of ids, in Redis 6.2 and later, or Valkey; a
 * cluster needs 7.0. The client is a `Redis` or `Cluster` of ioredis, or a client of node-redis, and remains yours:
 * close it after the server. It is used for commands. The first channel with a subscriber opens a second connection
 * like it, and the last one closes it. Throws FST_SSE_OPTION for a bad client or option.
 */
export function redisLog (given: RedisClient | NodeRedisClient, options: RedisLogOptions = {}): EventLogFactory {
  const client = clientOf(given)
  // With ioredis, a command that was not answered before its connection was lost would then never settle.
  if (dropsUnanswered(client)) {
    throw new FST_SSE_OPTION('client', 'a client that resends unanswered commands',
      'autoResendUnfulfilledCommands: false')
  }
  // With it, ioredis drops the names of the commands that the log calls.
  if ('enableAutoPipelining' in client.options && client.options.enableAutoPipelining === true) {
    throw new FST_SSE_OPTION('client', 'a client without automatic pipelines', 'enableAutoPipelining: true')
  }
  const { prefix, timeout } = validateOptions(options, DEFAULTS, RULES)
  const subscriber = new RedisSubscriber(client)
  let timer: NodeJS.Timeout | undefined

  const commands = new Commands(client)
  const epochs = new EpochIndex(commands, prefix, isCluster(client))
  const db = isCluster(client) ? 0 : client.options.db ?? 0
  const secret = randomBytes(16).toString('hex')
  const batches = isCluster(client)
    ? undefined
    // No key of a channel has this form: the prefix is followed by a brace there.
    : new AppendBatches(commands, {
      key: `${prefix}appends:`,
      count: SENDERS,
      publish: 'PUBLISH',
      suffix: `@${db}`,
      secret
    })
  const context: RedisContext = {
    commands,
    epochs,
    batches,
    timeouts: new AppendTimeouts(timeout),
    subscriber,
    prefix,
    keyPrefix: client.options.keyPrefix ?? '',
    db,
    timeout,
    publish: isCluster(client) ? 'SPUBLISH' : 'PUBLISH',
    secret,
    open: new Set(),
    onAllClosed: () => {
      clearInterval(timer)
      timer = undefined
      subscriber.close()
    }
  }

  const tick = (): void => {
    const now = performance.now()
    for (const log of context.open) log.tick(now)
    subscriber.tick(now)
  }

  const open = (name: string, history: HistoryLimits): RedisLog => {
    const log = new RedisLog(name, history, context)
    context.open.add(log)
    timer ??= sharedScope.runInAsyncScope(setInterval, undefined, tick, 1_000).unref()
    return log
  }
  const locate = (epoch: string): Promise<string | undefined> =>
    answerOf(epoch, timeout, isWanted => epochs.locate(epoch, isWanted))
  return Object.assign(open, { locate })
}

function clientOf (value: unknown): RedisClient {
  if (isIoredis(value)) return value
  if (isOptions(value) && isNodeRedis(value)) return new NodeRedisConnection(value)
  throw new FST_SSE_OPTION('client', 'a Redis or Cluster of ioredis, or a client of node-redis', describe(value))
}

const isIoredis = (value: unknown): value is RedisClient =>
  isOptions(value) && typeof value.callBuffer === 'function' && typeof value.duplicate === 'function'

const dropsUnanswered = ({ options }: RedisClient): boolean =>
  'autoResendUnfulfilledCommands' in options && options.autoResendUnfulfilledCommands === false
