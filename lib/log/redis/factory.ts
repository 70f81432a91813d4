import { randomBytes } from 'node:crypto'
import { FST_SSE_LOG_UNAVAILABLE, FST_SSE_OPTION, describe } from '../../errors.ts'
import type { EventLogFactory, HistoryLimits } from '../log.ts'
import { EpochIndex } from './epoch-index.ts'
import { RedisSubscriber } from './subscriber.ts'
import { isCluster, type RedisClient } from './client.ts'
import { Commands } from './commands.ts'
import type { RedisContext } from './context.ts'
import { RedisLog } from './redis-log.ts'
import { timely } from './timely.ts'
import { validateOptions, isOptions, type Rule } from '../../validate-options.ts'
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
const RULES: Record<keyof RedisLogOptions, Rule> = {
  // Braces determine the slot of a key in a cluster.
  prefix: {
    expected: 'a string without braces and control characters',
    fits: value => typeof value === 'string' && !/[{}\p{Cc}\p{Cs}]/u.test(value)
  },
  timeout: {
    expected: 'a number of milliseconds from 1 to 2147483647',
    fits: value => typeof value === 'number' && value >= 1 && value < 2 ** 31
  }
}

/**
 * Returns a factory of logs that many nodes share: one order, one set of ids, in Redis 6.2 and later, or Valkey; a
 * cluster needs 7.0. The client is a `Redis` or `Cluster` of ioredis and remains yours: close it after the server. It
 * is used for commands. The first channel with a subscriber opens a second connection like it, and the last one closes
 * it. Throws FST_SSE_OPTION for a bad client or option.
 */
export function redisLog (client: RedisClient, options: RedisLogOptions = {}): EventLogFactory {
  if (!isClient(client)) throw new FST_SSE_OPTION('client', 'a Redis or Cluster of ioredis', describe(client))
  // With ioredis, a command that was not answered before its connection was lost would then never settle.
  if (dropsUnanswered(client)) {
    throw new FST_SSE_OPTION('client', 'a client that resends unanswered commands',
      'autoResendUnfulfilledCommands: false')
  }
  const { prefix, timeout } = validateOptions(options, DEFAULTS, RULES)
  const subscriber = new RedisSubscriber(client)
  let timer: NodeJS.Timeout | undefined

  const commands = new Commands(client)
  const epochs = new EpochIndex(commands, prefix)
  const context: RedisContext = {
    commands,
    epochs,
    subscriber,
    prefix,
    keyPrefix: client.options.keyPrefix ?? '',
    db: isCluster(client) ? 0 : client.options.db ?? 0,
    timeout,
    publish: isCluster(client) ? 'SPUBLISH' : 'PUBLISH',
    secret: randomBytes(16).toString('hex'),
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
    timely(isWanted => epochs.locate(epoch, isWanted), timeout, () =>
      new FST_SSE_LOG_UNAVAILABLE(epoch, `did not answer within ${timeout} milliseconds`))
  return Object.assign(open, { locate })
}

const isClient = (value: unknown): value is RedisClient =>
  isOptions(value) && typeof value.callBuffer === 'function' && typeof value.duplicate === 'function'

const dropsUnanswered = ({ options }: RedisClient): boolean =>
  'autoResendUnfulfilledCommands' in options && options.autoResendUnfulfilledCommands === false
