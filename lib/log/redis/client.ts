import type { EventEmitter } from 'node:events'

/** The used options of a connection. */
export interface RedisClientOptions {
  keyPrefix?: string | undefined
  db?: number | undefined
  host?: string | undefined
  port?: number | undefined
  connectionName?: string | null | undefined
}

/** The used part of a connection: fits any `Redis` of ioredis 5.4 and later, from any copy of the package. */
export interface RedisConnection extends Pick<EventEmitter, 'on' | 'once' | 'off'> {
  readonly isCluster: boolean
  readonly status: string
  readonly options: RedisClientOptions
  callBuffer (name: string, args: Array<string | number>): Promise<unknown>
  duplicate (options: object): RedisConnection
  connect (): Promise<void>
  disconnect (): void
  ping (): Promise<unknown>
  subscribe (channel: string): Promise<unknown>
  unsubscribe (channel: string): Promise<unknown>
  /** For a cluster. */
  ssubscribe? (channel: string): Promise<unknown>
  sunsubscribe? (channel: string): Promise<unknown>
}

/** The used part of a `Cluster`. */
export interface RedisClusterConnection extends Pick<EventEmitter, 'on' | 'off'> {
  readonly isCluster: boolean
  readonly status: string
  readonly options: Pick<RedisClientOptions, 'keyPrefix'>
  /** The servers of each slot, its master first. */
  readonly slots: string[][]
  callBuffer (name: string, args: Array<string | number>): Promise<unknown>
  nodes (role: 'master'): RedisConnection[]
}

/** The user's connection, of either kind. */
export type RedisClient = RedisConnection | RedisClusterConnection

export const isCluster = (client: RedisClient): client is RedisClusterConnection => client.isCluster
