import { randomBytes } from 'node:crypto'
import { FST_SSE_OPTION, describe } from '../../errors.ts'
import type { EventLogFactory } from '../log.ts'
import { RedisSubscriber } from './subscriber.ts'
import { isCluster, type RedisClient, type RedisClusterConnection, type RedisConnection } from './client.ts'
import { Commands } from './commands.ts'
import { RedisLog, type RedisContext } from './redis-log.ts'
import { validateOptions, isObject, type Rule } from '../../validate-options.ts'
import { sharedScope as anyRequest } from '../../scope.ts'


export interface RedisLogOptions {
  /** What the keys of all channels begin with. Services that share a Redis take different ones. Default 'sse:'. */
  prefix?: string | undefined
  /** Milliseconds that `publish` and `end` wait for Redis before they reject with FST_SSE_LOG_UNAVAILABLE. Default 5000. */
  timeout?: number | undefined
}

const DEFAULTS = { prefix: 'sse:', timeout: 5_000 }
const RULES: Record<keyof RedisLogOptions, Rule> = {
  // A brace would say where in a cluster the key is.
  prefix: { expected: 'a string without braces and control characters', fits: value => typeof value === 'string' && !/[{}\p{Cc}\p{Cs}]/u.test(value) },
  timeout: { expected: 'a number of milliseconds from 1 to 2147483647', fits: value => typeof value === 'number' && value >= 1 && value < 2 ** 31 }
}

/**
 * Channels of many nodes: one order, one set of ids, in Redis 6.2 and later, or Valkey; a cluster takes 7.0. The client is a `Redis` or
 * `Cluster` of ioredis and stays yours: you close it, after the server. It is used for commands; the first channel that is followed opens a second
 * connection like it, and the last one that is let go closes it. FST_SSE_OPTION for a bad client or option.
 */
export function redisLog (client: RedisClient, options: RedisLogOptions = {}): EventLogFactory {
  if (!isClient(client)) throw new FST_SSE_OPTION('client', 'a Redis or Cluster of ioredis', describe(client))
  // With ioredis, a command that was not answered before its connection went would then never settle.
  if (forgets(client)) throw new FST_SSE_OPTION('client', 'one that sends again what was not answered', 'autoResendUnfulfilledCommands: false')
  const { prefix, timeout } = validateOptions(options, DEFAULTS, RULES)
  const bell = new RedisSubscriber(client)
  let timer: NodeJS.Timeout | undefined

  const shared: RedisContext = {
    commands: new Commands(client),
    subscriber: bell,
    prefix,
    keyPrefix: client.options.keyPrefix ?? '',
    db: isCluster(client) ? 0 : client.options.db ?? 0,
    timeout,
    publish: isCluster(client) ? 'SPUBLISH' : 'PUBLISH',
    secret: randomBytes(16).toString('hex'),
    open: new Set(),
    closed: () => {
      clearInterval(timer)
      timer = undefined
      bell.close()
    }
  }

  const tick = (): void => {
    const now = performance.now()
    for (const log of shared.open) log.tick(now)
    bell.tick(now)
  }

  return (name, history) => {
    const log = new RedisLog(name, history, shared)
    shared.open.add(log)
    timer ??= anyRequest.runInAsyncScope(setInterval, undefined, tick, 1_000).unref()
    return log
  }
}

const isClient = (value: unknown): value is RedisClient => isObject(value) && typeof value.callBuffer === 'function' && typeof value.duplicate === 'function'

const forgets = ({ options }: RedisClient): boolean => 'autoResendUnfulfilledCommands' in options && options.autoResendUnfulfilledCommands === false
