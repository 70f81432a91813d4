export { redisLog, type RedisLogOptions } from './log/redis/factory.ts'
export type { RedisClient, RedisClusterConnection, RedisConnection } from './log/redis/client.ts'
