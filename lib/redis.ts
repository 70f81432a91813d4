export { redisLog, type RedisLogOptions } from './log/redis/factory.ts'
export type { RedisClient, RedisClusterConnection, RedisConnection } from './log/redis/client.ts'
export type { NodeRedisClient } from './log/redis/node-redis.ts'
